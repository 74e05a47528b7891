import numpy as np
import pytest
from scipy.stats import binom, permutation_test

from distillbias.analysis.nulls import permutation_null
from distillbias.analysis.representation import MEASURES, mutual_neighbours, procrustes_similarity, rsa
from distillbias.errors import InputError


def drawn(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_agrees_with_scipys_exact_test():
    a = drawn(6, 2, 0)
    b = a + 1.5 * drawn(6, 2, 1)
    exact = permutation_test(
        (np.arange(6),),
        lambda order: procrustes_similarity(a, b[order.astype(int)]),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=False,
    )
    found = permutation_null(procrustes_similarity, a, b, draws=600)
    values = exact.null_distribution  # all 720
    assert found.observed == pytest.approx(exact.statistic) and 0.02 < exact.pvalue < 0.5
    assert found.p == pytest.approx(exact.pvalue, abs=4 * np.sqrt(exact.pvalue / 600))
    assert found.mean == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(600))
    assert found.sd == pytest.approx(values.std(), rel=0.1)
    assert found.upper == pytest.approx(np.quantile(values, 0.95), abs=0.3 * values.std())
    assert found.z == (found.observed - found.mean) / found.sd


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("rsa_correlation", rsa),
        ("rsa_euclidean", lambda a, b: rsa(a, b, "euclidean")),
        ("mutual_neighbours", lambda a, b: mutual_neighbours(a, b)),
    ],
)
def test_permuting_a_table_is_permuting_the_inputs(name, plain):
    a = np.maximum(drawn(20, 4, 0), 0)
    b = np.maximum(a + drawn(20, 4, 1), 0)
    quick, slow = (permutation_null(measure, a, b, draws=20, seed=3) for measure in (MEASURES[name], plain))
    assert list(vars(quick).values()) == pytest.approx(list(vars(slow).values()), abs=1e-12)


def test_p_values_of_unrelated_models_are_uniform():
    p = [permutation_null(procrustes_similarity, drawn(8, 2, s), drawn(8, 2, s + 1000), 19, s).p for s in range(100)]
    assert min(p) == pytest.approx(1 / 20)
    for level in (0.05, 0.25, 0.5):
        count = sum(one <= level + 1e-9 for one in p)
        assert binom.ppf(0.001, 100, level) <= count <= binom.ppf(0.999, 100, level)


@pytest.mark.parametrize("name", MEASURES)
def test_related_models_stand_out_for_every_measure(name):
    a = drawn(40, 5, 0)
    found = permutation_null(MEASURES[name], a, a + 0.3 * drawn(40, 5, 1), draws=30)
    assert found.p == 1 / 31 and found.z > 5 and found.observed > found.upper > found.mean
    assert found == permutation_null(MEASURES[name], a, a + 0.3 * drawn(40, 5, 1), draws=30)


def test_known_means_of_the_null():
    a, b = drawn(50, 5, 0), drawn(50, 60, 1)
    neighbours = permutation_null(MEASURES["mutual_neighbours"], a, b)
    assert neighbours.mean == pytest.approx(10 / 49, abs=4 * neighbours.sd / np.sqrt(200))
    cka = permutation_null(MEASURES["linear_cka"], a, b)
    assert cka.mean == pytest.approx(0, abs=4 * cka.sd / np.sqrt(200))
    assert permutation_null(procrustes_similarity, a, b).mean > 0.2  # not 0: what the null is for


def test_a_null_by_hand():
    values = iter([0.3, 0.1, 0.4, 0.1])  # the observed one, then the null
    found = permutation_null(lambda a, b: next(values), drawn(5, 2, 0), drawn(5, 2, 1), draws=3)
    expected = [0.3, 0.2, np.sqrt(0.03), 0.1 + 0.9 * 0.3, 0.1 / np.sqrt(0.03), 2 / 4, 3]
    assert list(vars(found).values()) == pytest.approx(expected)


def test_a_measure_blind_to_correspondence():
    found = permutation_null(lambda a, b: 0.5, drawn(5, 2, 0), drawn(5, 2, 1), draws=9)
    assert (found.observed, found.mean, found.sd, found.upper, found.p) == (0.5, 0.5, 0.0, 0.5, 1.0)
    assert np.isnan(found.z)


@pytest.mark.parametrize("name", ["rsa_correlation", "procrustes"])
def test_constant_activations_have_no_null(name):
    found = permutation_null(MEASURES[name], drawn(12, 3, 0), np.ones((12, 3)), draws=5)
    assert np.isnan([found.observed, found.mean, found.sd, found.upper, found.z, found.p]).all() and found.draws == 5


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="at least 2 draws, got 1"):
        permutation_null(rsa, drawn(5, 2, 0), drawn(5, 2, 1), draws=1)
    with pytest.raises(InputError, match="model 1 has 6, not 5"):
        permutation_null(rsa, drawn(5, 2, 0), drawn(6, 2, 1))
