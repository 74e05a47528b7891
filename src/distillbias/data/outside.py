"""Labelled images from outside, cut into slices: what `distillbias evaluate` scores a run on."""

import gzip
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from distillbias.data.catalogue import DATA_SETS
from distillbias.data.files import read_bounded
from distillbias.data.images import SIDE, Images, checked
from distillbias.data.mnist import find, read_idx
from distillbias.data.published import IMAGES, LABELS, read_npy
from distillbias.errors import InputError

LIMIT = 2**30  # bytes of one array: a million images
MOST_SLICES = 200


def read_slices(path: Path) -> dict[str, Images]:
    """{slice: images}: "all" first, then a slice for each value of each tag, or for each sub-folder.

    `path` is a .npz with `images`, `labels` and any tags (further arrays of their length); a folder with
    test_images.npy and test_labels.npy, or with sub-folders that hold them; or a folder with an MNIST-like test set
    as idx files. Nothing in it is ever run.

    Raises:
        InputError: none of these, or arrays of a wrong kind or shape.
    """
    if path.is_file() and path.suffix == ".npz":
        return _from_npz(path)
    if path.is_dir():
        for read in (_from_arrays, _from_idx):
            if found := read(path):
                return found
    raise InputError(
        f"nothing to score in {path}: give a .npz with images and labels, or a folder with {IMAGES} and {LABELS} "
        "(in it or in its sub-folders), or with t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"
    )


def _from_npz(path: Path) -> dict[str, Images]:
    arrays = _members(path)
    if not {"images", "labels"} <= arrays.keys():
        raise InputError(f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; it must hold images and labels")
    every = checked(_square(arrays.pop("images")), arrays.pop("labels"), path.name)
    slices = {"all": every}
    for tag, values in arrays.items():
        if values.shape != every.labels.shape:
            raise InputError(f"tag {tag!r} in {path} has shape {list(values.shape)}; it must be [{len(every.labels)}]")
        different = np.unique(values)
        if len(different) > MOST_SLICES:
            raise InputError(f"tag {tag!r} in {path} has {len(different)} values; at most {MOST_SLICES} can be slices")
        for value in different:
            slices[f"{tag} = {value}"] = _part(every, values == value)
    return slices


def _members(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz, each of bounded size and none of Python objects."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > LIMIT:
                    raise InputError(f"{member.filename} in {path} has {member.file_size:,} bytes; at most {LIMIT:,}")
            return {m.removesuffix(".npy"): read_npy(archive.read(m), f"{m} in {path}") for m in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def _from_arrays(folder: Path) -> dict[str, Images]:
    """A folder with the two arrays, or a slice for each sub-folder that has them."""
    places = {"all": folder} | {sub.name: sub for sub in sorted(folder.iterdir()) if sub.is_dir()}
    return {
        name: checked(
            _square(read_npy(read_bounded(place / IMAGES, LIMIT), str(place / IMAGES))),
            read_npy(read_bounded(place / LABELS, LIMIT), str(place / LABELS)),
            str(place),
        )
        for name, place in places.items()
        if (place / IMAGES).is_file() and (place / LABELS).is_file()
    }


def _from_idx(folder: Path) -> dict[str, Images]:
    """A test set in the format of MNIST, whatever its content."""
    paths = [find(folder, file) for file in DATA_SETS["mnist"].files[2:]]
    if None in paths:
        return {}
    arrays = [read_idx(_unpacked(path), path.name) for path in paths if path]
    return {"all": checked(arrays[0], arrays[1], str(folder))}


def _unpacked(path: Path) -> bytes:
    data = read_bounded(path, LIMIT)
    if path.suffix != ".gz":
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            content = packed.read(LIMIT + 1)
    except (zlib.error, OSError, EOFError) as error:
        raise InputError(f"{path} is not a whole gzip file: {error}") from None
    if len(content) > LIMIT:
        raise InputError(f"{path} unpacks to more than {LIMIT:,} bytes")
    return content


def _square(pixels: np.ndarray) -> np.ndarray:
    """[n, 28, 28, 1] is taken for [n, 28, 28]."""
    return pixels[..., 0] if pixels.ndim == 4 and pixels.shape[1:] == (SIDE, SIDE, 1) else pixels


def _part(images: Images, rows: np.ndarray) -> Images:
    return Images(images.pixels[rows], images.labels[rows], images.origin)
