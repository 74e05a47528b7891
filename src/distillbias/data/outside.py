"""Labelled images from outside, cut into slices: what `distillbias evaluate` scores a run on."""

from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from distillbias.data.catalogue import DATA_SETS
from distillbias.data.files import expansion_limit, gunzip, listed, read_bounded
from distillbias.data.images import SIDE, Images, checked
from distillbias.data.mnist import find, read_idx
from distillbias.data.published import IMAGES, LABELS, read_npy
from distillbias.data.zips import open_zip, read_member
from distillbias.errors import InputError

LIMIT = 2**30  # bytes of one file, unpacked: a million images
MOST_SLICES = 200  # of a tag
MOST_TAGS = 20  # each is one more copy of the images
LONGEST_NAME = 100


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
        raise InputError(
            f"{path} holds {ascii(', '.join(sorted(arrays)))[1:-1][:200] or 'nothing'}; it must hold images and labels"
        )
    every = checked(_square(arrays.pop("images")), arrays.pop("labels"), path.name)
    if len(arrays) > MOST_TAGS:
        raise InputError(f"{path} has {len(arrays)} tags; at most {MOST_TAGS} can be")
    slices = {"all": every}
    for tag, values in arrays.items():
        slices |= _by_tag(tag, values, every, path)
    return slices


def _by_tag(tag: str, values: np.ndarray, every: Images, path: Path) -> dict[str, Images]:
    """A slice for each value; not a number is one value."""
    if values.shape != every.labels.shape:
        raise InputError(f"tag {tag!r} in {path} has shape {list(values.shape)}; it must be [{len(every.labels)}]")
    different, which = np.unique(values, return_inverse=True)
    if len(different) > MOST_SLICES:
        raise InputError(f"tag {tag!r} in {path} has {len(different)} values; at most {MOST_SLICES} can be slices")
    return {
        _name(f"{tag} = {value}", path): _part(every, which == number) for number, value in enumerate(_texts(different))
    }


def _texts(values: np.ndarray) -> list[str]:
    try:
        return [str(value) for value in values]
    except (SystemError, ValueError) as error:  # four bytes that are no character
        raise InputError(f"a tag holds what is no text ({error})") from None


def _name(name: str, path: Path) -> str:
    """The name of a slice; InputError if it is too long, empty or cannot be printed."""
    if not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
        raise InputError(f"{ascii(name[:40])} in {path} is no name of a slice; it has 1 to {LONGEST_NAME} letters")
    return name


def _members(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz, all of them within `expansion_limit` and none of Python objects."""
    try:
        with path.open("rb") as stream:
            return dict(_arrays_in(stream, path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _arrays_in(stream: BufferedIOBase, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    archive, room, seen = open_zip(stream, str(path)), expansion_limit(path.stat().st_size, LIMIT), set()
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in seen:
            raise InputError(f"{path} holds {name[:40]!r} twice")
        seen.add(name)
        content = read_member(archive, entry, room, str(path))
        room -= len(content)
        yield name, read_npy(content, f"{entry.filename[:40]!r} in {path}")


def _from_arrays(folder: Path) -> dict[str, Images]:
    """A folder with the two arrays, or a slice for each sub-folder that has them."""
    places = {"all": folder} | {sub.name: sub for sub in listed(folder) if sub.is_dir()}
    return {
        _name(name, folder): checked(
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
    return gunzip(data, expansion_limit(len(data), LIMIT), str(path)) if path.suffix == ".gz" else data


def _square(pixels: np.ndarray) -> np.ndarray:
    """[n, 28, 28, 1] is taken for [n, 28, 28]."""
    return pixels[..., 0] if pixels.ndim == 4 and pixels.shape[1:] == (SIDE, SIDE, 1) else pixels


def _part(images: Images, rows: np.ndarray) -> Images:
    return Images(images.pixels[rows], images.labels[rows], images.origin)
