"""An interval for a difference that varies between trials and between examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float

from distillbias.analysis.statistics import CONFIDENCE, finite
from distillbias.errors import InputError

FEW = 64  # distinct values: up to here, counts of values are drawn faster than examples
CHUNK = 2**18  # examples drawn at once, so that they stay in the cache


@dataclass(frozen=True)
class Bootstrap:
    """Mean over n trials, and the 95 % percentile interval [low, high] of it; nan, nan with one trial."""

    n: int
    estimate: float
    low: float
    high: float


def hierarchical_bootstrap(
    differences: Sequence[Float[np.ndarray, " _n"]], draws: int = 2000, seed: int = 0
) -> Bootstrap:
    """Mean over trials of the mean over examples, with an interval from resampling trials, then examples within each.

    `differences`: one array per trial, one number per example (say right minus right, in -1, 0, 1), of any lengths.
    Each of `draws` resamples takes n trials with replacement and, anew for each one taken, as many of its examples
    with replacement as it has; the interval is the 2.5th to 97.5th percentile of their means. Same seed, same result.

    What it can do: count both sources of noise without assuming a distribution. What it cannot: see more trials than
    there are. With few it is too narrow. The spread between n trials enters with variance (n - 1) / n of what it
    should be, and normal percentiles stand where those of t belong, so when trials dominate the noise of 4 normal
    trials, the "95 %" interval is half as wide as the t-interval and covers the truth about 4 times in 5. Take the
    t-interval of `statistics.summary` for a claim about new trials. Examples are drawn apart for each trial: where
    trials share one test set, that set's own luck is not in the interval. With one trial there is no spread between
    trials, so no interval. Source: Davison & Hinkley 1997, section 3.8; Saravanan, Berman & Sober 2020.
    """
    if draws < 1:
        raise InputError(f"draws must be at least 1, got {draws}")
    trials = [finite(trial) for trial in differences]
    n = len(trials)
    estimate = float(finite([float(trial.mean()) for trial in trials]).mean())
    if n == 1:
        return Bootstrap(n, estimate, nan, nan)
    random = np.random.default_rng(seed)
    taken = random.integers(n, size=(draws, n))
    means = np.empty((draws, n))
    for index, trial in enumerate(trials):
        here = taken == index
        means[here] = resampled_means(trial, int(here.sum()), random)
    low, high = np.quantile(means.mean(axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Bootstrap(n, estimate, float(low), float(high))


def resampled_means(
    values: Float[np.ndarray, " n"], times: int, random: np.random.Generator
) -> Float[np.ndarray, " times"]:
    """Means of `times` resamples of the values with replacement, each as long as the values."""
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= FEW:  # how often each value comes up is multinomial
        return random.multinomial(n, counts / n, size=times) @ distinct / n
    rows = max(1, CHUNK // n)
    sizes = [min(rows, times - start) for start in range(0, times, rows)]
    drawn = [values[random.integers(n, size=(size, n), dtype=np.uint32)].mean(axis=1) for size in sizes]
    return np.concatenate([np.empty(0), *drawn])
