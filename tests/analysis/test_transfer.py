import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distillbias.analysis.transfer import transfer
from distillbias.errors import InputError

quick = settings(derandomize=True, deadline=None, max_examples=40)


def drawn(seed, n=4, gap=5.0, share=0.6):
    """Student, teacher, independent: the student takes `share` of the gap, all noisy."""
    random = np.random.default_rng(seed)
    independent = random.normal(size=n)
    teacher = independent + gap + random.normal(size=n)
    return independent + share * gap + random.normal(size=n), teacher, independent


def test_by_hand():  # gains 1, 2 and gaps 2, 6: 3 / 8, not the mean of 1/2 and 1/3
    student, teacher, independent = [2.0, 3.0, 3.0, 4.0], [3.0, 7.0, 4.0, 8.0], [1.0, 1.0, 2.0, 2.0]
    found = transfer(student, teacher, independent, higher_is_better=True)
    assert found.n == 4 and found.undefined == ""
    assert found.per_trial == pytest.approx((1 / 2, 2 / 6, 1 / 2, 2 / 6))
    assert found.coefficient == pytest.approx(6 / 16)
    assert (found.gain.mean, found.gap.mean) == (1.5, 4)


@pytest.mark.parametrize("n", [3, 4, 12])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_limits_are_where_the_paired_t_test_turns(n, seed, higher_is_better):
    student, teacher, independent = drawn(seed, n, gap=9.0 if higher_is_better else -9.0)
    found = transfer(student, teacher, independent, higher_is_better=higher_is_better)
    assert found.undefined == ""

    def excess(rho):
        return scipy.stats.ttest_1samp(student - independent - rho * (teacher - independent), 0).pvalue - 0.05

    def limit(step):
        end = found.coefficient + step
        while excess(end) > 0:
            step *= 1.3
            end = found.coefficient + step
        return scipy.optimize.brentq(excess, found.coefficient, end, xtol=1e-12)

    assert (found.low, found.high) == pytest.approx((limit(-0.01), limit(0.01)), abs=1e-8)
    inside = np.linspace(found.low, found.high, 50)[1:-1]
    assert min(map(excess, inside)) > 0


def test_interval_covers_as_often_as_it_says():
    covered = []
    for seed in range(1200):
        found = transfer(*drawn(seed), higher_is_better=True)
        if not found.undefined:
            covered.append(found.low <= 0.6 <= found.high)
    assert len(covered) > 1150
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@quick
@given(seed=st.integers(0, 200), n=st.integers(2, 6), higher_is_better=st.booleans())
def test_the_teacher_itself_is_1_and_the_independent_model_0(seed, n, higher_is_better):
    _, teacher, independent = drawn(seed, n, gap=40.0 if higher_is_better else -40.0)
    copy = transfer(teacher, teacher, independent, higher_is_better=higher_is_better)
    alone = transfer(independent, teacher, independent, higher_is_better=higher_is_better)
    assume(not copy.undefined)
    assert (copy.coefficient, copy.low, copy.high) == (1, 1, 1) and set(copy.per_trial) == {1}
    assert (alone.coefficient, alone.low, alone.high) == (0, 0, 0) and set(alone.per_trial) == {0}
    assert not np.signbit(alone.coefficient)


@quick
@given(seed=st.integers(0, 200), scale=st.floats(0.01, 100), shift=st.floats(-100, 100), flip=st.booleans())
def test_unit_and_zero_of_the_metric_do_not_matter(seed, scale, shift, flip):
    values = drawn(seed)
    plain = transfer(*values, higher_is_better=True)
    factor = -scale if flip else scale
    moved = transfer(*(factor * one + shift for one in values), higher_is_better=not flip)
    assert moved.undefined == plain.undefined
    assert moved.per_trial == pytest.approx(plain.per_trial, rel=1e-6, nan_ok=True)
    for name in ("coefficient", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), rel=1e-6, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("teacher", "independent", "higher_is_better", "reason"),
    [
        ([0.8, 0.9], [0.9, 0.95], True, "teacher not better"),
        ([0.9, 0.95], [0.8, 0.9], False, "teacher not better"),
        ([0.9, 0.9], [0.9, 0.9], True, "teacher not better"),  # equal
        ([0.9, 0.99], [0.89, 0.5], True, "teacher not better"),  # better on average, interval reaches below 0
        ([0.9], [0.8], True, "too few trials"),
        ([0.8], [0.9], True, "teacher not better"),
    ],
)
def test_no_gap_no_coefficient(teacher, independent, higher_is_better, reason):
    student = [0.7] * len(teacher)
    found = transfer(student, teacher, independent, higher_is_better=higher_is_better)
    assert found.undefined == reason and found.n == len(teacher)
    assert np.isnan([found.coefficient, found.low, found.high]).all()


@pytest.mark.parametrize("seed", range(30))
def test_undefined_where_the_t_test_of_the_gap_says_so(seed):
    student, teacher, independent = drawn(seed, gap=2.0)
    test = scipy.stats.ttest_rel(teacher, independent)
    found = transfer(student, teacher, independent, higher_is_better=True)
    assert (found.undefined == "") == (test.statistic > 0 and test.pvalue < 0.05)


def test_a_trial_without_a_gap_has_no_coefficient_of_its_own():
    teacher, independent = [0.9, 0.92, 0.91, 0.93, 0.5], [0.5] * 5
    found = transfer([0.7] * 5, teacher, independent, higher_is_better=True)
    assert np.isnan(found.per_trial).tolist() == [False] * 4 + [True]
    assert found.coefficient == pytest.approx(1.0 / (0.4 + 0.42 + 0.41 + 0.43))  # its gain still counts
    assert found.low < found.coefficient < found.high


def test_equal_gaps_leave_the_interval_of_the_gain():
    gains = np.array([0.5, 0.25, 0.75, 0.5])
    found = transfer(gains, np.full(4, 2.0), np.zeros(4), higher_is_better=True)
    expected = scipy.stats.ttest_1samp(gains / 2, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="got 1 and 2"):
        transfer([1.0], [1.0, 2.0], [0.0, 0.0], higher_is_better=True)
    with pytest.raises(InputError, match="value 0 is nan"):
        transfer([float("nan")], [1.0], [0.0], higher_is_better=True)
