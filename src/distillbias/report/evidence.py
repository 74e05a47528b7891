"""The finished records of a study by arm and trial, and the quantities that sections read off them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distillbias.report.published import Published
from distillbias.report.tables import Cell
from distillbias.studies.record import Record
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.studies.study import Study

Trials = dict[int, float]  # one quantity of one arm: {trial: value}


@dataclass(frozen=True)
class Evidence:
    """A study and what of it is done; the case of the paper adds its titles and published numbers."""

    study: Study
    store: Store
    data: Path | None

    @cached_property
    def records(self) -> dict[str, dict[int, Record]]:
        """{arm: {trial: record}}; a run that is missing is not there."""
        return {
            arm: {run.trial: self.store.record(run) for run in runs if self.store.done(run)}
            for arm, runs in self.study.arms.items()
        }

    @property
    def first(self) -> Record | None:
        """Any finished record: all have the same data."""
        return next((record for records in self.records.values() for record in records.values()), None)

    @property
    def task(self) -> Any:
        """The task, which all runs share."""
        return next(iter(self.study.arms.values()))[0].task

    @property
    def headline(self) -> dict[str, str]:
        """{column: test set}, as the task has it."""
        return self.task.headline

    def title(self, column: str) -> str:
        """A headline column for people."""
        return column.capitalize()

    def runs(self, arm: str) -> dict[int, Run]:
        """The finished runs of an arm by trial."""
        return {run.trial: run for run in self.study.arms[arm] if self.store.done(run)}

    def values(self, arm: str, test: str, metric: str) -> Trials:
        """{trial: score} on a test set."""
        return {trial: record.score(test, metric) for trial, record in self.records[arm].items()}

    def cell_of(self, found: Trials, digits: int = 4, beside: Published | None = None) -> Cell:
        """{trial: value} as a cell of a table; missing trials are told."""
        return Cell(tuple(found.values()), beside, digits, self.study.trials, tuple(found))

    def both(self, first: str, second: str) -> list[int]:
        """The trials that two arms both finished."""
        return sorted(self.records[first].keys() & self.records[second].keys())
