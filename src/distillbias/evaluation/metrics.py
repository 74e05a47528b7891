"""Scores of predictions: arrays of logits and labels in, one number out.

Logits are `[n, classes]`, labels `[n]` class indices; one row is one scored position. Everything is computed in
float64, whatever the logits are stored in. Names ending in `_accuracy` (and `accuracy`) go up with quality;
`negative_log_likelihood` goes down. Perplexity is its exponential, over all tokens at once (paper-facts T22).
"""

import numpy as np
from jaxtyping import Float, Int

from distillbias.errors import InputError

Rows = Float[np.ndarray, "n classes"]
Labels = Int[np.ndarray, " _n"]  # the length is checked by `check_labels`, with an error that says more


def check_labels(rows: Rows, labels: Labels) -> None:
    """Stop at the door: one label per row, each the index of a column, and at least one row."""
    n, classes = rows.shape
    if n == 0 or classes == 0:
        raise InputError(f"a score needs at least one row and one class, got {n} rows of {classes} classes")
    if len(labels) != n:
        raise InputError(f"one label per row: got {len(labels)} labels for {n} rows")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise InputError(f"labels must lie in 0..{classes - 1}, label {wrong[0]} is {labels[wrong[0]]}")


def check_logits(logits: Rows) -> None:
    """Refuse nan and +inf, and rows without a finite logit: a model that diverged must not score as if by chance."""
    highest = logits.max(axis=1, initial=-np.inf)  # nan where a row holds one
    wrong = np.flatnonzero(~np.isfinite(highest))
    if len(wrong):
        raise InputError(f"the largest logit of a row must be a finite number, row {wrong[0]} has {highest[wrong[0]]}")


def log_softmax(logits: Rows) -> Rows:
    """Log-probabilities in nats, `z - max z - log(sum exp(z - max z))` row by row, in float64. In [-inf, 0].

    A logit of -inf is a class ruled out (probability 0); a row needs at least one finite logit and no nan or +inf.
    """
    check_logits(logits)
    rows = logits.astype(np.float64)
    shifted = rows - rows.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(logits: Rows) -> Rows:
    """Probabilities in float64; rows sum to 1 within rounding. See `log_softmax` for what is refused."""
    return np.exp(log_softmax(logits))


def predicted(logits: Rows) -> Int[np.ndarray, " n"]:
    """The class of the largest logit; the lowest index where several tie. Refuses what `log_softmax` does."""
    check_logits(logits)
    return logits.argmax(axis=1)


def negative_log_likelihood(logits: Rows, labels: Labels) -> float:
    """Mean of `-log p(label)` over rows, in nats. In [0, inf], lower is better; inf where a label was ruled out."""
    check_labels(logits, labels)
    # 0 - x, not -x: a certain answer scores 0.0 rather than -0.0
    return float((0.0 - log_softmax(logits)[np.arange(len(labels)), labels]).mean())


def accuracy(logits: Rows, labels: Labels) -> float:
    """Share of rows whose largest logit is the label's. In [0, 1], higher is better; ties go to the lowest class."""
    check_labels(logits, labels)
    return float((predicted(logits) == labels).mean())


def balanced_accuracy(logits: Rows, labels: Labels) -> float:
    """Mean over the classes that occur among the labels of the accuracy within each. In [0, 1], higher is better.

    A class without a single label has no accuracy and is left out, never counted as 0.
    """
    check_labels(logits, labels)
    right = predicted(logits) == labels
    _, which = np.unique(labels, return_inverse=True)
    return float((np.bincount(which, weights=right) / np.bincount(which)).mean())
