"""MNIST-C's `scale` and `translate` (Mu & Gilmer 2019, arXiv:1906.02337): the published arrays, or made here.

Rules after google-research/mnist-c, commit bba57e4, corruptions.py (no code taken). There both are an inverse affine
map with bilinear reading, zero outside. The repository calls each with its default, severity 3, and states no seed,
so `scale` can be made again (up to rounding) and `translate` only in distribution.
"""

import hashlib
from pathlib import Path

import numpy as np

from distillbias.data import mnist, published
from distillbias.data.images import SIDE, Images, check_pixels, checked
from distillbias.data.warp import bilinear
from distillbias.errors import InputError

CORRUPTIONS = ("scale", "translate")
SEVERITIES = (1, 2, 3, 4, 5)
PUBLISHED_SEVERITY = 3

SHRINK_TO = {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 5: 0.5}  # size of the digit, relative to before
SHIFT = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5}  # pixels, on each axis

BLOCK = 1_000  # images warped at once: float64 of the whole test set would take half a gigabyte


def scale(pixels: np.ndarray, severity: int) -> np.ndarray:
    """Shrink the digits to 90, 80, 70, 60 or 50 percent about the image centre. Deterministic.

    Args:
        pixels: uint8 [n, 28, 28].
        severity: 1..5.

    Returns:
        uint8 [n, 28, 28], rounded to the nearest grey level.
    """
    check_pixels(pixels, "scale")
    factor = 1.0 / SHRINK_TO[_checked_severity(severity)]
    centre = (SIDE - 1) / 2
    positions = factor * np.arange(SIDE) + centre * (1.0 - factor)
    parts = np.split(pixels, range(BLOCK, len(pixels), BLOCK))
    return np.concatenate([np.rint(bilinear(part / 255.0, positions) * 255.0).astype(np.uint8) for part in parts])


def translate(pixels: np.ndarray, severity: int, seed: str) -> np.ndarray:
    """Move each digit diagonally by `severity` pixels, in one of four directions drawn from `seed`.

    Zeros move in; ink pushed over the edge is lost. Image i moves alike whatever the severity and however many images
    follow it.

    Args:
        pixels: uint8 [n, 28, 28].
        severity: 1..5.
        seed: any text; the draw depends on it and on an image's position alone.

    Returns:
        uint8 [n, 28, 28].
    """
    check_pixels(pixels, "translate")
    shift = SHIFT[_checked_severity(severity)]
    signs = directions(len(pixels), seed)
    moved = np.zeros_like(pixels)
    for dx, dy in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        chosen = (signs == (dx, dy)).all(axis=1)
        moved[chosen] = shifted(pixels[chosen], dx * shift, dy * shift)
    return moved


def shifted(pixels: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Read every image at (column + dx, row + dy), zero outside: dx > 0 moves the digit left, dy > 0 moves it up."""
    reach = max(abs(dx), abs(dy))
    framed = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach)))
    return framed[:, reach + dy : reach + dy + SIDE, reach + dx : reach + dx + SIDE]


def directions(count: int, seed: str) -> np.ndarray:
    """`count` fair sign pairs (x, y), int64 [count, 2] of -1 and +1; a longer draw begins with the shorter one."""
    generator = np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big"))
    # Raw words, because NumPy promises the stream of a bit generator for ever, and of Generator's methods not.
    words = np.asarray(generator.random_raw(count))
    bits = np.stack([words >> np.uint64(63), (words >> np.uint64(62)) & np.uint64(1)], axis=1)
    return 2 * bits.astype(np.int64) - 1


def corrupted(test: Images, corruption: str, severity: int, home: Path | None, seed: str) -> Images:
    """`test` under one corruption; `origin` says whether these are the published arrays or were made here.

    The published ones are used where they exist (home/mnist_c), are asked for (severity 3) and fit (`test` is the
    MNIST test set); then `seed` has no effect. The 13 other published corruptions can be read but not made.

    Raises:
        InputError: unknown corruption or severity; published arrays that are damaged, or absent and not makeable.
    """
    _checked_severity(severity)
    if corruption not in published.NAMES:
        raise InputError(f"unknown corruption {corruption!r}; the choices are {', '.join(published.NAMES)}")
    if home is not None and severity == PUBLISHED_SEVERITY and mnist.is_test_set(test):
        found = published.load(home, corruption)
        if found is not None:
            return found
    return _made(test, corruption, severity, seed)


def _made(test: Images, corruption: str, severity: int, seed: str) -> Images:
    origin = f"generated from {test.origin}, {corruption} severity {severity}"
    if corruption == "scale":
        return checked(scale(test.pixels, severity), test.labels, origin)
    if corruption == "translate":
        return checked(translate(test.pixels, severity, seed), test.labels, f"{origin}, seed {seed!r}")
    raise InputError(
        f"corruption {corruption!r} at severity {severity} of {test.origin} is not on disk and only "
        f"{', '.join(CORRUPTIONS)} can be made here; for the MNIST test set at severity {PUBLISHED_SEVERITY}: "
        "`distillbias data get mnist_c`"
    )


def _checked_severity(severity: int) -> int:
    if severity not in SEVERITIES:
        raise InputError(f"severity {severity!r}; the choices are {', '.join(map(str, SEVERITIES))}")
    return severity
