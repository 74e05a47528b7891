import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold import MDS, smacof

from distillbias.analysis.maps import EPS, STEPS, descend, embed, orient, stress
from distillbias.errors import InputError


def between(points):
    return squareform(pdist(points))


def drawn(m, d, seed):
    return np.random.default_rng(seed).normal(size=(m, d))


def test_a_rectangle_embeds_exactly():  # sides 3 and 4, diagonal 5: the unit
    rectangle = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]])
    drawn_map = embed(between(rectangle), seed=0)
    assert drawn_map.stress < 1e-6 and drawn_map.unit == 5
    np.testing.assert_allclose(between(drawn_map.points) * 5, between(rectangle), atol=1e-6)
    np.testing.assert_allclose(np.abs(drawn_map.points), [[0.4, 0.3]] * 4, atol=1e-6)  # centred, long side across


def test_stress_by_hand():  # on a line at 0, 1, 3: d = 1, 3, 2; wanted 1, 2, 2: misfit 1, size 1 + 9 + 4
    points = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    wanted = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
    assert stress(wanted, points) == pytest.approx(np.sqrt(1 / 14))
    assert stress(wanted, 0 * points) == np.inf and stress(0 * wanted, 0 * points) == 0


def test_four_equidistant_points_have_the_known_least_stress():
    # a square of side s and diagonal r = s sqrt 2 for four distances 1: least (4 (s-1)^2 + 2 (r-1)^2) at
    # s = (4 + 2 sqrt 2) / 8; a square is the best plane figure for a tetrahedron
    side = (4 + 2 * np.sqrt(2)) / 8
    diagonal = side * np.sqrt(2)
    misfit, size = 4 * (side - 1) ** 2 + 2 * (diagonal - 1) ** 2, 4 * side**2 + 2 * diagonal**2
    assert embed(1.0 - np.eye(4), seed=0).stress == pytest.approx(np.sqrt(misfit / size), abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_worse_than_scikit_learn_and_its_stress_agrees(seed):
    distances = between(drawn(12, 6, seed))
    distances /= distances.max()
    theirs = MDS(
        n_components=2,
        metric_mds=True,
        n_init=4,
        init="random",
        max_iter=300,
        eps=1e-6,
        random_state=seed,
        metric="precomputed",
        normalized_stress=True,
    ).fit(distances)
    assert stress(distances, theirs.embedding_) == pytest.approx(theirs.stress_, rel=1e-9)
    assert embed(distances, seed).stress <= theirs.stress_ + 1e-4


@pytest.mark.parametrize("m", [2, 3, 9, 30])
def test_descents_are_scikit_learns(m):
    """From each start, towards each its own distances, in units of the largest; some end before others."""
    distances = np.stack([between(drawn(m, d, d)) for d in (1, 2, 5, 20)])
    distances /= np.maximum(distances.max(axis=(1, 2), keepdims=True), 1e-9)
    starts = np.random.default_rng(m).uniform(size=(4, m, 2))
    if m > 2:
        starts[3, 0] = starts[3, -1]  # two in one place
    found = descend(distances, starts)
    for one, start, points in zip(distances, starts, found, strict=True):
        theirs, _ = smacof(one, init=start, n_init=1, max_iter=STEPS, eps=EPS, normalized_stress=False)
        np.testing.assert_allclose(points, theirs, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(descend(distances[2:3], starts[2:3])[0], found[2])


@settings(derandomize=True, deadline=None, max_examples=5)
@given(seed=st.integers(0, 999))
def test_the_same_call_gives_the_same_points(seed):
    distances = between(drawn(7, 5, seed))
    first, again = embed(distances, seed), embed(distances, seed)
    assert (first.points == again.points).all() and first.stress == again.stress
    np.testing.assert_allclose(first.points.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(embed(3 * distances, seed).points, first.points, atol=1e-6)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(seed=st.integers(0, 999), angle=st.floats(0, 7), flip=st.sampled_from([-1.0, 1.0]))
def test_orientation_forgets_rotation_reflection_and_place(seed, angle, flip):
    points = drawn(6, 2, seed) * [3.0, 1.0]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [flip * np.sin(angle), flip * np.cos(angle)]])
    np.testing.assert_allclose(orient(points @ turn + 5.0), orient(points), atol=1e-9)


@pytest.mark.parametrize("m", [1, 3])
def test_models_that_do_not_differ_share_a_point(m):
    drawn_map = embed(np.zeros((m, m)), seed=0)
    assert (drawn_map.points == np.zeros((m, 2))).all() and drawn_map.stress == 0 and drawn_map.unit == 0


def test_two_models_are_one_unit_apart():
    drawn_map = embed(np.array([[0.0, 0.2], [0.2, 0.0]]), seed=0)
    np.testing.assert_allclose(drawn_map.points, [[0.5, 0], [-0.5, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        ([[0.0, -1.0], [-1.0, 0.0]], "not negative, the lowest is -1.0"),
        ([[0.0, np.nan], [np.nan, 0.0]], "must be finite"),
        ([[0.5, 1.0], [1.0, 0.0]], "to itself must be 0, got 0.5"),
        ([[0.0, 1.0], [2.0, 0.0]], "two directions differ by 1"),
    ],
)
def test_wrong_input_is_refused(distances, message):
    with pytest.raises(InputError, match=message):
        embed(np.array(distances), seed=0)
