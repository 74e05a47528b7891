"""Zip archives from outside: only members that are asked for are opened, none becomes a path, sizes are bounded.

A member's own entry may lie about its size, so what comes out is counted, and only methods whose output can be stopped
are read: stored and deflated.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase

from distillbias.errors import InputError

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise InputError(f"{what}: cannot unpack ({ascii(str(error))[1:-1][:200] or type(error).__name__})") from error


def open_zip(stream: BufferedIOBase, what: str) -> zipfile.ZipFile:
    """The archive in `stream`; InputError if it is none."""
    with _readable(what):
        return zipfile.ZipFile(stream)


def read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int, what: str) -> bytes:
    """The content of one member, at most `limit` bytes.

    Raises:
        InputError: longer than `limit`, damaged, encrypted, or packed otherwise than stored or deflated.
    """
    name = f"{what}: {entry.filename[:100]!r}"
    if entry.compress_type not in METHODS:
        raise InputError(f"{name} is neither stored nor deflated; other methods of a zip archive are not read")
    with _readable(name), archive.open(entry) as member:
        data = member.read(limit + 1)
    if len(data) > limit or entry.file_size > limit:
        raise InputError(f"{name} expands to more than the {limit} bytes that a genuine copy can have")
    return data
