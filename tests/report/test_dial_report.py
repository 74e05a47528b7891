"""The report of a dial: every setting with its numbers from the records, effects, sizes, and holes told."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests import tiny

from distillbias.report.catalogue import write_report
from distillbias.report.dial import Reading, dose_table, make_vision_page
from distillbias.report.tables import Cell
from distillbias.report.vision_evidence import VisionEvidence
from distillbias.report.writing import Gallery
from distillbias.studies.dial import at_share
from distillbias.studies.dial_vision import dial, every_arm
from distillbias.studies.store import Store
from distillbias.studies.study import Study

GONE = "CNN − pooling → MLP"
# of the teachers with kernels of their own at every place, which are slow, one is enough
SLOW = tuple(
    f"CNN{less}" for less in (" − locality − sharing", " − sharing − pooling", " − locality − sharing − pooling")
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Store]:
    """One trial of every arm but those that are gone."""
    study = Study("dial-vision", "tiny", "Which?", every_arm(tiny.setting(), 1))
    gone = {run for arm, runs in study.arms.items() if arm.split(" → ")[0] in SLOW or arm == GONE for run in runs}
    runs = [run for run in study.runs if run not in gone]
    assert len(gone) == 7
    return study, tiny.trained(tmp_path_factory.mktemp("store"), *runs)


def test_tables_have_every_setting_and_the_hole(made: tuple[Study, Store], tmp_path: Path) -> None:
    study, store = made
    page = write_report(study, store, None, tmp_path).page.read_text()
    assert "7 of 23 runs are missing" in page
    headline = (tmp_path / "tables" / "headline.md").read_text()
    rows = {line.split(" | ")[0].strip("| "): line for line in headline.splitlines() if line.startswith("| CNN")}
    assert list(rows) == list(dial().doses)
    assert rows["CNN"].count("yes") == 3 and rows["CNN − locality − sharing − pooling"].count("yes") == 0
    assert "missing" in rows["CNN − pooling"]
    for name in ("effects", "sizes", "doses-digits", "doses-scaled"):
        assert (tmp_path / "tables" / f"{name}.csv").exists(), name
    for name in ("doses", "effects", "sizes"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000


def test_numbers_are_those_of_the_records(made: tuple[Study, Store]) -> None:
    study, store = made
    evidence = VisionEvidence(study, store, None)
    test = evidence.headline["scaled"]
    done = {arm: runs[0] for arm, runs in study.arms.items() if store.done(runs[0])}
    score = {arm: store.record(run).score(test, "accuracy") for arm, run in done.items()}
    reading = Reading(evidence, dial(), {"S": {arm: evidence.values(arm, test, "accuracy") for arm in study.arms}}, "S")
    table = dose_table(reading, "S", "doses")
    ours = dict(zip(table.columns, table.cells[table.rows.index("CNN − sharing")], strict=True))
    taught = score["CNN − sharing → MLP"]
    for column, wanted in {
        "teacher": score["CNN − sharing"],
        "its student": taught,
        "student's gain": taught - score["MLP"],
    }.items():
        cell = ours[column]
        assert isinstance(cell, Cell) and cell.mean == pytest.approx(wanted)
    assert reading.coefficient("S", "CNN", 0.1) in ("too few trials", "teacher not better")
    assert at_share("CNN", 0.1) in score


def test_without_any_pair_effects_are_missing(made: tuple[Study, Store], tmp_path: Path) -> None:
    """Only the students' runs of one teacher are there."""
    study, store = made
    few = {arm: runs if arm in ("MLP", "CNN", "CNN → MLP") else _never(runs) for arm, runs in study.arms.items()}
    page = make_vision_page(replace(study, arms=few), store, None, Gallery(tmp_path))
    effects = next(table for section in page.sections for table in section.tables if table.name == "effects")
    assert {entry for row in effects.cells for entry in row} == {"missing"}


def _never(runs):
    return tuple(replace(run, trial=run.trial + 90) for run in runs)
