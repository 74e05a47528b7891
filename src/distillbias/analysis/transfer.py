"""How much of a teacher's lead reaches its student? 0: none, 1: all of it."""

from dataclasses import dataclass
from math import nan
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from distillbias.analysis.statistics import CONFIDENCE, Summary, Values, paired, summary

Trials = Float[np.ndarray, " n"]
Reason = Literal["", "too few trials", "teacher not better"]


@dataclass(frozen=True)
class Transfer:
    """The transfer coefficient of one metric over n trials.

    `coefficient`: mean gain over mean gap, any real number (above 1: the student passed its teacher; below 0: it got
    worse than without one). [low, high]: its 95 % interval. `per_trial`: gain over gap of each trial, nan where that
    trial's teacher was not better. `gain` (student) and `gap` (teacher): the lead over the independent model, in the
    metric's unit, positive is better. `undefined` is "" or says why coefficient, low and high are nan.
    """

    n: int
    coefficient: float
    low: float
    high: float
    per_trial: tuple[float, ...]
    gain: Summary
    gap: Summary
    undefined: Reason


def transfer(student: Values, teacher: Values, independent: Values, *, higher_is_better: bool) -> Transfer:
    """`(student - independent) / (teacher - independent)`, from one value per trial of each, paired by trial.

    `independent` is the student's model, trained without a teacher. The coefficient is the ratio of the means, not the
    mean of the ratios: a trial with a small gap would swamp the others. Its interval is Fieller's, all rho for which
    a paired t-test does not tell mean(gain - rho gap) from 0; it heeds that gain and gap share the independent model,
    and need not be symmetric. It assumes independent trials, gain and gap about jointly normal.

    Nothing is divided by a gap that is not there. "teacher not better": the mean gap is not positive, or its 95 %
    t-interval reaches 0 (Fieller's interval is then unbounded). "too few trials": one trial, gap positive.
    `higher_is_better` is False for losses, perplexity and calibration error. Error: sequences of unequal length,
    values that are not finite. Source: Fieller 1954.
    """
    better = paired if higher_is_better else lambda a, b: paired(b, a)
    gains, gaps = better(student, independent), better(teacher, independent)
    gain, gap = summary(gains), summary(gaps)
    per_trial = tuple(float(ours / theirs) if theirs > 0 else nan for ours, theirs in zip(gains, gaps, strict=True))
    reason = why_undefined(gap)
    coefficient, low, high = (nan, nan, nan) if reason else fieller(gains, gaps, gap)
    return Transfer(gap.n, coefficient, low, high, per_trial, gain, gap, reason)


def why_undefined(gap: Summary) -> Reason:
    if gap.mean <= 0 or gap.low <= 0:  # low is nan with one trial
        return "teacher not better"
    return "too few trials" if gap.n < 2 else ""


def fieller(gains: Trials, gaps: Trials, gap: Summary) -> tuple[float, float, float]:
    """Ratio of the means and its 95 % limits, for a gap whose own interval lies above 0.

    With t the t-quantile and e = gain - ratio gap, whose mean is 0, rho = ratio + d is in the interval if
    `(d mean(gap))^2 <= t^2/n (var(e) - 2 d cov(e, gap) + d^2 var(gap))`: a quadratic in d whose roots are the limits.
    """
    n, ratio = gap.n, float(gains.mean()) / gap.mean
    scale = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) ** 2 / n / (n - 1)
    rest = gains - ratio * gaps
    square = gap.low * gap.high  # mean(gap)^2 - t^2/n var(gap), above 0
    cross, constant = scale * float(rest @ (gaps - gap.mean)), scale * float(rest @ rest)
    root = (cross**2 + square * constant) ** 0.5
    return ratio, ratio + (-cross - root) / square, ratio + (-cross + root) / square
