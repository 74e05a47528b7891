"""How alike do two models arrange the same inputs? (representational similarity analysis, paper-facts 7.6)

Activations are `[n, d]`: row i is what a model makes of input i. Each model gives an n x n matrix of similarities
between its own inputs; two models are compared by the cosine of corresponding rows ("profiles"), averaged:

    similarity(A, B) = 1/n sum_i <p_i(A), p_i(B)>,   p_i(A) = row i of (left @ right.T), scaled to length 1

`variant` names what the n x n matrix holds, because the paper and its code differ:

- "code": cosines, both sides are activations scaled to length 1 row by row;
- "text": plain dot products, activations as they are.

`diagonal=False` sets the n entries (i, i) to 0 first: with small n they lift every value (paper-facts T8). An input
with an all-zero activation (ReLU, T33) has an all-zero profile; such a profile counts as equal (1) to another
all-zero one and as orthogonal (0) to every other, so that a model is always at similarity 1 from itself.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from distillbias.errors import InputError

Variant = Literal["code", "text"]
Activations = Float[np.ndarray, "_n _d"]  # one per model; the lengths are checked by `check`
BLOCK_BYTES = 64 * 2**20


def representational_similarity(a: Activations, b: Activations, variant: Variant, diagonal: bool = True) -> float:
    """Similarity of two models on the same n inputs, in float64. In [-1, 1]; 1 = same arrangement; symmetric.

    Unchanged by a rotation or a common scale of either side's activations; with "code" also by a positive scale per
    row. Source: Abnar et al. 2020, section on representational similarity; formula in the module.
    """
    return float(similarity_matrix([a, b], variant, diagonal, dtype=np.float64)[0, 1])


def similarity_matrix(
    activations: Sequence[Activations],
    variant: Variant,
    diagonal: bool = True,
    dtype: npt.DTypeLike = np.float32,
    block_bytes: int = BLOCK_BYTES,
) -> Float[np.ndarray, "m m"]:
    """`representational_similarity` of every pair of m models. Exactly symmetric, diagonal exactly 1, in [-1, 1].

    The mean over rows is an inner product of flattened n x n matrices, so all pairs are one Gram product of
    `[m, n*n]`, taken over blocks of rows: each n x n matrix is made once and m*n*n numbers are never held. Memory:
    the activations twice, m x m, and one block of at most `block_bytes` (one row of all m models at the least).
    float32 errs by about 1e-6; blocks are summed in float64.
    """
    check(activations, variant)
    m, n = len(activations), len(activations[0])
    lefts = [unit_rows(one).astype(dtype) for one in activations]
    rights = lefts if variant == "code" else [unit_scale(one).astype(dtype) for one in activations]
    rows = max(1, block_bytes // (m * (n + 1) * np.dtype(dtype).itemsize))
    gram = np.zeros((m, m))
    for start in range(0, n, rows):
        size = min(rows, n - start)
        block = np.empty((m, size, n + 1), dtype)
        for profiles, left, right in zip(block, lefts, rights, strict=True):
            fill_profiles(profiles, left, right, start, diagonal)
        flat = block.reshape(m, -1)
        gram += flat @ flat.T
    similarity = ((gram + gram.T) / (2 * n)).clip(-1.0, 1.0)
    np.fill_diagonal(similarity, 1.0)
    return similarity


def distance(similarity: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """`1 - similarity`. In [0, 2], 0 = same arrangement; not a metric (the triangle inequality may fail)."""
    return 1.0 - similarity


def linear_cka(a: Activations, b: Activations, debiased: bool) -> float:
    """Linear centred kernel alignment of two models on the same n inputs. 1 = same up to rotation and scale.

    `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))` with K = A A', L = B B'. Not debiased: centred kernels, in [0, 1], but
    it nears 1 when d exceeds n, whatever the models. `debiased`: the U-statistic of Song et al. 2012 (equation 5),
    about 0 for unrelated models, can be slightly negative; needs n >= 4. nan where a side is constant (or its
    debiased HSIC is not positive). Source: Kornblith et al. 2019; debiased: Nguyen et al. 2021.
    """
    check([a, b], "text")
    if debiased and len(a) < 4:
        raise InputError(f"the debiased estimate needs at least 4 inputs, got {len(a)}")
    centred = [(one - one.mean(axis=0)).astype(np.float64) for one in (unit_scale(a), unit_scale(b))]
    k, m = (one @ one.T for one in centred)
    hsic = unbiased_hsic if debiased else lambda x, y: float((x * y).sum())
    own = hsic(k, k), hsic(m, m)
    if min(own) <= 1e-24:  # scales are 1: below is rounding of a constant
        return float("nan")
    return hsic(k, m) / float(np.sqrt(own[0] * own[1]))


def unbiased_hsic(k: Float[np.ndarray, "n n"], m: Float[np.ndarray, "n n"]) -> float:
    """Mean over distinct i, j, q, r of `k_ij (m_ij + m_qr - 2 m_iq)`, without the loops. Song et al. 2012, eq. 5."""
    n = len(k)
    k, m = k * (1 - np.eye(n)), m * (1 - np.eye(n))
    rows_k, rows_m = k.sum(axis=0), m.sum(axis=0)
    total = (k * m).sum() + rows_k.sum() * rows_m.sum() / ((n - 1) * (n - 2)) - 2 * rows_k @ rows_m / (n - 2)
    return float(total / (n * (n - 3)))


def check(activations: Sequence[Activations], variant: str) -> None:
    if variant not in get_args(Variant):
        raise InputError(f"unknown variant {variant!r}; choose one of {', '.join(get_args(Variant))}")
    if len(activations) == 0 or activations[0].size == 0:
        raise InputError("similarity needs at least one model and one input, got none")
    for i, one in enumerate(activations):
        if len(one) != len(activations[0]):
            raise InputError(
                f"all models must see the same inputs: model {i} has {len(one)}, not {len(activations[0])}"
            )
        if not np.isfinite(one).all():
            raise InputError(f"activations must be finite, model {i} holds nan or inf")


def unit_scale(activations: Activations) -> Activations:
    """Divided by the largest absolute entry: no effect on any value here, but float32 products stay in range."""
    largest = np.abs(activations).max()
    return activations.astype(np.float64) / (largest if largest > 0 else 1.0)


def unit_rows(activations: Activations) -> Activations:
    """Rows scaled to length 1, all-zero rows left at zero."""
    largest = np.abs(activations).max(axis=1, keepdims=True).astype(np.float64)
    rows = activations / np.where(largest > 0, largest, 1.0)  # first by the entry: squares of 1e-200 vanish
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def fill_profiles(
    profiles: Float[np.ndarray, "rows columns"],
    left: Float[np.ndarray, "n d"],
    right: Float[np.ndarray, "n d"],
    start: int,
    diagonal: bool,
) -> None:
    """Write the profiles of inputs `start`, `start + 1`, ... in place, each of length 1.

    The last column is 1 for an all-zero profile and 0 otherwise. The left side may always be scaled to length 1
    first: it scales whole rows, which are normalised afterwards.
    """
    values = profiles[:, :-1]
    np.matmul(left[start : start + len(values)], right.T, out=values)
    if not diagonal:
        inputs = np.arange(len(values))
        values[inputs, start + inputs] = 0.0
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
    profiles[:, -1] = lengths == 0
    values /= np.where(lengths > 0, lengths, 1.0)[:, None]
