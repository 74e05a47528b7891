"""What a student could also hear in place of its teacher: each control keeps one thing of the signal, drops the rest.

    control     keeps                                         drops
    shuffled    labels, confidence, every answer of a class   which example an answer belongs to
    smoothed    labels, mean entropy                          what the teacher knows of other classes
    untrained   architecture, initial weights                 all that the teacher learned
    prior       how often a class occurs                      everything else

A gain that a control gives as well is no transfer of what the teacher knows. Signals are logits that are softened by
the run's temperature afterwards, like a teacher's.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from distillbias.errors import InputError

Control = Literal["shuffled", "smoothed", "untrained", "prior"]
Logits = Float[np.ndarray, "n classes"]
Labels = Int[np.ndarray, " n"]


def check_control(control: str | None) -> None:
    if control is not None and control not in get_args(Control):
        raise InputError(f"unknown control {control!r}; it is one of {', '.join(get_args(Control))}, or None")


def controlled(control: Control, logits: Logits, labels: Labels, temperature: float, seed: int) -> Logits:
    """The signal of a control; "untrained" passes the logits on, which are then those of an untrained teacher."""
    check_control(control)
    if control == "shuffled":
        return shuffled(logits, labels, seed)
    if control == "smoothed":
        return smoothed(logits, labels, temperature)
    return prior(labels, logits.shape[1], temperature) if control == "prior" else logits


def shuffled(logits: Logits, labels: Labels, seed: int) -> Logits:
    """Every example gets the answer to a random example of its own class; within a class no answer is lost or doubled.

    Keeps what the teacher says of a class, its calibration and its errors' number; destroys what it knows of single
    examples ("dark knowledge" by example; after Furlanello et al. 2018, section 4.2).
    """
    random = np.random.default_rng(seed)
    found = logits.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        found[rows] = logits[random.permutation(rows)]
    return found


def smoothed(logits: Logits, labels: Labels, temperature: float) -> Logits:
    """Smoothed labels `(1 - eps) onehot + eps / classes` with the mean entropy of the teacher's softened answers.

    One eps in [0, 1] for all examples, solved for to 1e-12; after softening by `temperature` the student sees exactly
    these probabilities. Source of label smoothing: Szegedy et al. 2016, section 7.
    """
    from scipy.optimize import brentq  # every worker reads this file, few come here, and SciPy takes a second

    classes = logits.shape[1]
    wanted = mean_entropy(logits / temperature)
    # entropy of smoothed labels grows from 0 to log(classes) with eps; a teacher's lies between but for rounding
    excess = lambda eps: smoothed_entropy(eps, classes) - wanted  # noqa: E731
    eps = 1.0 if excess(1.0) <= 0 else brentq(excess, 0.0, 1.0, xtol=1e-12)
    probabilities = np.full(logits.shape, max(eps / classes, np.finfo(np.float32).tiny))
    probabilities[np.arange(len(labels)), labels] += 1 - eps
    return (temperature * np.log(probabilities)).astype(logits.dtype)


def smoothed_entropy(eps: float, classes: int) -> float:
    """Entropy in nats of `(1 - eps) onehot + eps / classes`."""
    from scipy.special import entr

    return float(entr(1 - eps + eps / classes) + (classes - 1) * entr(eps / classes))


def mean_entropy(logits: Logits) -> float:
    """Mean entropy in nats of the answers, in [0, log classes]."""
    from scipy.special import entr, softmax

    return float(entr(softmax(logits.astype(np.float64), axis=1)).sum(axis=1).mean())


def prior(labels: Labels, classes: int, temperature: float) -> Logits:
    """The same answer to every example: how often each class occurs among the labels."""
    share = np.bincount(labels, minlength=classes) / len(labels)
    answer = temperature * np.log(np.maximum(share, np.finfo(np.float32).tiny))
    return np.tile(answer.astype(np.float32), (len(labels), 1))
