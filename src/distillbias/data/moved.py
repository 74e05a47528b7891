"""Training images moved and shrunk at random: teaches directly what a convolution has built in.

The upper reference of the vision case: a student of a CNN is asked to learn from its answers alone what these images
show outright. Their shifts and sizes cover those of the corrupted tests, so this is no fair student, and is not meant
to be one.
"""

import numpy as np

from distillbias.data.images import Images, checked
from distillbias.data.mnist_c import SEVERITIES, scale, shifted

REACH = 5  # pixels on each axis, as far as the most severe translation


def copies(images: Images, count: int, seed: int) -> Images:
    """`count` copies of every image, each at a size and then a shift of up to REACH pixels on each axis.

    Sizes are those of MNIST-C's `scale` at severity 1 to 5, and 1. Sizes and shifts are drawn uniformly and
    independently from `seed`. Copy k of all images comes before copy k + 1 of any. Ink pushed over the edge is lost.

    Returns:
        uint8 [count * n, 28, 28] with the labels repeated.
    """
    random = np.random.default_rng(seed)
    made = [_copy(images.pixels, random) for _ in range(count)]
    origin = f"{images.origin}, {count} copies of each at random sizes and places"
    return checked(np.concatenate(made), np.tile(images.labels, count), origin)


def _copy(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = random.integers(len(SEVERITIES) + 1, size=len(pixels))
    shift = random.integers(-REACH, REACH + 1, size=(len(pixels), 2))
    found = pixels.copy()
    for severity in SEVERITIES:
        if (size == severity).any():
            found[size == severity] = scale(pixels[size == severity], severity)
    for dx in range(-REACH, REACH + 1):
        for dy in range(-REACH, REACH + 1):
            chosen = (shift == (dx, dy)).all(axis=1)
            found[chosen] = shifted(found[chosen], dx, dy)
    return found
