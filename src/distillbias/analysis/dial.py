"""What does one ingredient of a bias do? Settings that differ in it alone, compared trial by trial."""

from collections.abc import Mapping, Sequence

import numpy as np

from distillbias.analysis.statistics import Summary, summary
from distillbias.errors import InputError

Dose = frozenset[str]
Measured = Mapping[Dose, Mapping[int, float]]  # {ingredients that are there: {trial: value}}


def pairs_of(ingredient: str, doses: Sequence[Dose]) -> list[tuple[Dose, Dose]]:
    """(without, with) for every two doses that differ in that ingredient alone."""
    return [(dose, dose | {ingredient}) for dose in doses if ingredient not in dose and dose | {ingredient} in doses]


def ingredient_effect(ingredient: str, measured: Measured) -> Summary | None:
    """The value with minus the value without it: the mean over pairs of settings that differ in it alone, in each trial
    that all of them have; summarised over trials. None without such a pair or trial.

    With every combination of the ingredients present this is the main effect of a factorial design (Fisher 1935,
    chapter VI): the coefficient of least squares on all of them, coded 0 and 1.
    """
    pairs = pairs_of(ingredient, list(measured))
    trials = _shared([measured[dose] for pair in pairs for dose in pair])
    if not trials:
        return None
    return summary([np.mean([measured[on][t] - measured[off][t] for off, on in pairs]).item() for t in trials])


def slope(dose: Sequence[Mapping[int, float]], answer: Sequence[Mapping[int, float]]) -> Summary | None:
    """By how much `answer` rises for each unit of `dose`: least squares with an intercept over settings (same order in
    both) in each trial that all have, summarised over trials. 1: the answer follows the dose wholly; 0: not at all.

    None without a trial, or with fewer than three settings. Error: sequences of unequal length.
    """
    if len(dose) != len(answer):
        raise InputError(f"{len(dose)} doses for {len(answer)} answers; each setting needs both")
    trials = _shared([*dose, *answer])
    if not trials or len(dose) < 3:
        return None
    return summary([_slope([each[t] for each in dose], [each[t] for each in answer]) for t in trials])


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    spread = np.asarray(x) - np.mean(x)
    if not spread.any():
        raise InputError("all doses are equal, so there is no slope; give settings that differ")
    return float(spread @ np.asarray(y) / (spread @ spread))


def _shared(by_trial: Sequence[Mapping[int, float]]) -> list[int]:
    return sorted(set.intersection(*(set(each) for each in by_trial))) if by_trial else []
