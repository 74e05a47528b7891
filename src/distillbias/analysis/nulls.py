"""What would a measure of two models say if their inputs had nothing to do with each other? A permutation null.

A similarity of 0.4 means little by itself: many measures are above 0 for unrelated models, the more so the wider the
activations and the fewer the inputs. Pairing each row of one model with the row of a random other input keeps all
that each model has by itself and breaks only the correspondence.
"""

from dataclasses import dataclass

import numpy as np

from distillbias.analysis.representation import Measure, Pairwise
from distillbias.analysis.similarity import Activations, check
from distillbias.errors import InputError

NAN = float("nan")
ROUNDING = 1e-12  # a null value this little below the observed one counts as reaching it


@dataclass(frozen=True)
class Null:
    """A measured value beside the same measure with the inputs of one model permuted.

    All but `draws` are nan where the measure is; `z` is nan too where the null does not vary.
    """

    observed: float
    mean: float  # of the null
    sd: float  # of the null, with draws - 1
    upper: float  # 95th percentile of the null
    z: float  # (observed - mean) / sd
    p: float  # one-sided, in [1 / (1 + draws), 1]; low: more alike than unrelated inputs
    draws: int


def permutation_null(measure: Measure, a: Activations, b: Activations, draws: int = 200, seed: int = 0) -> Null:
    """`measure(a, b)` against `draws` values of `measure(a, b with its rows permuted)`.

    `a`, `b` are `[n, d_a]`, `[n, d_b]` of the same n inputs. `p = (1 + number of null values >= observed) / (1 +
    draws)`, which never is 0 and is valid with random permutations (Phipson & Smyth 2010). The same seed and n give
    the same permutations for every measure. At least 2 draws.
    """
    check([a, b], "text")
    if draws < 2:
        raise InputError(f"a permutation null needs at least 2 draws, got {draws}")
    observed = measure(a, b)
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(b)) for _ in range(draws)]
    if isinstance(measure, Pairwise):  # the tables are made once
        left, right = measure.table(a), measure.table(b)
        null = np.array([measure.compare(left, right[np.ix_(order, order)]) for order in orders])
    else:
        null = np.array([measure(a, b[order]) for order in orders])
    if np.isnan(observed) or np.isnan(null).any():
        return Null(NAN, NAN, NAN, NAN, NAN, NAN, draws)
    mean, sd = float(null.mean()), float(null.std(ddof=1))
    z = (observed - mean) / sd if sd > ROUNDING else NAN
    p = (1 + int((null >= observed - ROUNDING).sum())) / (1 + draws)
    return Null(observed, mean, sd, float(np.quantile(null, 0.95)), z, p, draws)
