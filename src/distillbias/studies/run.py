"""A run is a value: task x model x recipe x objective x trial. Its name is the hash of what decides its result."""

import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from distillbias.errors import InputError
from distillbias.models.output import ModelConfig
from distillbias.models.registry import MODELS
from distillbias.tasks.agreement_classification import AgreementClassification
from distillbias.tasks.agreement_lm import AgreementLM
from distillbias.tasks.task import ADDED, Task
from distillbias.tasks.vision import Vision
from distillbias.training.controls import Control, check_control
from distillbias.training.distillation import Factor, temperature_factor
from distillbias.training.recipe import CosineRestarts, ExponentialDecay, Recipe, WarmupCosine

Penalty = Literal["relative", "absolute"]
TeacherMode = Literal["eval", "train"]

# A change of the code that changes results by more than rounding changes this, and so the name of every run.
ENGINE = 1


@dataclass(frozen=True)
class Distillation:
    """Learning from a teacher, offline: the teacher is a finished run.

    `weight` 1 is pure distillation. `teacher_mode` "train" leaves the teacher's dropout on and gives its
    batch norm the batch's statistics, as the authors did (T7). `penalty` "relative" keeps the recipe's
    penalties at the weight against the data term that they have in training on labels, "absolute" leaves
    them as they are (T5). With `control` the student hears that in place of the teacher (`training.controls`).
    """

    teacher: "Run"
    temperature: float = 5.0
    weight: float = 1.0
    factor: Factor = "tau2"
    teacher_mode: TeacherMode = "eval"
    penalty: Penalty = "relative"
    control: Control | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; it must be positive")
        if not 0 < self.weight <= 1:
            raise InputError(f"distillation weight is {self.weight}; it must be above 0 and at most 1")
        temperature_factor(self.factor, self.temperature)
        check_control(self.control)
        if self.control is not None and self.teacher_mode == "train":
            raise InputError(f"control {self.control!r} with a teacher in training mode; a control needs mode eval")


@dataclass(frozen=True)
class Run:
    """Initial weights are seeded by (model, trial), so all arms of a trial start from the same ones.

    `repeat` changes the order of the data and the dropout and nothing else: Figures 8 and 9 need two
    runs with the same start.
    """

    task: Task
    model: ModelConfig
    recipe: Recipe
    trial: int
    distillation: Distillation | None = None
    repeat: int = 0

    @property
    def name(self) -> str:
        text = json.dumps([ENGINE, to_json(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def teacher(self) -> "Run | None":
        return self.distillation.teacher if self.distillation else None

    @property
    def label(self) -> str:
        """For people: `CNN → MLP · trial 2`."""
        parts = [f"{self.teacher.model.name} → {self.model.name}" if self.teacher else self.model.name]
        if self.distillation and self.distillation.factor != "tau2":
            parts.append(f"factor {self.distillation.factor}")
        if self.distillation and self.distillation.teacher_mode == "train":
            parts.append("teacher in training mode")
        if self.distillation and self.distillation.control:
            parts.append(f"control {self.distillation.control}")
        if self.recipe.l1 == self.recipe.l2 == 0 and isinstance(self.task, Vision):  # elsewhere no arm differs in it
            parts.append("no penalty")
        parts.append(f"trial {self.trial}")
        if self.repeat:
            parts.append("second order" if self.repeat == 1 else f"repeat {self.repeat}")
        return " · ".join(parts)


# What a run is made of; from_json builds nothing else, so that a record never runs code.
PARTS: dict[str, type] = {
    part.__name__: part
    for part in (
        Run,
        Distillation,
        Recipe,
        Vision,
        AgreementClassification,
        AgreementLM,
        *MODELS.values(),
        ExponentialDecay,
        CosineRestarts,
        WarmupCosine,
    )
}


def register(part: type) -> type:
    """Let runs hold a model, task or schedule from outside the package; use it as a decorator of the dataclass."""
    PARTS[part.__name__] = part
    return part


def to_json(value: Any) -> Any:
    """A value of dataclasses, tuples and plain values as plain JSON; each dataclass says its kind."""
    if is_dataclass(value) and not isinstance(value, type):
        told = [each for each in fields(value) if each.metadata != ADDED or getattr(value, each.name) != each.default]
        plain = {each.name: to_json(getattr(value, each.name)) for each in told}
        # 5 and 5.0 are equal, so they must give one name
        plain |= {each.name: float(plain[each.name]) for each in told if each.type is float}
        return {"kind": type(value).__name__, **plain}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


def from_json(plain: Any) -> Any:
    """The inverse of `to_json`; only what is in PARTS is ever built."""
    if isinstance(plain, list):
        return tuple(from_json(item) for item in plain)
    if not isinstance(plain, dict):
        return plain
    kind = plain.get("kind")
    if kind not in PARTS:
        raise InputError(f"unknown kind {kind!r} in a run; it is one of {', '.join(PARTS)}")
    try:
        return PARTS[kind](**{key: from_json(value) for key, value in plain.items() if key != "kind"})
    except TypeError as error:
        raise InputError(f"a run of another version: {error}") from None
