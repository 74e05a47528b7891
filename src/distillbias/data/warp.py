"""Bilinear resampling on a rectangular grid, zero outside the image: all that MNIST-C's `scale` and `digits` need.

The order of operations is fixed and element by element (no BLAS), so that every machine rounds alike.
"""

import numpy as np


def bilinear(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Read square images at every (row, column) of `positions` x `positions`, pixel centres on the integers.

    Args:
        values: float64 [n, side, side].
        positions: float64 [m], coordinates in the input, the same for rows and columns; any range.

    Returns:
        float64 [n, m, m], within the range of `values` and 0.
    """
    columns = _along_last(values, positions)
    return _along_last(columns.swapaxes(1, 2), positions).swapaxes(1, 2)


def _along_last(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    side = values.shape[-1]
    framed = np.pad(values, ((0, 0), (0, 0), (1, 1)))  # one zero on each side stands for all that is outside
    below = np.floor(positions).astype(np.int64)
    share = positions - below
    left = framed[..., np.clip(below, -1, side) + 1]
    right = framed[..., np.clip(below + 1, -1, side) + 1]
    return (1.0 - share) * left + share * right
