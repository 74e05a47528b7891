"""Other measures of how alike two models represent the same inputs, so that no finding hangs on one measure.

Activations are `[n, d]`, row i of both sides belongs to input i; d may differ. All values are higher for more alike,
symmetric, 1 for a model and itself, and unchanged by a rotation or a common scale of either side (RSA by correlation:
by a common scale, and by a shift of each row). None is comparable in size with another, and unrelated models are not
at 0 in all of them: read each beside its null (`analysis/nulls.py`).

Constant activations, the same row for every input, hold no arrangement: the measures defined here, and CKA, are nan
then. Second-order similarity stays a number by its own rule (`analysis/similarity.py`). Numbers equal to 10 decimals
tie, so that rounding does not rank.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import pdist, squareform

from distillbias.analysis.similarity import (
    Activations,
    check,
    linear_cka,
    representational_similarity,
    unit_rows,
    unit_scale,
)
from distillbias.errors import InputError

Metric = Literal["correlation", "euclidean"]
Measure = Callable[[Activations, Activations], float]
Table = Float[np.ndarray, "_n _n"]
NEIGHBOURS = 10
TIE_DECIMALS = 10


@dataclass(frozen=True)
class Pairwise:
    """A measure that makes a table of each model's pairs of inputs, [n, n], and compares two tables.

    To permute the inputs is to permute rows and columns of the table, so a null need not make it again.
    """

    table: Callable[[Activations], Table]
    compare: Callable[[Table, Table], float]

    def __call__(self, a: Activations, b: Activations) -> float:
        check([a, b], "text")
        return self.compare(self.table(a), self.table(b))


def rsa(a: Activations, b: Activations, metric: Metric = "correlation") -> float:
    """Representational similarity analysis: Spearman correlation of the n (n - 1) / 2 dissimilarities. In [-1, 1].

    "correlation": 1 - Pearson's correlation of two rows; a row whose entries are all equal (an input with an all-zero
    activation) is at 0 from another such row and at 1 from every other. "euclidean": length of the difference. Tied
    dissimilarities share their mean rank. nan where all dissimilarities of a side are equal.
    Source: Kriegeskorte et al. 2008; ranks as in Nili et al. 2014.
    """
    if metric not in get_args(Metric):
        raise InputError(f"unknown metric {metric!r}; choose one of {', '.join(get_args(Metric))}")
    return Pairwise(partial(rank_table, metric=metric), correlation)(a, b)


def rank_table(activations: Activations, metric: Metric) -> Table:
    """Ranks of the dissimilarities, centred and scaled to a sum of squares of 1 over the table; all nan if all tie."""
    from scipy.stats import rankdata  # every report reads this file, few come here, and it takes a second

    ranks = rankdata(dissimilarities(activations, metric))
    if len(ranks) == 0 or ranks.min() == ranks.max():
        return np.full((len(activations), len(activations)), np.nan)
    centred = ranks - ranks.mean()
    return squareform(centred / np.sqrt(2 * centred @ centred), checks=False)  # each pair is there twice


def correlation(left: Table, right: Table) -> float:
    return float(np.clip(np.vdot(left, right), -1.0, 1.0))


def dissimilarities(activations: Activations, metric: Metric) -> Float[np.ndarray, " pairs"]:
    """Of every pair of rows, in SciPy's condensed order; Euclidean ones as shares of the largest."""
    scaled = unit_scale(activations)
    if metric == "euclidean":
        lengths = pdist(scaled)
        return (lengths / (lengths.max(initial=0.0) or 1.0)).round(TIE_DECIMALS)
    centred = scaled - scaled.mean(axis=1, keepdims=True)
    centred[np.ptp(scaled, axis=1) == 0] = 0.0  # of a constant row only rounding is left
    return squareform((1 - cosines(centred)).round(TIE_DECIMALS), checks=False)


def cosines(activations: Activations) -> Float[np.ndarray, "n n"]:
    """Of every pair of rows, diagonal 1. An all-zero row: 1 with another all-zero row, 0 with every other."""
    rows = unit_rows(activations)
    zero = ~rows.any(axis=1)
    values = rows @ rows.T + np.outer(zero, zero)
    np.fill_diagonal(values, 1.0)
    return values


def procrustes_similarity(a: Activations, b: Activations) -> float:
    """How well one side can be rotated onto the other: `1 - D^2 / 2`, the nuclear norm of A'B. In [0, 1].

    A and B are centred over inputs and scaled to Frobenius norm 1; D is their orthogonal Procrustes distance, the
    least `|A R - B|` over rotations and reflections R, the narrower side padded with zeros. It nears 1 when d exceeds
    n, whatever the models. nan where a side is constant. Source: Ding et al. 2021, section 3; Williams et al. 2021.
    """
    check([a, b], "text")
    if is_constant(a) or is_constant(b):
        return float("nan")
    left, right = (unit_frobenius(one) for one in (a, b))
    return float(np.clip(np.linalg.svd(left.T @ right, compute_uv=False).sum(), 0.0, 1.0))


def unit_frobenius(activations: Activations) -> Activations:
    """Centred and scaled to Frobenius norm 1; rotated into n columns where d > n, which no rotation-free value sees."""
    scaled = unit_scale(activations)
    centred = scaled - scaled.mean(axis=0)
    if centred.shape[1] > len(centred):
        centred = np.asarray(np.linalg.qr(centred.T, mode="r")).T
    return centred / np.linalg.norm(centred)


def is_constant(activations: Activations) -> bool:
    return bool((activations == activations[0]).all())


def mutual_neighbours(a: Activations, b: Activations, k: int = NEIGHBOURS) -> float:
    """Share of an input's k nearest neighbours (by cosine, itself left out) that both sides have, averaged. In [0, 1].

    Chance is k / (n - 1). Ties: inputs equally near at the k-th place share the places that are left, so an input
    belongs to a neighbourhood by a share in [0, 1], and the two sides have in common the smaller share; order of the
    inputs plays no part. With many ties chance is higher. An all-zero activation is nearest to other all-zero ones.
    nan where a side is constant. 1 <= k <= n - 1. Source: Huh et al. 2024, appendix A (mutual k-NN).
    """
    return Pairwise(partial(neighbourhoods, k=k), shared)(a, b)


def neighbourhoods(activations: Activations, k: int = NEIGHBOURS) -> Table:
    """Entry (i, j): by what share j is among the k nearest of i. Rows sum to k, the diagonal is 0."""
    n = len(activations)
    if not 1 <= k <= n - 1:
        raise InputError(f"k must lie in 1 .. n - 1 = {n - 1}, got {k}")
    if is_constant(activations):
        return np.full((n, n), np.nan)
    near = cosines(activations).round(TIE_DECIMALS)
    np.fill_diagonal(near, -np.inf)
    last = np.partition(near, n - k, axis=1)[:, [n - k]]
    nearer, tied = near > last, near == last
    return nearer + tied * (k - nearer.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)


def shared(left: Table, right: Table) -> float:
    return float(np.minimum(left, right).sum() / left.sum())


MEASURES: dict[str, Measure] = {
    "second_order_code": partial(representational_similarity, variant="code"),
    "second_order_text": partial(representational_similarity, variant="text"),
    "linear_cka": partial(linear_cka, debiased=True),
    "rsa_correlation": Pairwise(partial(rank_table, metric="correlation"), correlation),
    "rsa_euclidean": Pairwise(partial(rank_table, metric="euclidean"), correlation),
    "procrustes": procrustes_similarity,
    "mutual_neighbours": Pairwise(neighbourhoods, shared),
}
