"""Fetching one file from the first mirror that gives a good copy. Standard library only; nothing is resumed."""

import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from io import BufferedIOBase
from pathlib import Path

from distillbias.data import files
from distillbias.errors import InputError

TIMEOUT_SECONDS = 30.0  # without a single byte
CHUNK = 1 << 18

Progress = Callable[[str, int, int], None]  # file name, bytes so far, bytes in all (0 if the mirror does not say)
Accept = Callable[[BufferedIOBase], None]  # reads the file from its start; raises InputError if it is not a good copy


def fetch_first(
    name: str, mirrors: tuple[str, ...], limit: int, scratch: Path, accept: Accept, progress: Progress | None
) -> None:
    """Fetch `name` from `mirrors` in order until `accept` takes one.

    The bytes go to an unnamed file in `scratch`, so an interrupted download leaves nothing behind.

    Raises:
        InputError: every mirror failed; the message lists what each answered.
    """
    files.make_folder(scratch)
    answers = []
    for mirror in mirrors:
        url = mirror.rstrip("/") + "/" + name
        try:
            with _scratch_file(scratch) as draft:
                _fetch(url, draft, limit, lambda done, total: progress(name, done, total) if progress else None)
                draft.seek(0)
                return accept(draft)
        except InputError as error:
            answers.append(f"{url}: {error}")
    raise InputError(f"no mirror gave a good {name}: {'; '.join(answers) or 'there are no mirrors to ask'}")


def _scratch_file(folder: Path) -> BufferedIOBase:
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise InputError(f"cannot write in {folder}: {error.strerror or error}") from error


def _fetch(url: str, into: BufferedIOBase, limit: int, tell: Callable[[int, int], None]) -> None:
    """Copy what `url` answers to `into`; InputError for any failure, a short answer and one beyond `limit` bytes."""
    if not url.startswith(("http://", "https://")):
        raise InputError("the address must begin with http:// or https://")
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "distillbias", "Accept-Encoding": "identity"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            announced = int(response.headers.get("Content-Length") or 0)
            received = 0
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if received > limit:
                    raise InputError(f"sends more than {limit} bytes, the most a genuine copy can have")
                into.write(chunk)
                tell(received, announced)
    except urllib.error.HTTPError as error:
        error.close()
        raise InputError(f"HTTP status {error.code}") from error
    except InputError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(f"{type(error).__name__}: {error}") from error
    if received < announced:  # http.client does not complain when it is read in pieces
        raise InputError(f"cut short, {received} of {announced} bytes came")
