"""A flat map of models (or training stages): points whose distances resemble the given ones. For looking at.

Report the distances themselves beside it: a map of m models in two dimensions always distorts, and `stress` says
how much (Kruskal's reading: 0 exact, 0.05 good, 0.1 fair, 0.2 poor).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import pdist, squareform

from distillbias.errors import InputError

STARTS = 8  # random starts beside the classical one
STEPS = 1000
EPS = 1e-9

Points = Float[np.ndarray, "m 2"]
Distances = Float[np.ndarray, "m m"]


class Map(NamedTuple):
    """`points` are in units of `unit`, the largest of the given distances; centred, widest spread along axis 0."""

    points: Points
    stress: float  # Kruskal's stress-1 of the points, 0 = exact, lower is better
    unit: float


def embed(distances: Distances, seed: int) -> Map:
    """Metric multidimensional scaling to two dimensions: least `sum (|x_i - x_j| - delta_ij)^2`, delta <= 1.

    Distances are divided by their maximum. SMACOF starts from classical scaling and from `STARTS` random
    configurations; the least stress wins, the earlier start where equal to 6 decimals. The same input and seed give
    the same points, and `orient` removes the freedom of rotation and reflection. Distances that are all 0 give one
    point.
    Source: Borg & Groenen 2005, chapter 8.
    """
    check(distances)
    unit = float(distances.max())
    if unit == 0:
        return Map(np.zeros((len(distances), 2)), 0.0, unit)
    scaled = distances.astype(np.float64) / unit
    scaled = (scaled + scaled.T) / 2
    random = np.random.default_rng(seed)
    starts = [classical(scaled), *random.uniform(size=(STARTS, len(scaled), 2))]
    ends = descend(scaled[None], np.stack(starts))
    points = min(ends, key=lambda one: round(stress(scaled, one), 6))  # rounding must not choose the start
    return Map(orient(points), stress(scaled, points), unit)


def stress(distances: Distances, points: Points) -> float:
    """Kruskal's stress-1: `sqrt(sum (d_ij - delta_ij)^2 / sum d_ij^2)` over pairs, d between points. 0 = exact.

    All points in one place: 0 if every delta is 0, inf otherwise. Source: Kruskal 1964, equation for S.
    """
    wanted, got = squareform(distances, checks=False), pdist(points)
    misfit, size = ((got - wanted) ** 2).sum(), (got**2).sum()
    if size == 0:
        return 0.0 if misfit == 0 else float("inf")
    return float(np.sqrt(misfit / size))


def classical(distances: Distances) -> Points:
    """Classical scaling (Torgerson 1952): exact where the distances are those of points in a plane."""
    centring = np.eye(len(distances)) - 1 / len(distances)
    values, vectors = np.linalg.eigh(-centring @ distances**2 @ centring / 2)
    points = np.zeros((len(distances), 2))
    kept = vectors[:, ::-1][:, :2] * np.sqrt(values[::-1][:2].clip(min=0))
    points[:, : kept.shape[1]] = kept
    return points


def descend(distances: Float[np.ndarray, "#s m m"], starts: Float[np.ndarray, "s m 2"]) -> Float[np.ndarray, "s m 2"]:
    """SMACOF from each start, all at once: Guttman transforms of the points, at most `STEPS` of them.

    A start is done when a step lowers its `sum (|x_i - x_j| - delta_ij)^2` by less than `EPS` of `sum |x_i - x_j|^2`.
    Points in one place count as 1e-5 apart, so that they can part. As scikit-learn's `smacof` does it.
    Source: de Leeuw 1977; Borg & Groenen 2005, section 8.6.
    """
    points = starts.astype(np.float64)
    goes_on = np.arange(len(starts))
    places, wanted = points.copy(), np.broadcast_to(distances, (len(starts), *distances.shape[1:]))
    got, before = _between(places), np.full(len(starts), np.inf)
    for _ in range(STEPS):
        pull = wanted / np.where(got > 0, got, 1e-5)
        places = (pull.sum(axis=2, keepdims=True) * places - pull @ places) / len(wanted[0])
        got = _between(places)
        misfit, size = ((got - wanted) ** 2).sum(axis=(1, 2)), (got**2).sum(axis=(1, 2))
        points[goes_on] = places
        left = before - misfit >= EPS * size
        if not left.all():
            goes_on, places, wanted, got, misfit = (each[left] for each in (goes_on, places, wanted, got, misfit))
        if len(goes_on) == 0:
            break
        before = misfit
    return points


def _between(points: np.ndarray) -> np.ndarray:
    """[s, m, 2] -> [s, m, m] distances."""
    across, up = (points[:, :, None, axis] - points[:, None, :, axis] for axis in (0, 1))
    return np.sqrt(across**2 + up**2)


def orient(points: Points) -> Points:
    """Centre, turn the widest spread to axis 0 and fix signs: the first point well off an axis is on its plus side.

    Rotated or reflected copies of a configuration come out the same, unless its spread is equal in all directions.
    """
    centred = points - points.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    turned = centred @ directions[:, ::-1]
    for column in turned.T:
        off = np.flatnonzero(np.abs(column) > 1e-6 * np.abs(turned).max())
        if len(off) and column[off[0]] < 0:
            column *= -1
    return turned


def check(distances: Distances) -> None:
    if distances.size == 0:
        raise InputError("a map needs at least one model, got none")
    if not np.isfinite(distances).all() or distances.min() < 0:
        raise InputError(f"distances must be finite and not negative, the lowest is {distances.min()}")
    if np.abs(np.diag(distances)).max() > 0:
        raise InputError(f"the distance of a model to itself must be 0, got {np.abs(np.diag(distances)).max()}")
    asymmetry = np.abs(distances - distances.T).max()
    if asymmetry > 1e-6 * distances.max():
        raise InputError(f"distances must be symmetric, two directions differ by {asymmetry:.3g}")
