"""The one form in which every image data set leaves this package."""

import hashlib
from typing import NamedTuple

import numpy as np

from distillbias.errors import InputError

SIDE = 28
CLASSES = 10


class Images(NamedTuple):
    """Grey images of one digit each; make one with `checked`, which tests what the types cannot say."""

    pixels: np.ndarray  # uint8 [n, 28, 28]; 0 = background, 255 = full ink; [image, row, column]
    labels: np.ndarray  # int64 [n], 0..9
    origin: str  # one human phrase: "MNIST test images", "generated from MNIST test images, ..."


def checked(pixels: np.ndarray, labels: np.ndarray, origin: str) -> Images:
    """Images out of `pixels` (uint8 [n, 28, 28]) and `labels` (any integer type [n], 0..9).

    Raises:
        InputError: another shape or type, lengths that differ, no example at all, a label outside 0..9.
    """
    check_pixels(pixels, origin)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"{origin}: labels are {labels.dtype} {list(labels.shape)}; the rule is integers [n]")
    if len(pixels) != len(labels):
        raise InputError(f"{origin}: {len(pixels)} images but {len(labels)} labels; the rule is one label per image")
    wrong = np.flatnonzero((labels < 0) | (labels >= CLASSES))
    if len(wrong):
        raise InputError(f"{origin}: label {labels[wrong[0]]} at position {wrong[0]}; the choices are 0..{CLASSES - 1}")
    return Images(pixels, labels.astype(np.int64), origin)


def check_pixels(pixels: np.ndarray, what: str) -> None:
    """Raise InputError unless `pixels` is uint8 [n, 28, 28] with n > 0."""
    if pixels.dtype != np.uint8:
        raise InputError(f"{what}: pixels are {pixels.dtype}; the rule is uint8, 0..255")
    if pixels.ndim != 3 or pixels.shape[1:] != (SIDE, SIDE):
        raise InputError(f"{what}: pixels have shape {list(pixels.shape)}; the rule is [n, {SIDE}, {SIDE}]")
    if len(pixels) == 0:
        raise InputError(f"{what}: 0 images; the rule is at least one")


def fingerprint(images: Images) -> str:
    """16 hexadecimal digits that change with any pixel, label or shape, and not with the origin."""
    digest = hashlib.sha256()
    for array in (images.pixels, images.labels):
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
