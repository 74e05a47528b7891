"""Reading and writing bytes that may be wrong: bounded, verified, atomic."""

import gzip
import hashlib
import io
import math
import os
import tempfile
import zlib
from io import BufferedIOBase
from pathlib import Path

from distillbias.data.catalogue import File
from distillbias.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
ROOM = 2**23  # bytes that any packed file may expand to
RATIO = 100  # how many times its size a larger one may; of the published sets none expands more than 40 times
AXES = 4
CACHE = "DISTILLBIAS_CACHE"


def cache_folder() -> Path:
    """What can be had again lies there: $DISTILLBIAS_CACHE, else ~/.cache/distillbias. Need not exist yet."""
    return Path(os.environ.get(CACHE) or Path("~") / ".cache" / "distillbias").expanduser()


def expansion_limit(packed: int, most: int) -> int:
    """The most bytes that a packed file of `packed` bytes may expand to, never above `most`: more is a bomb."""
    return min(most, max(ROOM, RATIO * packed))


def fits(shape: tuple[int, ...], itemsize: int, held: int) -> bool:
    """Whether an array of `shape` takes just the `held` bytes at hand, asked before anything is allocated.

    Sides beside a 0 must not be more than NumPy can multiply either.
    """
    sides = all(type(side) is int and side >= 0 for side in shape)  # a header may hold (True,), too
    wanted = itemsize > 0 and len(shape) <= AXES and sides
    return wanted and math.prod(shape) * itemsize == held and math.prod(n or 1 for n in shape) * itemsize < 2**63


def listed(folder: Path) -> list[Path]:
    """What is in `folder`, in order of names; InputError if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error


def packed_limit(size: int) -> int:
    """The most bytes a gzip file of `size` uncompressed bytes can honestly take (deflate grows noise by < 0.1 %)."""
    return size + size // 256 + 65_536


def read_bounded(path: Path, limit: int) -> bytes:
    """All bytes of `path`. Raises InputError if it cannot be read or holds more than `limit` bytes."""
    try:
        with path.open("rb") as handle:
            data = handle.read(limit + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > limit:
        raise InputError(f"{path.name}: longer than {limit} bytes, the most a genuine copy can have")
    return data


def gunzip(data: bytes, size: int, what: str) -> bytes:
    """The content of the gzip file `data`, at most `size` bytes: a bomb is stopped there, not when memory ends.

    Raises:
        InputError: not gzip, damaged, cut short, longer than `size`, or followed by other bytes.
    """
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # | 16: a gzip header, and its checksum verified
    try:
        # One byte more than allowed: reaching it proves the content is too long, and it lets the trailer be read.
        content = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise InputError(f"{what}: damaged gzip data ({error})") from error
    if len(content) > size:
        raise InputError(f"{what}: expands to more than the {size} bytes that a genuine copy can have")
    if not stream.eof:
        raise InputError(f"{what}: gzip data cut short, {len(content)} of {size} bytes came out")
    if stream.unused_data:
        raise InputError(f"{what}: {len(stream.unused_data)} bytes follow the end of the gzip data")
    return content


def verified(data: bytes, file: File, what: str) -> bytes:
    """The uncompressed bytes of `file` out of `data` (gzip or plain, told by content), proved genuine by SHA-256.

    Raises:
        InputError: anything else than the genuine content.
    """
    content = gunzip(data, file.size, what) if data.startswith(GZIP_MAGIC) else data
    if len(content) != file.size:
        raise InputError(f"{what}: {len(content)} bytes uncompressed; the genuine {file.name} has {file.size}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise InputError(f"{what}: SHA-256 {digest[:16]}... of the content; the genuine one is {file.sha256[:16]}...")
    return content


def read_verified(path: Path, file: File) -> bytes:
    """The uncompressed genuine bytes of `file` at `path` (gzip or plain); InputError otherwise."""
    return verified(read_bounded(path, packed_limit(file.size)), file, str(path))


def sha256_of(stream: BufferedIOBase) -> str:
    """SHA-256 of all that `stream` still holds, read in pieces."""
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def packed(content: bytes) -> bytes:
    """`content` as a gzip file without name or time: the same bytes wherever the same zlib is used."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents; InputError if that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: all of it or nothing, even if the machine stops half-way; InputError on failure."""
    make_folder(path.parent)
    draft = None
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(draft, 0o644)  # mkstemp makes it private; a cache may be shared
        os.replace(draft, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if draft is not None and os.path.exists(draft):
            os.unlink(draft)
