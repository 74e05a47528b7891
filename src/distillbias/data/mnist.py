"""MNIST as published: four idx files, gzip or plain, verified before use.

The idx format (LeCun's page of MNIST): two zero bytes, one byte for the type (8 = unsigned byte), one for the number
of dimensions, then each dimension as a big-endian 32-bit integer, then the values, last dimension fastest.
"""

import hashlib
import math
import struct
from pathlib import Path

import numpy as np

from distillbias.data import files
from distillbias.data.catalogue import DATA_SETS, File
from distillbias.data.images import Images, checked
from distillbias.errors import InputError

UNSIGNED_BYTE = 8
SUBFOLDERS = ("mnist", ".", "MNIST/raw")  # of a home, the files themselves, as torchvision lays them out


def read_idx(data: bytes, what: str) -> np.ndarray:
    """The uint8 array in the idx file `data`; `what` names it in errors.

    Raises:
        InputError: wrong magic number, another type, or a length other than the dimensions say.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise InputError(f"{what}: begins with {data[:4].hex(' ') or 'nothing'}; an idx file begins with 00 00 08")
    kind, dimensions = data[2], data[3]
    if kind != UNSIGNED_BYTE:
        raise InputError(f"{what}: idx type 0x{kind:02x}; only 0x08 (unsigned byte) is read")
    start = 4 + 4 * dimensions
    if dimensions == 0 or len(data) < start:
        raise InputError(
            f"{what}: {dimensions} dimensions announced in {len(data)} bytes; an idx file states each of 1+"
        )
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if dimensions > files.AXES:
        raise InputError(f"{what}: {dimensions} dimensions; MNIST files have 1 or 3")
    if not files.fits(shape, 1, len(data) - start):
        needed = math.prod(shape)  # a Python integer: absurd dimensions cannot overflow
        raise InputError(f"{what}: shape {list(shape)} needs {needed} bytes, {len(data) - start} follow the header")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()  # copy: writable, as torch wants it


def write_idx(array: np.ndarray) -> bytes:
    """The idx file of a uint8 array; the inverse of `read_idx`."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, np.uint8).tobytes()


def find(folder: Path, file: File) -> Path | None:
    """Where `file` lies in `folder`: gzip or plain, spelt `train-images-idx3-ubyte` or `train-images.idx3-ubyte`."""
    dotted = file.name.replace("-idx", ".idx")
    for name in (f"{file.name}.gz", file.name, f"{dotted}.gz", dotted):
        if (folder / name).is_file():
            return folder / name
    return None


def locate(folder: Path) -> list[Path]:
    """The four files, in the catalogue's order, in `folder` or its `mnist`; InputError naming what is missing."""
    wanted = DATA_SETS["mnist"].files
    best: list[Path | None] = [None] * len(wanted)
    for sub in SUBFOLDERS:
        found = [find(folder / sub, file) for file in wanted]
        if found.count(None) < best.count(None):
            best = found
    missing = [f"{file.name}[.gz]" for file, path in zip(wanted, best, strict=True) if path is None]
    if missing:
        raise InputError(
            f"no complete MNIST in {folder} or {folder / 'mnist'}: missing {', '.join(missing)}; get it with "
            "`distillbias data get mnist`, or `distillbias data import mnist DIR` from a folder you have"
        )
    return [path for path in best if path is not None]


def load(folder: Path) -> tuple[Images, Images]:
    """Training (60,000) and test (10,000) images from a home, or from the folder that holds the idx files.

    Raises:
        InputError: a file is missing, or is not the genuine one.
    """
    wanted = DATA_SETS["mnist"].files
    paths = locate(folder)
    arrays = [read_idx(files.read_verified(path, file), path.name) for path, file in zip(paths, wanted, strict=True)]
    train_pixels, train_labels, test_pixels, test_labels = arrays
    train = checked(train_pixels, train_labels, "MNIST training images")
    return train, checked(test_pixels, test_labels, "MNIST test images")


def are_test_labels(labels: np.ndarray) -> bool:
    """Whether `labels` (integers [n]) are those of the genuine MNIST test set, in its order."""
    if labels.ndim != 1 or np.any((labels < 0) | (labels > 255)):
        return False
    return hashlib.sha256(write_idx(labels.astype(np.uint8))).hexdigest() == DATA_SETS["mnist"].files[3].sha256


def is_test_set(images: Images) -> bool:
    """Whether `images` are exactly the genuine MNIST test images and labels, whatever their origin says."""
    digest = hashlib.sha256(write_idx(images.pixels)).hexdigest()
    return digest == DATA_SETS["mnist"].files[2].sha256 and are_test_labels(images.labels)
