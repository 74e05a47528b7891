"""No number without its n and its spread: summaries over trials, and paired differences between two conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import copysign, floor, inf, isnan, log10, nan

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln, nctdtrinc, stdtr, stdtrit

from distillbias.errors import InputError

Values = Sequence[float] | Float[np.ndarray, " _n"]
CONFIDENCE = 0.95
POWER = 0.8  # the usual choice of Cohen 1988
ROUNDING = 1e-9  # relative; closer numbers count as equal
LARGEST_EXACT = 20  # pairs; 2**20 sign patterns are 8 MiB


@dataclass(frozen=True)
class Summary:
    """Mean of n trials, sample standard deviation (ddof 1), and the 95 % t-interval of the mean.

    With one trial there is no spread: `sd`, `low` and `high` are nan. Prints as `0.942 ± 0.006 (sd, n=4)`, with more
    than three decimals only where the deviation would show as 0.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float

    def __str__(self) -> str:
        if isnan(self.sd):
            return f"{self.mean:.3f} (no sd, n={self.n})"
        decimals = 3 if self.sd == 0 else max(3, -floor(log10(self.sd)))
        return f"{self.mean:.{decimals}f} ± {self.sd:.{decimals}f} (sd, n={self.n})"


def summary(values: Values) -> Summary:
    """Mean, sample standard deviation and `mean ± t_{0.975, n-1} sd / sqrt(n)`.

    Assumes trials that are independent and about normal. A value that is not finite is an error: a missing or failed
    run must stay visible, never make a smaller n.
    """
    numbers = finite(values)
    n, mean = len(numbers), float(numbers.mean())
    if n == 1:
        return Summary(n, mean, float("nan"), float("nan"), float("nan"))
    sd = float(numbers.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / n**0.5
    return Summary(n, mean, sd, mean - half, mean + half)


@dataclass(frozen=True)
class PairedDifference:
    """`difference` summarises a - b over pairs; `p_value` is that of the exact sign-flip test, in (0, 1]."""

    difference: Summary
    p_value: float


def paired_difference(a: Values, b: Values) -> PairedDifference:
    """a - b of trials that share their seeds: summary with t-interval, and an exact two-sided sign-flip p-value.

    Without an effect each difference is as likely positive as negative; p is the share of all 2^n sign patterns
    whose mean is at least as far from 0 as the observed one. It can be no smaller than 2 / 2^n: with n = 4 trials the
    minimum is 0.125, so 4 trials can never reach 0.05 by this test (6 can: 0.031). Source: Fisher 1935, section 21.
    """
    differences = paired(a, b)
    return PairedDifference(summary(differences), sign_flip_p_value(differences))


def sign_flip_p_value(differences: Values) -> float:
    """Share of the 2^n sign patterns with `|sum|` at least the observed one; sums within 1e-12 count as equal."""
    numbers = finite(differences)
    if len(numbers) > LARGEST_EXACT:
        raise InputError(f"the exact test takes at most {LARGEST_EXACT} pairs, got {len(numbers)}")
    sums = np.zeros(1)
    for number in numbers:
        sums = np.concatenate([sums + number, sums - number])
    slack = 1e-12 * np.abs(numbers).sum()
    return float((np.abs(sums) >= abs(numbers.sum()) - slack).mean())


def paired_t_p_value(differences: Values) -> float:
    """Two-sided p of the paired t-test, `t = mean / (sd / sqrt(n))` with n - 1 degrees of freedom. In [0, 1].

    Assumes independent trials with about normal differences, which few trials cannot show: the sign-flip test assumes
    less. nan with one trial. If all differences are equal the limit of t decides: p is 1 if they are 0, else 0, which
    tells of the grain of the metric rather than of certainty. Equal means: within 1e-9 of the largest.
    """
    numbers = finite(differences)
    n, mean, sd = len(numbers), float(numbers.mean()), deviation(numbers)
    if n == 1:
        return nan
    return float(2 * stdtr(n - 1, -abs(over(mean, sd)) * n**0.5))


def effect_size(a: Values, b: Values) -> float:
    """Paired effect size: mean of a - b over the sd of a - b (Cohen's d_z), with Hedges' correction. In [-inf, inf].

    d_z of few trials is too large on average; `J = gamma(m / 2) / (sqrt(m / 2) gamma((m - 1) / 2))`, m = n - 1, takes
    that away (n = 4: J = 0.724). J is 0 at n = 2, where d_z has no mean: nan below 3 trials. If all differences are
    equal (within 1e-9 of the largest): 0 if they are 0, else infinite with their sign. Source: Hedges 1981, equation
    6e; Cohen 1988, section 2.3.
    """
    differences = paired(a, b)
    df = len(differences) - 1
    if df < 2:
        return nan
    correction = float(np.exp(gammaln(df / 2) - gammaln((df - 1) / 2))) / (df / 2) ** 0.5
    return correction * over(float(differences.mean()), deviation(differences))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values adjusted for asking several questions: reject where at most the level, and the chance of any false
    rejection is at most the level, however the tests depend on each other. Same keys, same order.

    The i-th smallest of m is multiplied by m - i + 1, then each is raised to the one before it, and cut at 1. Source:
    Holm 1979.
    """
    wrong = {name: p for name, p in p_values.items() if not 0 <= p <= 1}
    if wrong:
        name = next(iter(wrong))
        raise InputError(f"p-values must lie in 0..1, that of {name!r} is {wrong[name]}")
    adjusted, least = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = least
    return {name: adjusted[name] for name in p_values}


@dataclass(frozen=True)
class Resolution:
    """What n pairs of trials can tell at best.

    `least_p_value`: the smallest two-sided p of the sign-flip test, `2 / 2^n`. `least_effect`: the smallest true d_z
    (mean difference over sd of differences, uncorrected) that a two-sided paired t-test at level 0.05 finds with
    chance 0.8; nan with one pair.
    """

    n: int
    least_p_value: float
    least_effect: float


def resolution(n: int) -> Resolution:
    """What n pairs can tell, before any result is seen: 4 pairs find d_z from 2.13 on, 34 from 0.5 on.

    Power is the chance that t lies above its critical value, t noncentral with n - 1 degrees of freedom and
    noncentrality `d_z sqrt(n)`; a find in the wrong direction does not count. Source: Cohen 1988, chapter 2.
    """
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    if n == 1:
        return Resolution(n, 1.0, nan)
    noncentrality = nctdtrinc(n - 1, 1 - POWER, stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    return Resolution(n, 2.0 ** (1 - n), float(noncentrality) / n**0.5)


def paired(a: Values, b: Values) -> Float[np.ndarray, " n"]:
    """a - b, finite and of equal length."""
    one, other = finite(a), finite(b)
    if len(one) != len(other):
        raise InputError(f"pairs need as many values on both sides, got {len(one)} and {len(other)}")
    return one - other


def deviation(numbers: Float[np.ndarray, " n"]) -> float:
    """Sample standard deviation; exactly 0 where the numbers differ by rounding only, nan for a single one."""
    if len(numbers) == 1:
        return nan
    return 0.0 if np.ptp(numbers) <= ROUNDING * np.abs(numbers).max() else float(numbers.std(ddof=1))


def over(mean: float, sd: float) -> float:
    """mean / sd, where sd may be 0: then infinite with the sign of the mean, and 0 for a mean of 0."""
    if sd == 0:
        return copysign(inf, mean) if mean else 0.0
    return mean / sd


def finite(values: Values) -> Float[np.ndarray, " n"]:
    numbers = np.asarray(values, np.float64)
    if len(numbers) == 0:
        raise InputError("statistics need at least one value, got none")
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise InputError(f"values must be finite, value {wrong[0]} is {numbers[wrong[0]]}")
    return numbers
