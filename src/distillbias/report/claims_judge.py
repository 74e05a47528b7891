"""What a claim of the paper is, and the rule that judges it: by the numbers of the trials alone.

A claim is a conjunction of parts. A part is a quantity that the claim places between two bounds, most often above 0.

The rule. "not run": no part has a value. "too few trials": a part has fewer than 3 trials. Else each part has a
one-sided p for lying between its bounds and one for lying outside (paired t-test over trials; the F-test for
standard deviations). The claim has two p-values:

    for      the largest p "between" of its parts: all must lie there (intersection-union test, Berger 1982)
    against  the smallest p "outside" times the number of parts: one outside is enough (Bonferroni)

and twice the smaller of the two, at most 1, is its two-sided p: for a claim of one part that of the paired t-test.
These are adjusted after Holm over all claims of the study that can be tested. Below .05 the claim is "supported" or
"contradicted", by the side that is smaller; otherwise it is again "too few trials": these cannot tell. So the chance
of any false verdict in a study is held at .05 (for verdicts on the wrong side if claims are independent: Shaffer
1980). Parts that no trial has a value for are left out and counted.

A bound such as (-m, m) makes a part an equivalence: its p "between" is that of two one-sided tests (Schuirmann 1987).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, isnan, log, nan
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import fdtr, fdtrc, fdtri

from distillbias.analysis.statistics import (
    CONFIDENCE,
    LARGEST_EXACT,
    deviation,
    holm,
    paired_t_p_value,
    sign_flip_p_value,
    summary,
)
from distillbias.report.evidence import Trials

Verdict = Literal["supported", "contradicted", "too few trials", "not run"]
LEVEL = 0.05
FEWEST = 3  # trials that a verdict needs


class Spread(NamedTuple):
    """Two arms by their standard deviations over trials; the quantity is ln(sd of `wide` / sd of `narrow`)."""

    wide: Trials
    narrow: Trials


@dataclass(frozen=True)
class Part:
    """`values` reads the quantity off what `judge` is given; a trial without a value is absent, or nan."""

    text: str
    values: Callable[[Any], Trials | Spread]
    above: float = 0.0
    below: float = inf

    @property
    def title(self) -> str:
        """The text, with the bounds where they are not just "positive"."""
        if (self.above, self.below) == (0.0, inf):
            return self.text
        low, high = (f"{bound:g}".replace("-", "−") for bound in (self.above, self.below))
        if not isfinite(self.below):
            return f"{self.text}, above {low}"
        return f"{self.text}, " + (f"between {low} and {high}" if isfinite(self.above) else f"below {high}")


@dataclass(frozen=True)
class Claim:
    """`paper` tells what the paper's own numbers say of it."""

    name: str  # "C21", as in the list of claims; "C14a" where one has several
    text: str
    paper: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Tested:
    """A part with its mean over `n` trials and 95 % interval, nan without spread; p-values are nan below 3 trials.

    `between` and `outside` are one-sided; `sign_flip` is the exact two-sided one at the nearer bound, nan for spreads.
    """

    part: Part
    n: int
    mean: float = nan
    low: float = nan
    high: float = nan
    between: float = nan
    outside: float = nan
    sign_flip: float = nan

    @property
    def p_value(self) -> float:
        """Two-sided, not adjusted."""
        return two_sided(self.between, self.outside)

    @property
    def doubt(self) -> float:
        """The larger, the less the part speaks for its claim; without a p-value, only on which side it lies."""
        if isnan(self.between):
            return 0.25 if self.part.above < self.mean < self.part.below else 0.75
        return self.between


@dataclass(frozen=True)
class Judged:
    """`p_value` is adjusted over the claims judged together; nan where there was nothing to test."""

    claim: Claim
    tested: tuple[Tested, ...]
    verdict: Verdict
    p_value: float

    @property
    def ran(self) -> tuple[Tested, ...]:
        return tuple(each for each in self.tested if each.n)

    @property
    def weakest(self) -> Tested | None:
        """The part that decides: the one that speaks least for the claim, or most against it."""
        return max(self.ran, key=lambda each: each.doubt, default=None)


def judge(evidence: Any, claims: Sequence[Claim]) -> list[Judged]:
    """The verdict on each claim, by the rule of this module. `evidence` is what the parts read their values off."""
    tested = {claim.name: tuple(weigh(part, part.values(evidence)) for part in claim.parts) for claim in claims}
    sides = {name: both_sides([each for each in parts if each.n]) for name, parts in tested.items()}
    adjusted = holm({name: p for name, both in sides.items() if not isnan(p := two_sided(*both))})
    return [
        Judged(
            claim,
            tested[claim.name],
            verdict(tested[claim.name], *sides[claim.name], adjusted.get(claim.name, nan)),
            adjusted.get(claim.name, nan),
        )
        for claim in claims
    ]


def both_sides(ran: Sequence[Tested]) -> tuple[float, float]:
    """p for and p against the claim that these parts make up; nan where none ran or one has too few trials."""
    if not ran or min(each.n for each in ran) < FEWEST:
        return nan, nan
    against = min(1.0, len(ran) * min(each.outside for each in ran))
    return max(each.between for each in ran), against


def two_sided(between: float, outside: float) -> float:
    return nan if isnan(between) else min(1.0, 2 * min(between, outside))


def verdict(tested: Sequence[Tested], in_favour: float, against: float, adjusted: float) -> Verdict:
    if not any(each.n for each in tested):
        return "not run"
    if isnan(adjusted) or adjusted >= LEVEL:
        return "too few trials"
    return "supported" if in_favour < against else "contradicted"


def weigh(part: Part, found: Trials | Spread) -> Tested:
    """The numbers behind a part. Trials without a finite value are not counted."""
    if isinstance(found, Spread):
        return weigh_spread(part, Spread(*(_defined(each) for each in found)))
    values = np.array(list(_defined(found).values()), np.float64)
    if not len(values):
        return Tested(part, 0)
    whole = summary(values)
    ends = (whole.low, whole.high) if deviation(values) else (nan, nan)
    if whole.n < FEWEST:
        return Tested(part, whole.n, whole.mean, *ends)
    sides = ((part.above, values - part.above), (part.below, part.below - values))
    inward = [side for bound, side in sides if isfinite(bound)]
    p_values = [one_sided(side) for side in inward]
    flips = [sign_flip_p_value(side) if whole.n <= LARGEST_EXACT else nan for side in inward]
    return Tested(
        part,
        whole.n,
        whole.mean,
        *ends,
        max(inside for inside, _ in p_values),
        min(1.0, len(p_values) * min(outside for _, outside in p_values)),
        max(flips),
    )


def one_sided(values: np.ndarray) -> tuple[float, float]:
    """p for a positive and for a negative mean, of at least 2 values.

    Where all values are equal no t-test can say how sure that is: the exact sign-flip p stands in.
    """
    two = paired_t_p_value(values) if deviation(values) else sign_flip_p_value(values)
    return (two / 2, 1 - two / 2) if values.mean() > 0 else (1 - two / 2, two / 2)


def weigh_spread(part: Part, found: Spread) -> Tested:
    """The F-test of two variances, arms taken as independent: F = sd_wide² / sd_narrow², n - 1 degrees of freedom each.

    The interval is that of ln(sd_wide / sd_narrow). An arm without spread has no ratio: nan, and p 1 on both sides.
    """
    counts = [len(each) for each in found]
    if min(counts) < 2:
        return Tested(part, min(counts))
    wide, narrow = (deviation(np.array(list(each.values()), np.float64)) for each in found)
    known = min(counts) >= FEWEST
    if not wide or not narrow:
        return Tested(part, min(counts), between=1.0 if known else nan, outside=1.0 if known else nan)
    ratio, freedom = log(wide / narrow), (counts[0] - 1, counts[1] - 1)
    upper, lower = (log(float(fdtri(*freedom, (1 + sign * CONFIDENCE) / 2))) / 2 for sign in (1, -1))
    tested = Tested(part, min(counts), ratio, ratio - upper, ratio - lower)
    if not known:
        return tested
    statistic = exp(2 * ratio)
    inside, outside = float(fdtrc(*freedom, statistic)), float(fdtr(*freedom, statistic))
    return replace(tested, between=inside, outside=outside)


def _defined(found: Trials) -> Trials:
    """In the order of trials, so that no sum depends on the order in which runs ended."""
    return {trial: found[trial] for trial in sorted(found) if isfinite(found[trial])}
