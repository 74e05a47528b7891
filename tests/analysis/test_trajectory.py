from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from distillbias.analysis.similarity import representational_similarity
from distillbias.analysis.trajectory import joint_paths, path_alignment, path_distance, stage_distances
from distillbias.errors import InputError


def path(stages, n, d, seed):
    """From a random start straight to a random end."""
    start, end = np.random.default_rng(seed).normal(size=(2, n, d))
    return np.stack([start + (end - start) * k / (stages - 1) for k in range(stages)])


def test_alignment_is_the_distance_of_each_pair_of_stages():
    a, b = path(4, 30, 5, 0), path(4, 30, 8, 1)
    expected = [1 - representational_similarity(x, y, "code") for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(path_alignment(a, b, "code"), expected, atol=1e-12)
    assert path_distance(a, b, "code") == pytest.approx(np.mean(expected))
    np.testing.assert_allclose(np.diag(stage_distances(a, b, "code")), expected, atol=1e-5)
    assert stage_distances(a, b[:3], "code").shape == (4, 3)


@pytest.mark.parametrize("variant", ["code", "text"])
def test_a_path_is_at_distance_zero_from_itself_and_its_rotation(variant):
    a = path(3, 20, 4, 0)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    assert path_distance(a, a, variant) == pytest.approx(0, abs=1e-12)
    assert path_distance(a, a @ turn, variant) == pytest.approx(0, abs=1e-12)
    assert path_distance(a, path(3, 20, 4, 5), variant) > 0.1


def test_runs_share_one_space():
    stages = {"cnn": path(5, 40, 6, 0), "mlp": path(4, 40, 3, 1), "twin": path(5, 40, 6, 0)}
    found = joint_paths(stages, "code", seed=0)
    assert [len(points) for points in found.points.values()] == [5, 4, 5]
    assert list(found.points) == list(stages)
    np.testing.assert_allclose(found.points["cnn"], found.points["twin"], atol=1e-2)
    # each point stands for its own stage: the stress follows from pairs of stages taken one by one
    every = [stage for path in stages.values() for stage in path]
    wanted = [1 - representational_similarity(a, b, "code") for a, b in combinations(every, 2)]
    got = pdist(np.concatenate(list(found.points.values())))
    assert max(wanted) == pytest.approx(found.unit, abs=1e-6)
    misfit = ((got - np.array(wanted) / found.unit) ** 2).sum()
    assert np.sqrt(misfit / (got**2).sum()) == pytest.approx(found.stress, abs=1e-5)
    assert found.stress < 0.15


def test_wrong_input_is_refused():
    a = path(4, 10, 3, 0)
    with pytest.raises(InputError, match="got 4 and 3 stages; keep those that both runs saved"):
        path_distance(a, a[:3], "code")
    with pytest.raises(InputError, match="at least one stage"):
        path_distance(a[:0], a[:0], "code")
    with pytest.raises(InputError, match="at least one run"):
        joint_paths({}, "code", 0)
