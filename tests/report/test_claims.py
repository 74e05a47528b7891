"""The rule that judges claims: its tests against SciPy, its verdicts by hand, and what must never change them."""

from itertools import combinations
from math import exp, inf, isnan, log, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from distillbias.errors import InputError
from distillbias.report.claims import claims, parts_table, verdicts_table
from distillbias.report.claims_judge import Claim, Part, Spread, judge, weigh
from distillbias.report.claims_values import jackknife
from distillbias.report.tables import to_csv, to_latex, to_markdown


def part(values, above: float = 0.0, below: float = inf) -> Part:
    found = values if isinstance(values, Spread) else dict(enumerate(values))
    return Part("q", lambda _: found, above, below)


def claim(*parts: Part, name: str = "C1") -> Claim:
    return Claim(name, "it is so", "✓", parts)


def verdict(*parts: Part) -> str:
    return judge(None, [claim(*parts)])[0].verdict


VALUES = [0.3, 0.05, 0.25, 0.4]
CLEAR, NOTHING = [1.0, 1.01, 0.99, 1.02], [1.0, -1.1, 0.9, -0.8]
AGAINST = [-value for value in CLEAR]


def test_p_values_and_interval_are_those_of_the_t_test() -> None:
    tested = weigh(part(VALUES), dict(enumerate(VALUES)))
    greater, less = (stats.ttest_1samp(VALUES, 0, alternative=side) for side in ("greater", "less"))
    assert tested.between == pytest.approx(greater.pvalue) and tested.outside == pytest.approx(less.pvalue)
    ends = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert (tested.low, tested.high) == pytest.approx((ends.low, ends.high))
    assert tested.p_value == pytest.approx(stats.ttest_1samp(VALUES, 0).pvalue)
    assert tested.mean == pytest.approx(0.25) and tested.sign_flip == 2 / 2**4 and tested.n == 4


def test_an_equivalence_is_two_one_sided_tests() -> None:
    tested = weigh(part(VALUES, -0.5, 0.6), dict(enumerate(VALUES)))
    above = stats.ttest_1samp(VALUES, -0.5, alternative="greater").pvalue
    below = stats.ttest_1samp(VALUES, 0.6, alternative="less").pvalue
    assert tested.between == pytest.approx(max(above, below))
    beyond = stats.ttest_1samp(VALUES, 0.6, alternative="greater").pvalue
    assert tested.outside == pytest.approx(min(1, 2 * min(beyond, 1 - above)))


def test_spreads_are_compared_by_the_f_test() -> None:
    wide, narrow = {0: 1.0, 1: 5.0, 2: 9.0, 3: 2.0}, {0: 1.0, 1: 1.5, 2: 1.2, 3: 0.9, 4: 1.1}
    tested = weigh(part([]), Spread(wide, narrow))
    variances = [np.var(list(each.values()), ddof=1) for each in (wide, narrow)]
    ratio = variances[0] / variances[1]
    assert tested.between == pytest.approx(stats.f(3, 4).sf(ratio)) and tested.n == 4
    assert tested.between + tested.outside == pytest.approx(1)
    assert tested.mean == pytest.approx(log(ratio) / 2)
    # the variance ratio's textbook interval: divide by the quantiles
    ends = [ratio / stats.f(3, 4).ppf(q) for q in (0.975, 0.025)]
    assert [exp(2 * end) for end in (tested.low, tested.high)] == pytest.approx(ends)


def test_an_arm_without_spread_has_no_ratio_and_never_decides() -> None:
    same, other = dict.fromkeys(range(4), 1.0), dict(enumerate(VALUES))
    for pair in (Spread(same, other), Spread(other, same)):
        assert isnan(weigh(part([]), pair).mean) and verdict(part(pair)) == "too few trials"


def test_equal_values_are_judged_by_the_sign_flip() -> None:
    """No t-test knows how sure equal values are; 4 of them are as sure as 4 signs."""
    tested = weigh(part([]), dict.fromkeys(range(4), 0.25))
    assert tested.between == 1 / 2**4 and isnan(tested.low)
    assert verdict(part([0.25] * 4)) == "too few trials" and verdict(part([0.25] * 8)) == "supported"
    assert weigh(part([]), dict.fromkeys(range(4), 0.0)).p_value == 1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([CLEAR], "supported"),
        ([AGAINST], "contradicted"),
        ([NOTHING], "too few trials"),
        ([CLEAR, CLEAR], "supported"),
        ([CLEAR, NOTHING], "too few trials"),
        ([CLEAR, AGAINST], "contradicted"),
        ([CLEAR[:2]], "too few trials"),
        ([AGAINST[:1]], "too few trials"),
        ([CLEAR, AGAINST[:2]], "too few trials"),
        ([CLEAR, [nan, *AGAINST[:2]]], "too few trials"),
        ([CLEAR, []], "supported"),
        ([[], []], "not run"),
        ([[nan, nan, nan]], "not run"),
    ],
)
def test_verdicts(parts, expected: str) -> None:
    assert verdict(*map(part, parts)) == expected


def test_bounds_decide_as_zero_does() -> None:
    assert verdict(part(CLEAR, 0.5, 1.5)) == "supported"
    assert verdict(part(CLEAR, -0.5, 0.5)) == verdict(part(CLEAR, 2.0)) == "contradicted"
    assert verdict(part(CLEAR, -inf, 0.5)) == "contradicted" and verdict(part(AGAINST, -inf, 0.5)) == "supported"
    assert part(CLEAR, -0.5, 0.5).title == "q, between −0.5 and 0.5" and part(CLEAR, -inf, 0.5).title == "q, below 0.5"


def test_p_values_are_adjusted_over_all_claims() -> None:
    """p = .042 of one claim is below .05; beside a second that is as good neither is."""
    alone, beside = claim(part(VALUES)), claim(part([v + 1e-6 * i for i, v in enumerate(VALUES)]), name="C2")
    assert judge(None, [alone])[0].verdict == "supported"
    assert judge(None, [alone])[0].p_value == pytest.approx(stats.ttest_1samp(VALUES, 0).pvalue)
    both = judge(None, [alone, beside])
    assert [each.verdict for each in both] == ["too few trials"] * 2
    assert both[0].p_value == pytest.approx(2 * stats.ttest_1samp(VALUES, 0).pvalue, rel=1e-4)
    # a claim that could not be tested asks no question
    assert judge(None, [alone, claim(part([]), name="C2"), claim(part(CLEAR[:2]), name="C3")])[0].verdict == "supported"


def test_one_part_outside_is_enough_but_pays_for_all_that_were_looked_at() -> None:
    found = judge(None, [claim(part(CLEAR), part([-v for v in VALUES]), part(CLEAR))])[0]
    one = stats.ttest_1samp(VALUES, 0, alternative="greater").pvalue
    assert found.p_value == pytest.approx(2 * 3 * one) and found.verdict == "too few trials"
    assert found.weakest is found.tested[1]


numbers = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=3, max_size=6)


@settings(max_examples=40)
@given(st.lists(numbers, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_no_order_of_trials_changes_anything(parts, shuffle) -> None:
    shuffled = []
    for values in parts:
        items = list(enumerate(values))
        shuffle.shuffle(items)
        shuffled.append(Part("q", lambda _, items=items: dict(items)))
    first, other = judge(None, [claim(*map(part, parts))])[0], judge(None, [claim(*shuffled)])[0]
    assert first.verdict == other.verdict and first.p_value == other.p_value


@settings(max_examples=40)
@given(numbers)
def test_for_and_against_mirror(values) -> None:
    ours, theirs = (judge(None, [claim(part(each))])[0] for each in (values, [-value for value in values]))
    mirror = {"supported": "contradicted", "contradicted": "supported"}
    assert theirs.verdict == mirror.get(ours.verdict, ours.verdict) and theirs.p_value == pytest.approx(ours.p_value)


def test_jackknife_values_are_those_of_leaving_out_each_trial() -> None:
    random = np.random.default_rng(1)
    for n in (3, 4, 7):
        pairs = {pair: float(random.normal()) for pair in combinations(range(2, n + 2), 2)}
        whole = np.mean(list(pairs.values()))
        for trial, value in jackknife(pairs).items():
            without = np.mean([each for pair, each in pairs.items() if trial not in pair])
            assert value == pytest.approx(n * whole - (n - 1) * without)
        assert np.mean(list(jackknife(pairs).values())) == pytest.approx(whole)
    assert jackknife({}) == {} and jackknife({(0, 3): 0.5}) == {0: 0.5, 3: 0.5}
    assert all(map(isnan, jackknife({(0, 1): 0.5, (1, 2): 0.25}).values()))


def test_jackknife_intervals_hold_what_they_promise() -> None:
    """Of values that trials cause, `h(i, j) = x_i + x_j`, an interval of 95 % must hold 0 some 95 % of the time."""
    random, held = np.random.default_rng(0), 0
    for _ in range(400):
        x = random.normal(size=4)
        tested = weigh(part([]), jackknife({(i, j): float(x[i] + x[j]) for i, j in combinations(range(4), 2)}))
        held += tested.low < 0 < tested.high
    assert 0.92 < held / 400 < 0.98


def test_tables_say_what_was_found() -> None:
    found = judge(
        None,
        [
            claim(part(CLEAR), part([], 0.1), name="C1"),
            claim(part([]), name="C2"),
            claim(part(AGAINST, -0.5, 0.5), name="C3"),
            claim(part([0.5, 0.25]), name="C4"),
        ],
    )
    table = verdicts_table(found)
    cells = [dict(zip(table.columns, each, strict=True)) for each in table.cells]
    rows = dict(zip([name.split()[0] for name in table.rows], cells, strict=True))
    assert [row["verdict"] for row in rows.values()] == ["supported", "not run", "contradicted", "too few trials"]
    assert [row["parts"] for row in rows.values()] == ["1 of 2", "0 of 1", "1", "1"]
    assert [row["n"] for row in rows.values()] == [4, None, 4, 2]
    assert rows["C3"]["estimate [95 %], weakest part"].startswith("−1.0050 [−1.0255, −0.9845]")
    assert rows["C4"]["p (Holm)"] is None and rows["C1"]["in the paper"] == "✓"
    parts = parts_table(found)
    assert parts.rows[:2] == ("C1 q", "C1 q, above 0.1") and parts.cells[1][0] == "not run"
    assert parts.cells[0][1] == 4 and parts.cells[0][4] == 0.125
    for each in (table, parts):
        assert "supported" in to_csv(table) and "C3" in to_markdown(each) and "C4" in to_latex(each)


def test_every_study_of_the_paper_has_claims_and_others_have_none() -> None:
    found = {study: claims(study) for study in ("vision", "agreement", "agreement-lm")}
    assert claims("transfer-vision") == found["vision"]
    numbers = {int(each.name[1:].rstrip("abc")) for entries in found.values() for each in entries}
    assert numbers == set(range(1, 36))
    for entries in found.values():
        names = [each.name for each in entries]
        assert len(set(names)) == len(names) and all(each.parts and each.paper for each in entries)
        assert all(len({p.title for p in each.parts}) == len(each.parts) for each in entries)
    with pytest.raises(InputError, match="no claims for the study 'birds'; there are for vision, agreement"):
        claims("birds")
