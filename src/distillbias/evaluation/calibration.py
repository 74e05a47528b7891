"""Does a model's confidence say how often it is right?

Probabilities are `[n, classes]` rows that sum to 1; the confidence of a row is its largest probability, its guess
the class of that probability (lowest index where several tie). All functions bin confidences alike:

    bin b of `bins` holds (b-1)/bins < confidence <= b/bins, b = 1..bins; confidence 0 would fall in bin 1.

The edges are the float64 numbers nearest to b/bins, and a confidence is compared with them, not rescaled. This is
scikit-learn's side; torchmetrics closes bins on the left and puts confidence 1 in a bin of its own. Give float64
probabilities (`metrics.softmax`): float32 ones may fall on the other side of an edge.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from distillbias.errors import InputError
from distillbias.evaluation.metrics import Labels, Rows, check_labels

PAPER_BINS = 1_000_000
SUM_TOLERANCE = 1e-4  # float32 softmax over 10,000 words is within 1e-5; logits taken for probabilities are not


def expected_calibration_error(probabilities: Rows, labels: Labels, bins: int = 15) -> float:
    """Mean distance of accuracy from confidence, bins weighted by size. In [0, 1], lower is better.

    `ECE = sum_b n_b/n |accuracy_b - mean confidence_b|`; bins closed on the right (see the module), empty bins count
    nothing. Time and memory grow with n, not with `bins`. Source: Guo et al. 2017, equation 3.
    """
    confidence, right = confidence_and_hits(probabilities, labels)
    _, which = np.unique(bin_of(confidence, bins), return_inverse=True)
    excess = np.bincount(which, weights=right - confidence)
    return float(np.abs(excess).sum() / len(confidence))


def paper_calibration_error(probabilities: Rows, labels: Labels) -> float:
    """`expected_calibration_error` with the 1,000,000 bins of the published MNIST tables. In [0, 1], lower is better.

    With so many bins hardly two rows share one, so it is nearly `mean |right - confidence|`, except that all rows
    above 1 - 1e-6 share the last bin (paper-facts 7.4, T1). Never compare it with an error of 15 or 20 bins.
    """
    return expected_calibration_error(probabilities, labels, PAPER_BINS)


@dataclass(frozen=True)
class Reliability:
    """One entry per bin, from the lowest confidence up; `accuracy` and `confidence` are nan where `count` is 0."""

    lower: Float[np.ndarray, " bins"]  # open edge
    upper: Float[np.ndarray, " bins"]  # closed edge
    count: Int[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]  # mean confidence of the bin's rows


def reliability_curve(probabilities: Rows, labels: Labels, bins: int = 20) -> Reliability:
    """Accuracy and mean confidence per bin of confidence (Figure 5: 20 bins). On the diagonal is calibrated.

    Bins are closed on the right (see the module). With two classes no confidence is below 0.5, so those bins are
    empty. Weighted by `count / n`, `|accuracy - confidence|` adds up to the expected calibration error.
    """
    confidence, right = confidence_and_hits(probabilities, labels)
    which = bin_of(confidence, bins) - 1
    count = np.bincount(which, minlength=bins)
    rows = np.where(count > 0, count, np.nan)
    edges = np.arange(bins + 1) / bins
    return Reliability(
        lower=edges[:-1],
        upper=edges[1:],
        count=count,
        accuracy=np.bincount(which, weights=right, minlength=bins) / rows,
        confidence=np.bincount(which, weights=confidence, minlength=bins) / rows,
    )


def confidence_and_hits(probabilities: Rows, labels: Labels) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Confidence of each row, in [0, 1], and whether its guess is the label."""
    check_labels(probabilities, labels)
    rows = probabilities.astype(np.float64)
    check_probabilities(rows)
    guess = rows.argmax(axis=1)
    confidence = rows[np.arange(len(rows)), guess].clip(0.0, 1.0)  # float32 rounding may pass 1 by 1e-7
    return confidence, guess == labels


def check_probabilities(rows: Rows) -> None:
    """Refuse rows that are no probabilities (logits, say), by the first that is wrong."""
    sums = rows.sum(axis=1)
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= SUM_TOLERANCE))  # written so that nan is wrong, too
    if len(wrong):
        raise InputError(f"rows of probabilities must sum to 1, row {wrong[0]} sums to {sums[wrong[0]]:.6g}")
    lowest = rows.min(axis=1)
    wrong = np.flatnonzero(lowest < -SUM_TOLERANCE)
    if len(wrong):
        raise InputError(f"probabilities must lie in [0, 1], row {wrong[0]} holds {lowest[wrong[0]]:.6g}")


def bin_of(confidence: Float[np.ndarray, " n"], bins: int) -> Int[np.ndarray, " n"]:
    """Number 1..bins of the bin with (b-1)/bins < confidence <= b/bins; 1 for confidence 0."""
    if bins < 1:
        raise InputError(f"bins must be at least 1, got {bins}")
    which = np.ceil(confidence * bins).astype(np.int64)
    which -= confidence <= (which - 1) / bins  # the product may round over an edge: 0.07 * 100 > 7
    which += confidence > which / bins
    return which.clip(1, bins)
