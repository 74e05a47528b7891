"""Does a student answer as its teacher does, or only as well? Right answers and, above all, the teacher's errors.

A student can score like its teacher and yet answer differently (Stanton et al. 2021). Shares are in [0, 1] and nan
where nothing is there to share.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from distillbias.analysis.overlap import error_consistency, ratio
from distillbias.errors import InputError
from distillbias.evaluation.metrics import Labels, check_labels, log_softmax, predicted

Logits = Float[np.ndarray, "_n _classes"]  # the shapes are compared by `fidelity`, with an error that says more


@dataclass(frozen=True)
class Fidelity:
    """How a student's answers compare with its teacher's on n examples.

    `agreement`: share of examples with the same guess. `chance_agreement`: what it would be by chance from the two
    accuracies a and b, `a b + (1 - a)(1 - b) / (classes - 1)`: errors independent, all wrong classes equally likely.
    `divergence`: mean KL(teacher || student) in nats at temperature 1, in [0, inf]. `consistency`: kappa of being
    right or wrong (`overlap.error_consistency`), at most 1, 0 by chance, nan if both are always right or both always
    wrong. Of the teacher's errors (nan without any): `copied`, the same wrong class; `shared`, wrong in any class;
    `corrected`, right; shared + corrected = 1. `broken`: share wrong of what the teacher has right, nan without any.
    """

    n: int
    agreement: float
    chance_agreement: float
    divergence: float
    consistency: float
    copied: float
    shared: float
    corrected: float
    broken: float


def fidelity(student_logits: Logits, teacher_logits: Logits, labels: Labels) -> Fidelity:
    """Compare a student's and its teacher's logits `[n, classes]` on the same examples, labels `[n]` class indices.

    The guess is the class of the largest logit, the lowest index where several tie. A logit of -inf rules a class out;
    the divergence is inf where the student rules out what the teacher does not. Errors: unequal shapes, fewer than
    two classes, no rows, labels out of range, nan or +inf. Source: Stanton et al. 2021 (agreement, divergence);
    Geirhos, Meding & Wichmann 2020, equations 1 to 3 (consistency).
    """
    if student_logits.shape != teacher_logits.shape:
        student, teacher = (list(logits.shape) for logits in (student_logits, teacher_logits))
        raise InputError(f"student and teacher need logits of the same shape, got {student} and {teacher}")
    check_labels(teacher_logits, labels)
    n, classes = teacher_logits.shape
    if classes < 2:
        raise InputError(f"fidelity needs at least two classes, got {classes}")
    guess, taught = predicted(student_logits), predicted(teacher_logits)
    wrong, taught_wrong, same = guess != labels, taught != labels, guess == taught
    errors, hits = int(taught_wrong.sum()), int((~taught_wrong).sum())
    right = float((~wrong).mean())
    return Fidelity(
        n=n,
        agreement=float(same.mean()),
        chance_agreement=right * hits / n + (1 - right) * errors / n / (classes - 1),
        divergence=divergence(student_logits, teacher_logits),
        consistency=error_consistency(wrong, taught_wrong),
        copied=ratio(int((taught_wrong & same).sum()), errors),
        shared=ratio(int((taught_wrong & wrong).sum()), errors),
        corrected=ratio(int((taught_wrong & ~wrong).sum()), errors),
        broken=ratio(int((~taught_wrong & wrong).sum()), hits),
    )


def divergence(student_logits: Logits, teacher_logits: Logits) -> float:
    """Mean over rows of `sum p (log p - log q)`, p the teacher's, q the student's; 0 log 0 is 0. Never below 0."""
    ours, theirs = log_softmax(student_logits), log_softmax(teacher_logits)
    chances = np.exp(theirs)
    there = chances > 0
    total = float((chances[there] * (theirs[there] - ours[there])).sum())
    return max(0.0, total / len(theirs))
