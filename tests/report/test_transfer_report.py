"""The report of a transfer study: coefficients from the numbers of the records, controls beside, holes told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import tiny
from tests.report.unsaved import report

from distillbias.analysis.transfer import transfer
from distillbias.report import transfer_structure
from distillbias.report.transfer_scores import Compared, Metric, Plan, coefficient_table, gains_table
from distillbias.report.vision_evidence import VisionEvidence
from distillbias.studies import basins, probing
from distillbias.studies.catalogue import find_study
from distillbias.studies.execute import execute
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.studies.transfer_vision import every_arm

ARMS = ("CNN", "MLP", "CNN → MLP", "MLP → MLP", "CNN → MLP, shuffled answers", "MLP, moved digits")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Store]:
    """Two trials of a few arms; the others are holes."""
    study = Study("transfer-vision", "tiny", "Is it?", every_arm(tiny.setting(), 2))
    store = Store(tmp_path_factory.mktemp("store"))
    for arm in ARMS:
        for run in study.arms[arm]:
            if not store.done(run):
                execute(run, store, None)
    return study, store


def test_the_page_has_verdicts_coefficients_controls_and_holes(
    made: tuple[Study, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, store = made
    monkeypatch.setattr(transfer_structure, "DRAWS", 9)
    monkeypatch.setattr(basins, "WEIGHTS", (0.0, 0.5, 1.0))
    monkeypatch.setattr(probing, "REACH", 3)
    monkeypatch.setattr(probing, "IMAGES", 20)
    page = (report(study, store, tmp_path) / "report.html").read_text()
    assert "The paper&#39;s claims" in page and "not run" in page  # its students of MLP teachers are holes
    headline = (tmp_path / "tables" / "headline.md").read_text()
    for arm in ("CNN → MLP, shuffled answers", "MLP, moved digits", "CNN → MLP, smoothed labels"):
        assert arm in headline
    assert "missing" in next(line for line in headline.splitlines() if "smoothed" in line)
    for name in ("gains-translated", "fidelity-as-it-is", "fidelity-consistency", "nulls-scaled", "barriers-aligned"):
        assert (tmp_path / "tables" / f"{name}.csv").exists(), name


def plan_of(by_arm: dict[str, dict[int, float]], higher_is_better: bool = True) -> tuple[Plan, Metric]:
    metric = Metric("made", by_arm, None, higher_is_better)
    return Plan("CNN", "MLP", "CNN → MLP", "MLP → MLP", (metric,), {}), metric


def test_a_coefficient_is_paired_by_trial_over_those_that_all_three_have(made: tuple[Study, Store]) -> None:
    by_arm = {
        "CNN": {0: 0.9, 1: 0.91, 2: 0.92, 3: 0.95},
        "MLP": {0: 0.5, 1: 0.52, 2: 0.51},
        "CNN → MLP": {1: 0.62, 0: 0.60, 2: 0.64, 3: 0.1},
    }
    plan, metric = plan_of(by_arm)
    found = Compared(plan, metric, "CNN → MLP").transfer
    expected = transfer([0.60, 0.62, 0.64], [0.9, 0.91, 0.92], [0.5, 0.52, 0.51], higher_is_better=True)
    assert found == expected and found.coefficient == pytest.approx((0.1 + 0.1 + 0.13) / (0.4 + 0.39 + 0.41))


def test_lower_is_better_turns_gains_round(made: tuple[Study, Store]) -> None:
    plan, metric = plan_of({"CNN": {0: 0.1}, "MLP": {0: 0.5}, "CNN → MLP": {0: 0.2}}, higher_is_better=False)
    assert Compared(plan, metric, "CNN → MLP").differences == pytest.approx([0.3])


def test_a_teacher_that_is_not_better_is_said_and_not_divided_by(made: tuple[Study, Store]) -> None:
    study, store = made
    evidence = VisionEvidence(study, store, None)
    worse = {arm: {0: 0.5, 1: 0.5} for arm in study.arms} | {"CNN": {0: 0.4, 1: 0.45}}
    plan, _ = plan_of(worse)
    table = coefficient_table(evidence, plan)
    assert {cells for row in table.cells for cells in row} == {"teacher not better"}


def test_gains_hold_the_differences_and_resample_the_examples(made: tuple[Study, Store]) -> None:
    study, store = made
    evidence = VisionEvidence(study, store, None)
    test = evidence.headline["translated"]
    metric = Metric("Translated", {arm: evidence.values(arm, test, "accuracy") for arm in study.arms}, test)
    plan = replace(plan_of({})[0], metrics=(metric,))
    table = gains_table(evidence, plan, metric)
    row = dict(zip(table.rows, table.cells, strict=True))["CNN → MLP"]
    expected = [
        evidence.records["CNN → MLP"][t].score(test, "accuracy") - evidence.records["MLP"][t].score(test, "accuracy")
        for t in (0, 1)
    ]
    assert row[0].values == pytest.approx(expected)
    low, high = (float(part.replace("−", "-")) for part in row[2].strip("[]").split(", "))
    assert low <= np.mean(expected) <= high


@pytest.mark.parametrize("name", ("transfer-vision", "transfer-agreement"))
def test_the_declared_studies_hold_every_control_once(name: str) -> None:
    study = find_study(name, "demo")
    taught = next(arm for arm in study.arms if "→" in arm)
    names = [run.name for arm in study.arms if arm.startswith(f"{taught}, ") for run in study.arms[arm]]
    assert len(names) == len(set(names))
    controls = [
        study.arms[f"{taught}, {what}"][0].distillation.control
        for what in ("shuffled answers", "smoothed labels", "untrained teacher", "class frequencies")
    ]
    assert controls == ["shuffled", "smoothed", "untrained", "prior"]
