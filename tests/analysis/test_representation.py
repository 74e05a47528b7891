import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group, spearmanr
from sklearn.neighbors import NearestNeighbors

from distillbias.analysis.representation import (
    MEASURES,
    dissimilarities,
    mutual_neighbours,
    procrustes_similarity,
    rsa,
)
from distillbias.errors import InputError

quick = settings(derandomize=True, deadline=None, max_examples=6)
seeds = st.integers(0, 999)


def drawn(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


def centred(x):
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x)


@quick
@given(seed=seeds, metric=st.sampled_from(["correlation", "euclidean"]))
def test_rsa_is_scipys_spearman_of_scipys_dissimilarities(seed, metric):
    a, b = drawn(20, 7, seed), drawn(20, 4, seed + 1)
    expected = spearmanr(pdist(a, metric), pdist(b, metric)).statistic
    assert rsa(a, b, metric) == pytest.approx(expected, abs=1e-12)


def test_rsa_shares_the_ranks_of_ties_as_scipy_does():
    a, b = np.random.default_rng(0).integers(0, 3, size=(2, 15, 2)).astype(np.float64)
    assert len(np.unique(pdist(a))) < 10
    assert rsa(a, b, "euclidean") == pytest.approx(spearmanr(pdist(a), pdist(b)).statistic, abs=1e-12)


def test_an_all_zero_input_is_uncorrelated_with_others_and_equal_to_its_like():
    rows = np.array([[0.0] * 5, [1.3] * 5, [1.0, 2.0, 3.0, 2.0, 2.0], [3.0, 2.0, 1.0, 2.0, 2.0]])
    assert (rows[1] / 3).mean() != 1.3 / 3  # rounding is no shape of a row
    assert dissimilarities(rows, "correlation").tolist() == [0, 1, 1, 1, 1, 2]  # 01 02 03 12 13 23


@quick
@given(seed=seeds, d=st.integers(1, 40))
def test_procrustes_is_scipys_least_distance(seed, d):
    a, b = drawn(20, d, seed), drawn(20, d, seed + 1)
    x, y = centred(a), centred(b)
    turn, _ = orthogonal_procrustes(x, y)
    found = procrustes_similarity(a, b)
    assert found == pytest.approx(1 - np.linalg.norm(x @ turn - y) ** 2 / 2, abs=1e-9)
    assert found == pytest.approx(np.sqrt(1 - procrustes(a, b)[2]), abs=1e-9)  # disparity: scaled too, 1 - value ** 2


def test_procrustes_pads_the_narrower_side():
    a, b = drawn(12, 3, 0), drawn(12, 30, 1)
    padded = np.hstack([a, np.zeros((12, 27))])
    assert procrustes_similarity(a, b) == pytest.approx(procrustes_similarity(padded, b), abs=1e-12)
    turn, total = orthogonal_procrustes(centred(padded), centred(b))
    assert procrustes_similarity(a, b) == pytest.approx(total, abs=1e-12)


@quick
@given(seed=seeds, k=st.integers(1, 24))
def test_neighbours_are_scikit_learns(seed, k):
    a, b = drawn(25, 6, seed), drawn(25, 3, seed + 1)
    near = [NearestNeighbors(n_neighbors=k, metric="cosine").fit(x).kneighbors(return_distance=False) for x in (a, b)]
    expected = np.mean([len({*one} & {*other}) / k for one, other in zip(*near, strict=True)])
    assert mutual_neighbours(a, b, k) == pytest.approx(expected, abs=1e-12)


def test_tied_neighbours_by_hand():
    # nearest of a: 0 -> 1 or 2, 1 -> 0 or 2, 2 -> 0 or 1, 3 -> any; of b: 0 <-> 1, 2 <-> 3
    x, y = [1.0, 0.0], [0.0, 1.0]
    a, b = np.array([x, x, x, y]), np.array([x, x, y, y])
    assert mutual_neighbours(a, b, 1) == pytest.approx((1 / 2 + 1 / 2 + 0 + 1 / 3) / 4)
    assert mutual_neighbours(a, a, 1) == 1


def test_all_zero_activations_are_neighbours():
    a = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.1]])
    b = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    assert mutual_neighbours(a, b, 1) == 1


def test_unrelated_models_share_neighbours_by_chance():
    found = [mutual_neighbours(drawn(60, 20, seed), drawn(60, 20, seed + 100), 10) for seed in range(40)]
    assert np.mean(found) == pytest.approx(10 / 59, abs=4 * np.std(found) / np.sqrt(40))
    assert mutual_neighbours(drawn(11, 3, 0), drawn(11, 3, 1), 10) == 1  # all others are neighbours


@pytest.mark.parametrize("name", MEASURES)
@quick
@given(seed=seeds)
def test_laws_of_every_measure(name, seed):
    measure, a, b = MEASURES[name], drawn(30, 6, seed), drawn(30, 45, seed + 1)
    assert measure(a, a) == pytest.approx(1, abs=1e-9)
    assert measure(a, b) == pytest.approx(measure(b, a), abs=1e-9)
    assert measure(1e200 * a, 3 * b) == pytest.approx(measure(a, b), abs=1e-9)
    order = np.random.default_rng(seed).permutation(30)
    assert measure(a[order], b[order]) == pytest.approx(measure(a, b), abs=1e-9)
    near, far = (measure(a, a + noise * drawn(30, 6, seed + 2)) for noise in (0.1, 3.0))
    assert 1 > near > far
    if name != "rsa_correlation":
        turned = a @ ortho_group.rvs(6, random_state=seed)
        assert measure(turned, b) == pytest.approx(measure(a, b), abs=1e-9)
        assert measure(turned, a) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", [name for name in MEASURES if not name.startswith("second_order")])
def test_constant_activations_have_no_value(name):
    constant, other = np.full((12, 3), 0.1), drawn(12, 3, 0)
    for a, b in [(constant, other), (other, constant), (constant, constant)]:
        assert np.isnan(MEASURES[name](a, b))


def test_wrong_input_is_refused():
    a = drawn(10, 3, 0)
    with pytest.raises(InputError, match="k must lie in 1 .. n - 1 = 9, got 10"):
        mutual_neighbours(a, a)
    with pytest.raises(InputError, match="k must lie in .* got 0"):
        mutual_neighbours(a, a, 0)
    for measure in MEASURES.values():
        with pytest.raises(InputError, match="model 1 has 11, not 10"):
            measure(a, drawn(11, 3, 0))
