"""A study is a question and its runs, by arm; an ordinary Python value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TypeVar

from distillbias.errors import InputError
from distillbias.studies.run import Run
from distillbias.training.recipe import Recipe

Arms = dict[str, tuple[Run, ...]]  # arm -> its runs, one a trial
Setting = TypeVar("Setting")  # what a scale fixes for a declared study
Key = TypeVar("Key")


def declared(
    settings: Mapping[str, Callable[[], Setting]], trials_of: Mapping[str, int], scale: str, trials: int | None
) -> tuple[Setting, int]:
    """The setting of a scale, and how many trials: those asked for, else the scale's own.

    Raises:
        InputError: unknown scale, or fewer trials than 1.
    """
    if scale not in settings:
        raise InputError(f"unknown scale {scale!r}; it is one of {', '.join(settings)}")
    trials = trials_of[scale] if trials is None else trials
    if trials < 1:
        raise InputError(f"{trials} trials; a study needs at least 1")
    return settings[scale](), trials


def lasting(recipes: Mapping[Key, Recipe], epochs: int | None) -> dict[Key, Recipe]:
    """The recipes with another length; as they are for None."""
    return {key: recipe if epochs is None else replace(recipe, epochs=epochs) for key, recipe in recipes.items()}


def scale_title(scale: str, epochs: int | None) -> str:
    """The scale, and the length where it is not the scale's own: such runs are a quick look, no result."""
    return scale if epochs is None else f"{scale}-{epochs}-epochs"


@dataclass(frozen=True)
class Study:
    name: str
    scale: str
    question: str
    arms: Arms

    @property
    def title(self) -> str:
        return f"{self.name}-{self.scale}"

    @property
    def runs(self) -> list[Run]:
        """Every run once, a teacher before its students, and otherwise in the order of the arms."""
        ordered: dict[str, Run] = {}
        for runs in self.arms.values():
            for run in runs:
                for link in [run.teacher, run] if run.teacher else [run]:
                    ordered.setdefault(link.name, link)
        return list(ordered.values())

    @property
    def trials(self) -> int:
        return max(len(runs) for runs in self.arms.values())


def only(study: Study, arms: Sequence[str]) -> Study:
    """The study with some of its arms, in its own order; with all of them if none is named.

    Raises:
        InputError: an arm that the study does not have.
    """
    for arm in arms:
        if arm not in study.arms:
            near = get_close_matches(arm, study.arms, n=3, cutoff=0.5)
            hint = f"; near it: {', '.join(map(repr, near))}" if near else ""
            raise InputError(f"study {study.title} has no arm {arm!r}{hint}. It has {', '.join(map(repr, study.arms))}")
    return replace(study, arms={arm: runs for arm, runs in study.arms.items() if not arms or arm in arms})
