import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import similarity as literal

from distillbias.analysis import similarity
from distillbias.analysis.similarity import linear_cka, representational_similarity, similarity_matrix
from distillbias.errors import InputError

VARIANTS = ["code", "text"]
seeds = st.integers(0, 999)
variants = st.sampled_from(VARIANTS)
booleans = st.booleans()
quick = settings(derandomize=True, deadline=None, max_examples=25)


def drawn(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


def relu(n, d, seed, dead):
    """Activations as after a ReLU, with `dead` all-zero rows."""
    rows = drawn(n, d, seed).clip(min=0)
    rows[:dead] = 0
    return rows


def rotation(d, seed):
    return scipy.stats.ortho_group.rvs(d, random_state=seed)


def test_by_hand():
    # A: two orthogonal inputs, matrix [[1, 0], [0, 1]]; B: two equal ones, all 1, rows (1, 1)/sqrt 2
    a, b = np.eye(2), np.array([[1.0], [1.0]])
    assert representational_similarity(a, b, "code") == pytest.approx(1 / np.sqrt(2))
    # text, B = (1, 2): matrix [[1, 2], [2, 4]], both rows (1, 2)/sqrt 5; A as before: (1 + 2)/sqrt 5 / 2
    assert representational_similarity(a, np.array([[1.0], [2.0]]), "text") == pytest.approx(1.5 / np.sqrt(5))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("dead", [0, 2])
def test_matches_the_literal_twin(variant, diagonal, dead):
    a, b, c = relu(9, 4, 1, dead), relu(9, 6, 2, 0), drawn(9, 3, 3)
    matrix = similarity_matrix([a, b, c], variant, diagonal, block_bytes=200)  # blocks of one row
    for i, one in enumerate([a, b, c]):
        for j, other in enumerate([a, b, c]):
            expected = literal.representational_similarity(one, other, variant, diagonal)
            assert representational_similarity(one, other, variant, diagonal) == pytest.approx(expected, abs=1e-12)
            assert matrix[i, j] == pytest.approx(expected, abs=1e-6)


@quick
@given(seed=seeds, variant=variants, diagonal=booleans, scale=st.floats(1e-3, 1e3))
def test_rotation_and_scale_change_nothing(seed, variant, diagonal, scale):
    a, b = drawn(12, 5, seed), drawn(12, 3, seed + 1)
    plain = representational_similarity(a, b, variant, diagonal)
    turned = representational_similarity(scale * a @ rotation(5, seed), b, variant, diagonal)
    assert turned == pytest.approx(plain, abs=1e-10)


@quick
@given(seed=seeds, diagonal=booleans)
def test_code_ignores_the_length_of_each_row(seed, diagonal):
    a, b = drawn(12, 5, seed), drawn(12, 3, seed + 1)
    lengths = np.random.default_rng(seed).uniform(0.01, 100, size=(12, 1))
    plain = representational_similarity(a, b, "code", diagonal)
    assert representational_similarity(lengths * a, b, "code", diagonal) == pytest.approx(plain, abs=1e-10)


@quick
@given(seed=seeds, variant=variants, diagonal=booleans, dead=st.integers(0, 10))
def test_laws_of_the_matrix(seed, variant, diagonal, dead):
    models = [relu(10, d, seed + d, dead) for d in (1, 2, 7)]
    matrix = similarity_matrix([*models, models[0]], variant, diagonal)
    assert (matrix == matrix.T).all() and (np.diag(matrix) == 1).all() and (np.abs(matrix) <= 1).all()
    assert matrix[0, 3] == pytest.approx(1, abs=1e-6)
    assert (similarity.distance(matrix) == 1 - matrix).all()


def test_blocks_and_precision_do_not_matter():
    models = [drawn(150, 20, seed) for seed in range(5)]
    whole = similarity_matrix(models, "code", dtype=np.float64)
    np.testing.assert_allclose(similarity_matrix(models, "code", dtype=np.float64, block_bytes=1), whole, atol=1e-13)
    np.testing.assert_allclose(similarity_matrix(models, "code"), whole, atol=2e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tiny_and_huge_activations_are_safe_in_float32(variant, scale):
    a, b = drawn(20, 4, 0), drawn(20, 4, 1)
    plain = representational_similarity(a, b, variant)
    assert similarity_matrix([(scale * a).astype(np.float32), b], variant)[0, 1] == pytest.approx(plain, abs=1e-6)


@quick
@given(seed=seeds)
def test_debiased_hsic_matches_the_mean_over_tuples(seed):
    k, m = (one @ one.T for one in (drawn(6, 3, seed), drawn(6, 2, seed + 1)))
    assert similarity.unbiased_hsic(k, m) == pytest.approx(literal.unbiased_hsic(k, m), abs=1e-10)


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_of_a_rotated_scaled_shifted_copy_is_one(debiased):
    a = drawn(30, 5, 0)
    assert linear_cka(a, 3 * a @ rotation(5, 1) + 7, debiased) == pytest.approx(1, abs=1e-12)
    assert np.isnan(linear_cka(a, np.full((30, 2), 0.3), debiased))


def test_cka_of_two_columns_is_their_squared_correlation():
    x, y = drawn(40, 1, 0), drawn(40, 1, 1)
    assert linear_cka(x, y, debiased=False) == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2)


def test_only_debiased_cka_finds_unrelated_wide_models_unrelated():
    pairs = [(drawn(30, 200, seed), drawn(30, 200, seed + 100)) for seed in range(20)]
    assert np.mean([linear_cka(a, b, debiased=False) for a, b in pairs]) > 0.8
    assert abs(np.mean([linear_cka(a, b, debiased=True) for a, b in pairs])) < 0.02


def test_wrong_input_is_refused():
    a = drawn(5, 2, 0)
    with pytest.raises(InputError, match="model 1 has 4, not 5"):
        similarity_matrix([a, a[:4]], "code")
    with pytest.raises(InputError, match="model 0 holds nan or inf"):
        similarity_matrix([a * np.nan], "code")
    with pytest.raises(InputError, match="at least one model"):
        similarity_matrix([], "code")
    with pytest.raises(InputError, match="at least 4 inputs, got 3"):
        linear_cka(a[:3], a[:3], debiased=True)
    with pytest.raises(InputError, match="unknown variant 'cosine'; choose one of code, text"):
        similarity.check([a], "cosine")  # the type of `variant` stops it earlier while tests check types
