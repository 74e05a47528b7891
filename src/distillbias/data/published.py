"""The published MNIST-C arrays: `<corruption>/test_images.npy` and `test_labels.npy`, never trusted, never unpickled.

No checksum of these arrays is published. What can be checked is checked: shape, type, and that the labels are those
of the MNIST test set, in its order (every corruption keeps them).
"""

import io
import tokenize
import warnings
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from distillbias.data import files, mnist
from distillbias.data.images import SIDE, Images, checked
from distillbias.data.zips import open_zip, read_member
from distillbias.errors import InputError

NAMES = (
    *("brightness", "canny_edges", "dotted_line", "fog", "glass_blur", "identity", "impulse_noise", "motion_blur"),
    *("rotate", "scale", "shear", "shot_noise", "spatter", "stripe", "translate", "zigzag"),
)
TEST_SIZE = 10_000
IMAGES, LABELS = "test_images.npy", "test_labels.npy"
LIMITS = {IMAGES: TEST_SIZE * SIDE * SIDE + 65_536, LABELS: TEST_SIZE * 8 + 65_536}  # values and a generous header

# all that NumPy and the parser of Python's literals raise for a header that is none
HEADER_ERRORS = (
    *(ValueError, TypeError, LookupError, SyntaxError, EOFError, RecursionError, MemoryError),
    tokenize.TokenError,
)

Read = Callable[[str], bytes | None]  # "scale/test_images.npy" -> its bytes, or None if it is not there


def read_npy(data: bytes, what: str) -> np.ndarray:
    """The array in the .npy file `data`. Nothing is allocated before the announced shape fits the bytes at hand.

    Raises:
        InputError: not a .npy file, Python objects inside, or a length other than the shape says.
    """
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns about odd but readable headers
            version = np.lib.format.read_magic(stream)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = header(stream)
    except HEADER_ERRORS as error:
        reason = (str(error).splitlines() or [repr(error)])[0][:200]
        raise InputError(f"{what}: not a readable .npy file ({reason})") from error
    start = stream.tell()
    if dtype.kind not in "biufU" or not files.fits(shape, dtype.itemsize, len(data) - start):
        said = list(shape) if all(abs(side) < 2**63 for side in shape) else "a shape beyond all bounds"
        raise InputError(f"{what}: announces {dtype} {said} and holds {len(data) - start} bytes; that does not fit")
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C").copy()


def read_pair(images: bytes, labels: bytes, corruption: str) -> Images:
    """One published corruption out of the bytes of its two files; InputError unless they can be the published ones."""
    origin = f"published MNIST-C arrays, {corruption}"
    pixels = read_npy(images, f"{corruption}/{IMAGES}")
    if pixels.shape not in ((TEST_SIZE, SIDE, SIDE), (TEST_SIZE, SIDE, SIDE, 1)):
        raise InputError(
            f"{origin}: shape {list(pixels.shape)}; the rule is [{TEST_SIZE}, {SIDE}, {SIDE}] or one more 1"
        )
    result = checked(pixels.reshape(TEST_SIZE, SIDE, SIDE), read_npy(labels, f"{corruption}/{LABELS}"), origin)
    if not mnist.are_test_labels(result.labels):
        raise InputError(f"{origin}: the labels are not those of the MNIST test set in its order")
    return result


def files_of(corruption: str, read: Read) -> tuple[bytes, bytes] | None:
    """The bytes of both files, None if neither is there; InputError if one is (an import that did not finish)."""
    images, labels = read(f"{corruption}/{IMAGES}"), read(f"{corruption}/{LABELS}")
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        raise InputError(f"MNIST-C {corruption}: only one of {IMAGES} and {LABELS} is there; import or delete both")
    return images, labels


def load(home: Path, corruption: str) -> Images | None:
    """The published test arrays under home/mnist_c, None if there are none; InputError if they are damaged."""
    pair = files_of(corruption, from_folder(home / "mnist_c"))
    return None if pair is None else read_pair(*pair, corruption)


def from_folder(folder: Path) -> Read:
    """Read members from `folder`."""

    def read(name: str) -> bytes | None:
        path = folder / name
        return files.read_bounded(path, LIMITS[path.name]) if path.is_file() else None

    return read


def from_zip(archive: BufferedIOBase, what: str) -> Read:
    """Read members of an open mnist_c.zip. Only names we ask for are opened, none becomes a path; sizes are bounded."""
    content = open_zip(archive, what)
    present = {entry.filename: entry for entry in content.infolist()}

    def read(name: str) -> bytes | None:
        member = next((full for full in (f"mnist_c/{name}", name) if full in present), None)
        return None if member is None else read_member(content, present[member], LIMITS[name.rpartition("/")[2]], what)

    return read
