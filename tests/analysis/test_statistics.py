import itertools

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distillbias.analysis.statistics import (
    Summary,
    effect_size,
    holm,
    paired_difference,
    paired_t_p_value,
    resolution,
    sign_flip_p_value,
    summary,
)
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


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 3 x .01, 1 x .04 raised to .06, 2 x .03, 4 x .005
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.3], [0.3]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values, adjusted):
    names = [f"q{i}" for i in range(len(p_values))]
    found = holm(dict(zip(names, p_values, strict=True)))
    assert list(found) == names and list(found.values()) == pytest.approx(adjusted)


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_is_bonferroni_closed(p_values):  # a question is settled once each family that holds it is
    found = holm({str(i): p for i, p in enumerate(p_values)})
    for i in range(len(p_values)):
        families = [s for k in range(1, 6) for s in itertools.combinations(range(len(p_values)), k) if i in s]
        worst = max(min(1, len(family) * min(p_values[j] for j in family)) for family in families)
        assert found[str(i)] == pytest.approx(worst)


@quick
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9, unique=True))
def test_paired_t_matches_scipy(values):
    assume(np.ptp(values) > 1e-3)
    assert paired_t_p_value(np.array(values)) == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=1e-12)


def test_equal_differences_have_their_rule():
    assert paired_t_p_value([0.0, 0.0]) == 1 and effect_size([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 0
    assert paired_t_p_value([0.1 + 0.2, 0.3, 0.3]) == 0  # equal but for rounding
    assert effect_size([1.3, 2.3, 3.3], [1.0, 2.0, 3.0]) == np.inf
    assert effect_size([1.0, 2.0, 3.0], [1.3, 2.3, 3.3]) == -np.inf
    assert np.isnan([paired_t_p_value([0.5]), effect_size([1.0], [0.0]), effect_size([1.0, 2.0], [0.0, 0.0])]).all()


def test_effect_size_by_hand():  # differences 1, 2, 3: d_z = 2, and J of 2 degrees of freedom is 1 / sqrt(pi)
    assert effect_size([2.0, 2.0, 5.0], [1.0, 0.0, 2.0]) == pytest.approx(2 / np.pi**0.5)
    many = np.arange(400.0)  # J nears 1 - 3 / (4 m - 1)
    plain = many.mean() / many.std(ddof=1)
    assert effect_size(many, np.zeros(400)) == pytest.approx(plain * (1 - 3 / (4 * 399 - 1)), rel=1e-5)


def test_corrected_effect_size_is_right_on_average():  # without Hedges' correction it would be 1.25
    differences = np.random.default_rng(1).normal(1, 1, size=(1500, 5))
    found = np.mean([effect_size(row, np.zeros(5)) for row in differences])
    assert found == pytest.approx(1, abs=0.07)


@pytest.mark.parametrize("n", [2, 3, 4, 6, 10, 50])
def test_resolution_has_the_power_it_says(n):
    found = resolution(n)
    critical = scipy.stats.t.ppf(0.975, n - 1)

    def above(chi2):  # P(Z + d sqrt(n) > critical sqrt(chi2 / df)), Z normal
        z = critical * (chi2 / (n - 1)) ** 0.5 - found.least_effect * n**0.5
        return scipy.stats.chi2.pdf(chi2, n - 1) * scipy.stats.norm.sf(z)

    ends = scipy.stats.chi2.ppf([1e-13, 1 - 1e-13], n - 1)
    assert scipy.integrate.quad(above, *ends, limit=200)[0] == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_resolution_matches_tables(effect, n):  # pairs needed for power .8 at two-sided .05: G*Power 3, Cohen 1988
    assert resolution(n).least_effect <= effect < resolution(n - 1).least_effect


def test_resolution_of_four_pairs_by_simulation_and_of_one():
    found = resolution(4)
    assert found.least_p_value == 0.125 and found.least_effect == pytest.approx(2.128, abs=1e-3)
    samples = np.random.default_rng(0).normal(found.least_effect, 1, size=(20_000, 4))
    assert np.mean(scipy.stats.ttest_1samp(samples, 0, axis=1).pvalue <= 0.05) == pytest.approx(0.8, abs=0.01)
    assert resolution(1).least_p_value == 1 and np.isnan(resolution(1).least_effect)


def test_wrong_questions_are_refused():
    with pytest.raises(InputError, match="that of 'b' is 1.5"):
        holm({"a": 0.5, "b": 1.5})
    with pytest.raises(InputError, match="that of 'a' is nan"):
        holm({"a": float("nan")})
    with pytest.raises(InputError, match="got 2 and 1"):
        effect_size([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="at least 1, got 0"):
        resolution(0)
