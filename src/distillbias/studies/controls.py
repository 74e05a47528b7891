"""Control arms: what else could have made a student better? Each is an ordinary run beside the student's own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from distillbias.errors import InputError
from distillbias.studies.run import Run
from distillbias.studies.study import Arms
from distillbias.training.controls import Control

HEARD: dict[Control, str] = {
    "shuffled": "shuffled answers",
    "smoothed": "smoothed labels",
    "untrained": "untrained teacher",
    "prior": "class frequencies",
}
LEFT_ON = "teacher in training mode"


def heard(arm: str, control: Control) -> str:
    """The arm of a control: "CNN → MLP, shuffled answers"."""
    return f"{arm}, {HEARD[control]}"


def left_on(arm: str) -> str:
    """The arm whose teacher keeps its dropout while it teaches (T7)."""
    return f"{arm}, {LEFT_ON}"


def control_arms(arm: str, runs: Sequence[Run]) -> Arms:
    """Every control of the students `runs`, one a trial."""
    return {heard(arm, control): tuple(controlled(run, control) for run in runs) for control in get_args(Control)}


def controlled(run: Run, control: Control) -> Run:
    """The same student, hearing the control.

    Raises:
        InputError: the run learns from labels, so there is nothing to replace.
    """
    if run.distillation is None:
        raise InputError(f"run {run.label} has no teacher, so no control {control!r}; give a distilled run")
    return replace(run, distillation=replace(run.distillation, control=control))


def training_mode(run: Run) -> Run:
    """The same student of a teacher in training mode."""
    assert run.distillation is not None
    return replace(run, distillation=replace(run.distillation, teacher_mode="train"))
