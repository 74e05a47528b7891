"""Whole objects below a URL, through fsspec; what a server or a network answers is one line."""

import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TypeVar

from distillbias.errors import InputError

PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds between tries, while nobody answers

Answer = TypeVar("Answer")


class Objects:
    """Objects by their names below a URL such as s3://bucket/prefix.

    S3 and its like show an object whole or not at all. Where fsspec writes plain files (file://, sftp://) a reader may
    see a part of one: whoever reads must know a cut object when he sees it.

    Every method raises InputError if the place refuses, or does not answer through all PAUSES; with `patient` False,
    at once.
    """

    def __init__(self, url: str):
        scheme, mark, rest = url.partition("://")
        self.url = scheme + mark + rest.rstrip("/")
        try:
            # what others put there meanwhile must be seen, so no listing is kept
            self.files, base = _fsspec().url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"cannot open a store at {url!r}: {_line(error)}; it is a path, or a URL that fsspec knows"
            ) from None
        self.base = base.rstrip("/")
        if not self.base:
            raise InputError(f"a store at {url!r} has no name; an example is s3://bucket/prefix")
        if hasattr(self.files, "auto_mkdir"):  # where there are folders, and none is made unasked
            self.files.auto_mkdir = True

    def sizes(self, folder: str) -> dict[str, int]:
        """{name: bytes} of all objects in a folder and below."""

        def list_() -> dict[str, int]:
            try:
                found = self.files.find(f"{self.base}/{folder}", detail=True)
            except FileNotFoundError:  # no such bucket, say: whoever puts something there is told
                return {}
            return {path.removeprefix(f"{self.base}/"): info["size"] for path, info in found.items()}

        return self._ask(list_)

    def get(self, name: str, patient: bool = True) -> bytes | None:
        """The content of an object; None if there is none."""
        try:
            return self._ask(lambda: self.files.cat_file(f"{self.base}/{name}"), patient)
        except FileNotFoundError:
            return None

    def get_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of those that are there, read many at once."""
        paths = {f"{self.base}/{name}": name for name in names}

        def read() -> dict[str, bytes]:
            found = self.files.cat(list(paths), on_error="return")
            for answer in found.values():
                if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                    raise answer
            return {paths[path]: content for path, content in found.items() if isinstance(content, bytes)}

        return self._ask(read) if paths else {}

    def put(self, name: str, content: bytes, new: bool = False, patient: bool = True) -> None:
        """Put an object whole.

        `new` raises FileExistsError if it is there. On S3 that is one step (If-None-Match), so of two at once one is
        refused; fsspec's other filesystems look first and write then, and the later of two may win.
        """
        mode = {"mode": "create"} if new else {}
        try:
            self._ask(lambda: self.files.pipe_file(f"{self.base}/{name}", content, **mode), patient)
        except FileNotFoundError as error:
            raise InputError(f"cannot write to {self.url}: {_line(error)}") from None

    def remove(self, name: str, patient: bool = True) -> None:
        """Remove an object; it may be gone already."""
        try:
            self._ask(lambda: self.files.rm_file(f"{self.base}/{name}"), patient)
        except FileNotFoundError:
            pass

    def _ask(self, what: Callable[[], Answer], patient: bool = True) -> Answer:
        for pause in (*PAUSES, None) if patient else (None,):
            try:
                return what()
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception as error:  # each filesystem brings errors of its own
                if pause is None or _final(error):
                    raise InputError(
                        f"cannot reach {self.url}: {_line(error)}; what is finished is kept on this machine and is "
                        f"put there by the next command that trains"
                    ) from None
            time.sleep(pause)
        raise AssertionError("the last try answers or raises")


def _final(error: Exception) -> bool:
    """Whether another try cannot help: it is about who asks."""
    return isinstance(error, PermissionError) or "Credentials" in type(error).__name__


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _fsspec() -> ModuleType:
    try:
        import fsspec
    except ImportError:
        raise InputError("a store at a URL needs fsspec; pip install 'distillbias[remote]'") from None
    return fsspec
