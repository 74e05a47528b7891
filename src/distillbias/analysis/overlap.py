"""Do two models fail on the same examples? (Figures 10, 11, 12; C32-C34)

Errors are boolean `[n]`: True where a model is wrong, the same n examples for all models. Two models that fail
often share errors by chance alone, so each measure of overlap has its chance level beside it (paper-facts T29).
"Chance" is independence given how many errors each model makes. nan means undefined, and each function says when.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from distillbias.errors import InputError

Errors = Bool[np.ndarray, " _n"]  # the lengths are checked by `check`


def counts(errors: Mapping[str, Errors]) -> dict[tuple[str, ...], int]:
    """How many examples exactly these models get wrong, and all others right; the key () is: none of them.

    For models a, b, c: (a,), (b,), (a, b), (c,), (a, c), (b, c), (a, b, c), (), each name in the order given; the
    seven numbers before () are in the order that `matplotlib_venn.venn3` takes. All eight sum to n.
    """
    if len(errors) < 2:
        raise InputError(f"overlap needs at least two models, got {len(errors)}")
    check(*errors.values())
    region = sum(wrong.astype(np.int64) << bit for bit, wrong in enumerate(errors.values()))
    sizes = np.bincount(region, minlength=2 ** len(errors))
    keys = [tuple(name for bit, name in enumerate(errors) if index >> bit & 1) for index in range(len(sizes))]
    return {keys[index]: int(sizes[index]) for index in [*range(1, len(sizes)), 0]}


def jaccard(a: Errors, b: Errors) -> float:
    """Shared errors over errors of either, `|A and B| / |A or B|`. In [0, 1], 1 = same errors; nan without errors."""
    check(a, b)
    return ratio(int((a & b).sum()), int((a | b).sum()))


def expected_intersection(a: Errors, b: Errors) -> float:
    """Errors two models share by chance: `|A| |B| / n`, the mean of the hypergeometric distribution. In [0, n]."""
    check(a, b)
    return float(a.sum() * b.sum() / len(a))


def expected_jaccard(a: Errors, b: Errors, exact: bool = False) -> float:
    """Chance level of `jaccard` for two models with these numbers of errors. In [0, 1]; nan if neither has any.

    By default the expected intersection over the expected union, `e / (|A| + |B| - e)` with `e = |A| |B| / n`.
    `exact`: the mean of the Jaccard index itself, over all ways to place |B| errors among n examples:
    `sum_k P(k) k / (|A| + |B| - k)`, k hypergeometric. The two agree for large n.
    """
    check(a, b)
    n, size_a, size_b = len(a), int(a.sum()), int(b.sum())
    if size_a + size_b == 0:
        return float("nan")
    if not exact:
        shared = expected_intersection(a, b)
        return ratio(shared, size_a + size_b - shared)
    from scipy.stats import hypergeom  # every report reads this file, few come here, and it takes a second

    shared_counts = np.arange(min(size_a, size_b) + 1)  # those too small to be possible have chance 0
    chances = hypergeom.pmf(shared_counts, n, size_a, size_b)
    return float((chances * shared_counts / (size_a + size_b - shared_counts)).sum())


def lift(a: Errors, b: Errors) -> float:
    """Shared errors over those expected by chance. In [0, inf); 1 = chance, above = shared. nan if one has none."""
    return ratio(int((a & b).sum()), expected_intersection(a, b))


def error_consistency(a: Errors, b: Errors) -> float:
    """Cohen's kappa of being right or wrong: `(c_obs - c_exp) / (1 - c_exp)`. At most 1; 0 = chance, negative = less.

    c_obs: share of examples on which both are right or both wrong; c_exp: the same by chance from the two error
    rates, `p_a p_b + (1 - p_a)(1 - p_b)`. nan if both are always right or both always wrong. Source: Geirhos,
    Meding & Wichmann 2020, equations 1 to 3.
    """
    check(a, b)
    rate_a, rate_b = a.mean(), b.mean()
    by_chance = rate_a * rate_b + (1 - rate_a) * (1 - rate_b)
    return ratio(float((a == b).mean() - by_chance), float(1 - by_chance))


def ratio(numerator: int | float, denominator: int | float) -> float:
    """Quotient, nan where undefined."""
    return numerator / denominator if denominator else float("nan")


def check(*errors: Errors) -> None:
    sizes = [len(one) for one in errors]
    if len(set(sizes)) > 1 or 0 in sizes:
        raise InputError(
            f"errors must be on the same examples, at least one; got {', '.join(map(str, sizes))} examples"
        )
