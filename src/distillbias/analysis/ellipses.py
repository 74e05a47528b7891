"""How sure is a place on a map of models? Bootstrap over the inputs that the distances were measured on.

The inputs are drawn anew with replacement, the distances measured again, the models embedded again, and each such map
turned onto the first. An ellipse is the spread of a model's places, so it says what another sample of inputs of the
same size would do to the map; it says nothing of other training seeds, nor of what two dimensions cannot show.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaincinv

from distillbias.analysis.maps import Distances, Map, Points, check, descend, embed
from distillbias.analysis.similarity import Activations, Variant, unit_rows, unit_scale
from distillbias.analysis.similarity import check as check_activations
from distillbias.errors import InputError

Rows = Int[np.ndarray, " _n"]  # which inputs were drawn, an input as often as it was
SHARE = 0.95


@dataclass(frozen=True)
class Ellipse:
    """Where 95 % of the draws lie if they are Gaussian. In the units of the map."""

    centre: tuple[float, float]  # mean of the draws; its distance from the model's point estimates the bias
    half_lengths: tuple[float, float]  # of the axes, the longer first
    angle: float  # from axis 0 of the map to the longer axis, in radians, in (-pi/2, pi/2]


@dataclass(frozen=True)
class BootstrapMap:
    map: Map  # of all inputs
    draws: Float[np.ndarray, "draws m 2"]  # in units of `map.unit`, turned onto `map.points`
    ellipses: tuple[Ellipse, ...]  # one a model


def bootstrap_map(distances: Callable[[Rows], Distances], n: int, draws: int = 50, seed: int = 0) -> BootstrapMap:
    """Map of m models by `distances(rows)`, [m, m], with an ellipse for each model from `draws` samples of n inputs.

    `rows` are n numbers in 0 .. n - 1, sorted: all of them once for the map itself, then samples with replacement. A
    sample holds copies, and copies of an input are as alike to each other as an input to itself, in every model:
    distances that leave out an input's similarity to itself must leave out its similarity to copies, as
    `second_order_distances` does. The map is `embed`'s best of many starts; each sample's starts from that map, so
    that an ellipse shows the sample and not the choice among local optima. Samples are not rescaled: a unit is the
    largest distance of the map of all inputs. At least 3 draws.
    """
    if n < 1 or draws < 3:
        raise InputError(f"a bootstrap needs at least 1 input and 3 draws, got {n} and {draws}")
    first = embed(distances(np.arange(n)), seed)
    random = np.random.default_rng(seed)
    samples = np.stack([distances(np.sort(random.integers(n, size=n))) for _ in range(draws)])
    places = again(samples, first)
    return BootstrapMap(first, places, tuple(ellipse(one) for one in places.swapaxes(0, 1)))


def again(samples: Float[np.ndarray, "draws m m"], first: Map) -> Float[np.ndarray, "draws m 2"]:
    for distances in samples:
        check(distances)
    scaled = samples.astype(np.float64) / (first.unit or 1.0)
    found = descend(
        (scaled + scaled.swapaxes(1, 2)) / 2, np.broadcast_to(first.points, (len(samples), *first.points.shape))
    )
    return np.stack([align_map(points, first.points) for points in found])


def turn_map(made: BootstrapMap, reference: Float[np.ndarray, "_models 2"]) -> BootstrapMap:
    """The same map, points, draws and ellipses, turned onto `reference` as `align_map` does; it holds the same models.

    Stress and unit stay: nothing is rescaled.
    """
    points = align_map(made.map.points, reference)
    draws = np.stack([align_map(draw, points) for draw in made.draws])
    return BootstrapMap(made.map._replace(points=points), draws, tuple(ellipse(one) for one in draws.swapaxes(0, 1)))


def align_map(points: Float[np.ndarray, "_m 2"], reference: Float[np.ndarray, "_models 2"]) -> Points:
    """`points` shifted, rotated and reflected, not scaled, to be nearest to `reference` in the least-squares sense.

    For drawing the same models alike in two maps: row i of both is the same model.
    Source: orthogonal Procrustes problem, Schönemann 1966.
    """
    if points.shape != reference.shape:
        raise InputError(f"both maps must hold the same models, got {len(points)} and {len(reference)}")
    centre = reference.mean(axis=0)
    centred = points - points.mean(axis=0)
    left, _, right = np.linalg.svd(centred.T @ (reference - centre))
    return centred @ (left @ right) + centre


def ellipse(draws: Float[np.ndarray, "draws 2"]) -> Ellipse:
    """From the covariance (draws - 1) of places; half-lengths are `sqrt(5.99 eigenvalue)`, chi-squared with 2 df."""
    values, vectors = np.linalg.eigh(np.cov(draws.T))
    short, long = np.sqrt(2 * gammaincinv(1, SHARE) * values.clip(min=0))
    x, y = vectors[:, 1] * (-1 if vectors[0, 1] < 0 or (vectors[0, 1] == 0 and vectors[1, 1] < 0) else 1)
    centre = draws.mean(axis=0)
    return Ellipse((float(centre[0]), float(centre[1])), (float(long), float(short)), float(np.arctan2(y, x)))


def second_order_distances(
    activations: Sequence[Activations], variant: Variant, diagonal: bool = True
) -> Callable[[Rows], Distances]:
    """`rows -> 1 - similarity_matrix` of the m models on those inputs, fast for many samples of the same inputs.

    `diagonal=True` is `similarity_matrix` of the drawn rows, copies and all. False leaves out the similarity of an
    input to itself and to its copies. Each model's n x n similarities are made once: m n n numbers in float32 are
    held, and errors are about 1e-6.
    """
    check_activations(activations, variant)
    m, n = len(activations), len(activations[0])
    kernels = np.empty((n, m, n), np.float32)
    for i, one in enumerate(activations):
        left = unit_rows(one)
        kernels[:, i] = left @ (left if variant == "code" else unit_scale(one)).T
    if not diagonal:
        kernels[np.arange(n), :, np.arange(n)] = 0.0

    def distances(rows: Rows) -> Distances:
        drawn, counts = np.unique(rows, return_counts=True)
        profiles = kernels[drawn][:, :, drawn] * np.sqrt(counts, dtype=np.float32)
        lengths = np.linalg.norm(profiles, axis=2)  # [drawn, m]
        profiles /= np.where(lengths > 0, lengths, 1.0)[:, :, None]
        weighted = profiles * (counts / len(rows)).astype(np.float32)[:, None, None]
        similarity = np.tensordot(weighted, profiles, axes=([0, 2], [0, 2])).astype(np.float64)
        similarity += np.einsum("i,ia,ib->ab", counts / len(rows), lengths == 0, lengths == 0)  # equal to each other
        found = 1.0 - ((similarity + similarity.T) / 2).clip(-1.0, 1.0)
        np.fill_diagonal(found, 0.0)
        return found

    return distances
