"""Files that are whole or not there, and what a disk can answer in one line."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distillbias.errors import InputError


@contextmanager
def clear_errors(place: Path) -> Iterator[None]:
    """Turn what a disk can answer into one line: full, read-only, not a folder."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise InputError(
                f"the disk of {place} is full; what is finished is kept, make room and run again"
            ) from None
        raise InputError(f"cannot write to {place}: {error.strerror}; choose another place with --store") from None


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the place, flush, rename: a reader sees the whole file or none."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with clear_errors(path.parent):
            write(part)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_whole(path, lambda part: part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n"))


def checksum(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
