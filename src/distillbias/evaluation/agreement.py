"""Scores of agreement by group: does the verb still agree when nouns of the other number stand before it?

A group is the examples of one distance, or of one number of attractors (paper-facts 7.3). The macro accuracy is the
unweighted mean over groups: D-accuracy over distances 1 to 16, A-accuracy over 0 to 4 attractors. A small group weighs
as much as a large one, so each accuracy comes with its n (T14).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from distillbias.errors import InputError
from distillbias.evaluation.metrics import Labels, Rows, accuracy, balanced_accuracy, check_labels


@dataclass(frozen=True)
class GroupScore:
    """Accuracies in [0, 1], higher is better; nan where n is 0."""

    n: int
    accuracy: float
    balanced: float  # mean of the accuracies on singular and on plural verbs, as far as they occur


EMPTY = GroupScore(0, float("nan"), float("nan"))


def group_score(logits: Rows, labels: Labels) -> GroupScore:
    """The scores of one group; `EMPTY` without examples. The guess is the larger logit, the first where they tie."""
    if len(logits) == 0 and len(labels) == 0:
        return EMPTY
    return GroupScore(len(labels), accuracy(logits, labels), balanced_accuracy(logits, labels))


def group_scores(
    logits: Rows, labels: Labels, values: Int[np.ndarray, " _n"], groups: Iterable[int]
) -> dict[int, GroupScore]:
    """{group: scores of the examples whose value it is}; a group without examples is there, with n = 0.

    Raises:
        InputError: not one value per example.
    """
    check_labels(logits, labels)
    if len(values) != len(labels):
        raise InputError(f"one value per example: got {len(values)} values for {len(labels)} examples")
    return {group: group_score(logits[values == group], labels[values == group]) for group in groups}


@dataclass(frozen=True)
class Macro:
    """Unweighted means over groups. `accuracy` is nan when a group has no example: a hole, never a zero."""

    accuracy: float  # over all groups
    over_present: float  # over the groups with examples; nan if none has any
    missing: tuple[int, ...]  # the groups without examples


def macro_accuracy(groups: Mapping[int, GroupScore]) -> Macro:
    """`mean_k accuracy_k`, each group with the same weight. In [0, 1], higher is better. Source: paper-facts 7.3.

    The authors' code counted a group without examples as 0 (T14); here it makes the macro accuracy nan and is named.

    Raises:
        InputError: no group at all.
    """
    if not groups:
        raise InputError("a macro accuracy needs at least one group, got none")
    missing = tuple(group for group, score in groups.items() if score.n == 0)
    present = [score.accuracy for score in groups.values() if score.n]
    mean = float(np.mean(present)) if present else float("nan")
    return Macro(float("nan") if missing else mean, mean, missing)
