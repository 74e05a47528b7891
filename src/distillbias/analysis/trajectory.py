"""The path of a model through representation space while it trains (Figure 1, C28).

A path is `[stages, n, d]`: the activations of the same n inputs after each saved stage of one run, first to last.
The paper draws each run in a space of its own, where paths cannot be compared; here all runs share one space, and
the comparison is a number. Use penultimate activations in eval mode (paper-facts T6, T7).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from distillbias.analysis.maps import embed
from distillbias.analysis.similarity import Variant, distance, representational_similarity, similarity_matrix
from distillbias.errors import InputError

Path = Float[np.ndarray, "_stages _n _d"]  # n must agree between runs, d need not


class JointPaths(NamedTuple):
    """Points of every run on one map: `points[run][stage]`, in units of `unit`, the largest distance there is."""

    points: dict[str, Float[np.ndarray, "_stages 2"]]
    stress: float  # Kruskal's stress-1 of the whole map
    unit: float


def joint_paths(stages: dict[str, Path], variant: Variant, seed: int) -> JointPaths:
    """All stages of all runs on one map, by representational distance. Runs may have different numbers of stages.

    With s stages in all, the map is that of the s x s matrix of `1 - similarity_matrix`.
    """
    if not stages:
        raise InputError("a map of paths needs at least one run, got none")
    every = [stage for path in stages.values() for stage in path]
    drawn = embed(distance(similarity_matrix(every, variant)), seed)
    ends = np.cumsum([len(path) for path in stages.values()])
    points = dict(zip(stages, np.split(drawn.points, ends[:-1]), strict=True))
    return JointPaths(points, drawn.stress, drawn.unit)


def path_alignment(a_stages: Path, b_stages: Path, variant: Variant) -> Float[np.ndarray, " stages"]:
    """Representational distance of stage k of one run from stage k of the other, for each k. In [0, 2], 0 = same.

    Stages are matched by index, so both runs must have the same number of them, saved after the same epochs.
    """
    if len(a_stages) != len(b_stages):
        raise InputError(
            f"paths are compared stage by stage: got {len(a_stages)} and {len(b_stages)} stages; "
            "keep those that both runs saved, or use stage_distances"
        )
    pairs = zip(a_stages, b_stages, strict=True)
    return np.array([1.0 - representational_similarity(a, b, variant) for a, b in pairs])


def path_distance(a_stages: Path, b_stages: Path, variant: Variant) -> float:
    """Mean of `path_alignment`: how far apart two runs are on average while they train. In [0, 2], 0 = same path."""
    if len(a_stages) == 0:
        raise InputError("a path needs at least one stage, got none")
    return float(path_alignment(a_stages, b_stages, variant).mean())


def stage_distances(a_stages: Path, b_stages: Path, variant: Variant) -> Float[np.ndarray, "stages_a stages_b"]:
    """Representational distance of every stage of one run from every stage of the other. In [0, 2].

    Its row minima say how near a run ever comes to the other's path, whatever the pace (paper-facts 7.7).
    """
    similarity = similarity_matrix([*a_stages, *b_stages], variant)
    return 1.0 - similarity[: len(a_stages), len(a_stages) :]
