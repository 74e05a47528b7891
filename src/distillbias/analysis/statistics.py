"""No number without its n and its spread: summaries over trials, and paired differences between two conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isnan, log10

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student_t

from distillbias.errors import InputError

Values = Sequence[float] | Float[np.ndarray, " _n"]
CONFIDENCE = 0.95
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
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / n**0.5
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
    one, other = finite(a), finite(b)
    if len(one) != len(other):
        raise InputError(f"pairs need as many values on both sides, got {len(one)} and {len(other)}")
    differences = one - other
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


def finite(values: Values) -> Float[np.ndarray, " n"]:
    numbers = np.asarray(values, np.float64)
    if len(numbers) == 0:
        raise InputError("statistics need at least one value, got none")
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise InputError(f"values must be finite, value {wrong[0]} is {numbers[wrong[0]]}")
    return numbers
