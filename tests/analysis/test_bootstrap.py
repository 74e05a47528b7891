import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distillbias.analysis.bootstrap import hierarchical_bootstrap
from distillbias.errors import InputError

quick = settings(derandomize=True, deadline=None, max_examples=30)


def test_trials_alone_by_hand():
    """Means 0, 1, 3, 7 and no noise within: of 256 ordered resamples, 1 sums to 0 and 4 to 1, then 6 to 2, so the
    2.5th percentile is 2 / 4; from above 1 sums to 28, 4 to 24, then 4 to 22, so the 97.5th is 22 / 4."""
    found = hierarchical_bootstrap([np.full(5, mean) for mean in (0.0, 1.0, 3.0, 7.0)], draws=20_000)
    assert (found.n, found.estimate) == (4, 2.75)
    assert (found.low, found.high) == (0.5, 5.5)


@pytest.mark.parametrize("values", [[-1.0, 0.0, 0.0, 1.0], list(np.linspace(-2, 5, 150) ** 2)])
def test_examples_alone_match_the_normal_limit(values):  # trials are copies, so only examples vary
    trial = np.tile(values, 10)
    found = hierarchical_bootstrap([trial, trial, trial], draws=5000)
    half = 1.959964 * trial.std() / (3 * len(trial)) ** 0.5
    assert found.estimate == pytest.approx(trial.mean())
    assert found.low == pytest.approx(trial.mean() - half, abs=0.12 * half)
    assert found.high == pytest.approx(trial.mean() + half, abs=0.12 * half)


@pytest.mark.parametrize("decimals", [0, 9])  # few values, and all different
def test_matches_a_literal_loop(decimals):
    random = np.random.default_rng(5)
    trials = [random.normal(mean, 2, size=size).round(decimals) for mean, size in ((0, 80), (1, 120), (0.4, 300))]
    means = []
    for _ in range(1500):
        taken = [trials[i] for i in random.integers(3, size=3)]
        means.append(np.mean([random.choice(trial, len(trial)).mean() for trial in taken]))
    low, high = np.percentile(means, [2.5, 97.5])
    found = hierarchical_bootstrap(trials, draws=5000)
    assert found.estimate == pytest.approx(np.mean([trial.mean() for trial in trials]))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05 * (high - low))


@quick
@given(shift=st.integers(-8, 8), scale=st.integers(1, 5), seed=st.integers(0, 9))
def test_moves_with_the_values(shift, scale, seed):
    random = np.random.default_rng(seed)
    trials = [random.integers(-1, 2, size=size).astype(float) for size in (20, 30, 10)]
    plain = hierarchical_bootstrap(trials, draws=200, seed=seed)
    moved = hierarchical_bootstrap([scale * trial + shift for trial in trials], draws=200, seed=seed)
    for before, after in ((plain.estimate, moved.estimate), (plain.low, moved.low), (plain.high, moved.high)):
        assert after == pytest.approx(scale * before + shift, abs=1e-9)
    assert plain.low <= plain.estimate <= plain.high


def test_trials_count_alike_whatever_their_size():
    assert hierarchical_bootstrap([np.ones(30), np.zeros(1)]).estimate == 0.5


def test_seed_decides():
    trials = [np.arange(9.0), np.arange(100.0) ** 2]
    assert hierarchical_bootstrap(trials, seed=3) == hierarchical_bootstrap(trials, seed=3)
    assert hierarchical_bootstrap(trials, seed=3) != hierarchical_bootstrap(trials, seed=4)


def test_four_trials_are_too_few():
    """The docstring's warning: about 4 of 5 intervals hold the truth, and they are half as wide as those of t."""
    random = np.random.default_rng(0)
    found = [
        hierarchical_bootstrap([row[:1], row[1:2], row[2:3], row[3:]], 400) for row in random.normal(size=(500, 4))
    ]
    assert np.mean([one.low <= 0 <= one.high for one in found]) == pytest.approx(0.8, abs=0.05)
    t_width = 2 * 3.182446 * 0.921318 / 2  # the mean sd of 4 normal values is 0.9213
    assert np.mean([one.high - one.low for one in found]) / t_width == pytest.approx(0.52, abs=0.03)


def test_one_trial_has_no_interval():
    found = hierarchical_bootstrap([np.array([0.0, 1.0])])
    assert (found.n, found.estimate) == (1, 0.5) and np.isnan([found.low, found.high]).all()


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="at least one value"):
        hierarchical_bootstrap([])
    with pytest.raises(InputError, match="at least one value"):
        hierarchical_bootstrap([np.ones(3), np.ones(0)])
    with pytest.raises(InputError, match="value 1 is nan"):
        hierarchical_bootstrap([np.array([0.0, np.nan])])
    with pytest.raises(InputError, match="draws must be at least 1, got 0"):
        hierarchical_bootstrap([np.ones(3)], draws=0)
