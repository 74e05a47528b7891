import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import pdist, squareform

from distillbias.analysis.ellipses import align_map, bootstrap_map, ellipse, second_order_distances, turn_map
from distillbias.analysis.similarity import similarity_matrix
from distillbias.errors import InputError

quick = settings(derandomize=True, deadline=None, max_examples=8)
seeds = st.integers(0, 999)


def drawn(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


def turn(angle, flip=1.0):
    return np.array([[np.cos(angle), np.sin(angle)], [-flip * np.sin(angle), flip * np.cos(angle)]])


@quick
@given(seed=seeds, angle=st.floats(0, 7), flip=st.sampled_from([-1.0, 1.0]))
def test_a_turned_map_is_turned_back(seed, angle, flip):
    points = drawn(6, 2, seed)
    np.testing.assert_allclose(align_map(points @ turn(angle, flip) + 3.0, points), points, atol=1e-9)
    np.testing.assert_allclose(align_map(2 * points, points) - points.mean(axis=0), 2 * (points - points.mean(axis=0)))


@quick
@given(seed=seeds)
def test_alignment_is_scipys_procrustes_and_keeps_distances(seed):
    points, reference = drawn(6, 2, seed), drawn(6, 2, seed + 1)
    found = align_map(points, reference)
    x, y = points - points.mean(axis=0), reference - reference.mean(axis=0)
    np.testing.assert_allclose(found, x @ orthogonal_procrustes(x, y)[0] + reference.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(pdist(found), pdist(points), atol=1e-9)


def test_an_ellipse_by_hand():  # variances 8 / 3 and 2 / 3; -2 ln 0.05 is the 95 % point of chi-squared, 2 df
    draws = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]) + [5.0, 7.0]
    factor = -2 * np.log(0.05)
    found = ellipse(draws)
    assert found.centre == pytest.approx((5, 7)) and found.angle == pytest.approx(0)
    assert found.half_lengths == pytest.approx((np.sqrt(factor * 8 / 3), np.sqrt(factor * 2 / 3)))
    assert ellipse(draws[:, ::-1]).angle == pytest.approx(np.pi / 2)


@quick
@given(seed=seeds, angle=st.floats(-1.5, 1.5))
def test_an_ellipse_turns_with_its_draws_and_holds_95_percent(seed, angle):
    draws = (drawn(2000, 2, seed) * [3.0, 1.0]) @ turn(angle) + [1.0, -2.0]
    found = ellipse(draws)
    assert found.angle == pytest.approx(angle, abs=0.05)
    inside = (((draws - found.centre) @ turn(found.angle).T / found.half_lengths) ** 2).sum(axis=1) <= 1
    assert inside.mean() == pytest.approx(0.95, abs=0.02)


def test_models_that_do_not_vary_have_an_ellipse_of_no_size():
    found = bootstrap_map(lambda rows: 1.0 - np.eye(3), 10, draws=3)
    for one, point in zip(found.ellipses, found.map.points, strict=True):
        assert max(one.half_lengths) < 1e-6 and one.centre == pytest.approx(tuple(point), abs=1e-6)


def test_ellipses_are_the_standard_errors_of_known_places():
    # places are means over n inputs; only model 0's vary, by 4 / sqrt(n) across and 1 / sqrt(n) up
    n, random = 400, np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = np.column_stack([9 * np.cos(angles), 6 * np.sin(angles)])
    inputs = np.repeat(np.vstack([[0.0, 0.0], circle])[None], n, axis=0)
    inputs[:, 0] = random.normal(size=(n, 2)) * [4.0, 1.0]
    found = bootstrap_map(lambda rows: squareform(pdist(inputs[rows].mean(axis=0))), n, draws=120, seed=1)
    expected = np.sqrt(-2 * np.log(0.05)) * inputs[:, 0].std(axis=0) / np.sqrt(n) / found.map.unit
    assert found.map.unit == pytest.approx(18)
    assert found.ellipses[0].half_lengths == pytest.approx(tuple(expected), rel=0.25)
    assert abs(found.ellipses[0].angle) < 0.1  # the map has the circle's long side across
    assert max(one.half_lengths[0] for one in found.ellipses[1:]) < expected[0] / 5
    np.testing.assert_allclose(found.ellipses[0].centre, found.map.points[0], atol=0.2 * expected[0])


def test_more_inputs_make_smaller_ellipses_and_the_same_seed_the_same_map():
    base = drawn(160, 4, 0)
    models = [np.tanh(base @ drawn(4, 6, seed)) for seed in range(1, 6)]
    sizes = []
    for n in (20, 160):
        found, again = (bootstrap_map(second_order_distances([x[:n] for x in models], "code"), n, 10) for _ in range(2))
        assert (found.draws == again.draws).all() and found.draws.shape == (10, 5, 2)
        assert found.ellipses == again.ellipses
        sizes.append(np.mean([one.half_lengths for one in found.ellipses]) * found.map.unit)
    assert sizes[1] < sizes[0] / 1.5


@pytest.mark.parametrize("variant", ["code", "text"])
@quick
@given(seed=seeds)
def test_distances_are_those_of_the_drawn_inputs(variant, seed):
    models = [np.maximum(drawn(12, d, seed + d), 0) for d in (1, 2, 5)]  # with all-zero inputs
    rows = np.sort(np.random.default_rng(seed).integers(12, size=12))
    found = second_order_distances(models, variant)(rows)
    np.testing.assert_allclose(found, 1 - similarity_matrix([x[rows] for x in models], variant), atol=2e-6)
    whole = second_order_distances(models, variant, diagonal=False)(np.arange(12))
    np.testing.assert_allclose(whole, 1 - similarity_matrix(models, variant, diagonal=False), atol=2e-6)


def test_without_the_diagonal_copies_are_left_out_too():
    models, rows = [drawn(6, 3, 0), drawn(6, 4, 1)], np.array([0, 0, 0, 2, 3, 3])
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in models]
    total = 0.0
    for i in rows:
        others = [j for j in rows if j != i]
        p, q = (np.array([x[i] @ x[j] for j in others]) for x in unit)
        total += p @ q / np.linalg.norm(p) / np.linalg.norm(q)
    found = second_order_distances(models, "code", diagonal=False)(rows)
    assert found[0, 1] == pytest.approx(1 - total / 6, abs=1e-6) and found[0, 0] == 0
    assert found[0, 1] > second_order_distances(models, "code")(rows)[0, 1]  # copies make models alike


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="at least 1 input and 3 draws, got 5 and 2"):
        bootstrap_map(lambda rows: np.zeros((2, 2)), 5, draws=2)
    with pytest.raises(InputError, match="must hold the same models, got 3 and 4"):
        align_map(drawn(3, 2, 0), drawn(4, 2, 0))
    with pytest.raises(InputError, match="model 1 has 6, not 5"):
        second_order_distances([drawn(5, 2, 0), drawn(6, 2, 0)], "code")


def test_turning_moves_everything_together() -> None:
    """Distances between points, draws and the sizes of ellipses stay; the points lie as near as they can."""
    random = np.random.default_rng(3)
    base = random.normal(size=(40, 6))
    models = [base @ random.normal(size=(6, 5)) for _ in range(5)]
    made = bootstrap_map(second_order_distances(models, "code"), 40, draws=4, seed=1)
    spin = np.array([[0.6, -0.8], [-0.8, -0.6]])  # a mirror image, too
    reference = made.map.points @ spin + np.array([3.0, -2.0])
    turned = turn_map(made, reference)
    np.testing.assert_allclose(turned.map.points, reference, atol=1e-9)
    centre = made.map.points.mean(axis=0)
    np.testing.assert_allclose(turned.draws, (made.draws - centre) @ spin + reference.mean(axis=0), atol=1e-6)
    for one, other in zip(turned.ellipses, made.ellipses, strict=True):
        np.testing.assert_allclose(one.half_lengths, other.half_lengths, rtol=1e-6)
    assert (turned.map.stress, turned.map.unit) == (made.map.stress, made.map.unit)
