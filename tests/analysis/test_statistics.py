import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from distillbias.analysis.statistics import Summary, paired_difference, sign_flip_p_value, summary
from distillbias.errors import InputError

quick = settings(derandomize=True, deadline=None, max_examples=40)


def test_summary_by_hand():  # mean 2, squared deviations 1 + 0 + 1 over 2; t_{0.975, 2} = 4.302653
    found = summary([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.sd) == (3, 2, 1)
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


@quick
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9, unique=True))
def test_interval_matches_scipy(values):
    found = summary(np.array(values))
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=1e-9)


def test_one_trial_has_no_spread_and_equal_trials_have_none():
    one = summary([0.5])
    assert one.n == 1 and one.mean == 0.5 and np.isnan([one.sd, one.low, one.high]).all()
    assert summary([0.5, 0.5]) == Summary(2, 0.5, 0.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Summary(4, 0.9423, 0.0061, 0.0, 1.0), "0.942 ± 0.006 (sd, n=4)"),
        (Summary(4, 57.5, 0.1199, 0.0, 1.0), "57.500 ± 0.120 (sd, n=4)"),
        (Summary(4, 0.9417, 0.00021, 0.0, 1.0), "0.9417 ± 0.0002 (sd, n=4)"),
        (Summary(3, 1.0, 0.0, 1.0, 1.0), "1.000 ± 0.000 (sd, n=3)"),
        (Summary(1, 0.5, float("nan"), float("nan"), float("nan")), "0.500 (no sd, n=1)"),
    ],
)
def test_summary_prints(found, text):
    assert str(found) == text


@pytest.mark.parametrize("n", [2, 4, 7])
@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_paired_difference_matches_scipy(n, shift):
    random = np.random.default_rng(n)
    b = random.normal(size=n)
    a = b + shift + random.normal(size=n)
    found = paired_difference(a, b)
    interval = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval))
    exact = scipy.stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert found.p_value == pytest.approx(exact.pvalue)


@pytest.mark.parametrize(("n", "least"), [(1, 1.0), (4, 0.125), (5, 0.0625), (6, 0.03125)])
def test_least_p_value(n, least):
    assert paired_difference(np.arange(n) + 1.0, np.zeros(n)).p_value == least


@quick
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_p_value_survives_ties_scale_and_sign(numbers):
    whole = np.array(numbers, float)  # sums of whole numbers are exact
    p = sign_flip_p_value(whole)
    assert 2 / 2 ** len(numbers) <= p <= 1
    assert sign_flip_p_value(whole * 0.1) == p == sign_flip_p_value(-whole)  # tenths round, ties must still tie


def test_no_difference_is_no_evidence():
    found = paired_difference([1.0, 2.0], [1.0, 2.0])
    assert found.p_value == 1 and found.difference == Summary(2, 0.0, 0.0, 0.0, 0.0)


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="value 1 is nan"):
        summary([0.5, float("nan")])
    with pytest.raises(InputError, match="at least one value"):
        summary([])
    with pytest.raises(InputError, match="got 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="at most 20 pairs, got 21"):
        sign_flip_p_value([1.0] * 21)
