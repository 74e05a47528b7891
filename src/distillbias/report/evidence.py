"""The finished records of a study by arm and trial, and the quantities that sections read off them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from distillbias.report.published import Published, published
from distillbias.report.tables import Cell
from distillbias.studies.run import Run
from distillbias.studies.store import Record, Store
from distillbias.studies.study import Study


@dataclass(frozen=True)
class Evidence:
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
    def headline(self) -> dict[str, str]:
        """{column: test set}: mnist, scaled, translated."""
        return next(iter(self.study.arms.values()))[0].task.headline

    @property
    def on_paper_data(self) -> bool:
        """Only then is a published number a thing to compare with."""
        return next(iter(self.study.arms.values()))[0].task.name == "mnist"

    def title(self, column: str) -> str:
        """A headline column for people."""
        return {"mnist": "MNIST" if self.on_paper_data else "Digits"}.get(column, column.capitalize())

    def runs(self, arm: str) -> dict[int, Run]:
        """The finished runs of an arm by trial."""
        return {run.trial: run for run in self.study.arms[arm] if self.store.done(run)}

    def values(self, arm: str, test: str, metric: str) -> dict[int, float]:
        """{trial: score} on a test set."""
        return {trial: record.score(test, metric) for trial, record in self.records[arm].items()}

    def cell(self, arm: str, column: str, metric: str, digits: int = 4) -> Cell:
        """A quantity of an arm on a headline column, beside the published one where the data are the paper's."""
        found = self.values(arm, self.headline[column], metric)
        return self.cell_of(found, digits, published(arm, column, metric) if self.on_paper_data else None)

    def cell_of(self, found: dict[int, float], digits: int = 4, beside: Published | None = None) -> Cell:
        """{trial: value} as a cell of a table; missing trials are told."""
        return Cell(tuple(found.values()), beside, digits, self.study.trials, tuple(found))

    def both(self, first: str, second: str) -> list[int]:
        """The trials that two arms both finished."""
        return sorted(self.records[first].keys() & self.records[second].keys())
