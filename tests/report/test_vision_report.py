"""The whole vision study, tiny: its page is whole, its numbers are the records' numbers, and holes are seen."""

import csv
import json
import re
import shutil
import statistics
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from tests import tiny
from tests.report.unsaved import report

from distillbias.analysis.barrier import refresh_batch_norm
from distillbias.errors import InputError
from distillbias.evaluation.predict import predict
from distillbias.report.catalogue import write_report
from distillbias.studies.basins import WEIGHTS, aligned_height, line, refresh_batches
from distillbias.studies.execute import load_splits
from distillbias.studies.lessons import load_model
from distillbias.studies.store import Store
from distillbias.studies.vision import factor_arm, no_penalty, second

STUDY = tiny.vision_study(trials=2)
FIGURES = {
    *("accuracy", "severity", "reliability", "factors", "figure7-code", "figure7-text", "figure1", "path-distance"),
    *("figure8", "figure9", "figure11", "figure12", "overlap", "training"),
}
TABLES = {
    *(
        "headline",
        "claims",
        "claims-parts",
        "table5a",
        "table6a",
        "gains",
        "table5b",
        "table6b",
        "ece15",
        "nll",
        "factors",
        "paths",
        "barriers",
    ),
    *("distances-code", "distances-text", "overlap", "figure11-counts", "figure12-counts", "runs", "provenance"),
}
COLUMNS = {"Digits": "clean", "Scaled": "scale-3", "Translated": "translate-3"}
MAIN = ("CNN", "MLP", "CNN → CNN", "MLP → CNN", "CNN → MLP", "MLP → MLP")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny.trained(tmp_path_factory.mktemp("study"), *STUDY.runs)


@pytest.fixture(scope="module")
def out(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    written = write_report(STUDY, store, None, folder)
    assert written.page == folder / "report.html" and len(written.headlines[0].rows) == len(MAIN)
    return folder


@pytest.fixture(scope="module")
def holed(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a copy of the store that lacks the first CNN → MLP; its figures are drawn, but not saved."""
    root = tmp_path_factory.mktemp("holed")
    shutil.copytree(store.root, root / "store")
    copy = Store(root / "store")
    shutil.rmtree(copy.folder(STUDY.arms["CNN → MLP"][0]))
    return report(STUDY, copy, root / "report")


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def cells(folder: Path, table: str) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["row"], row["column"]): row for row in rows(folder, table) if row["kind"] == "cell"}


def trials(folder: Path, table: str) -> dict[tuple[str, str], dict[int, float]]:
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows(folder, table):
        if row["kind"] == "trial":
            found.setdefault((row["row"], row["column"]), {})[int(row["trial"])] = float(row["value"])
    return found


def recorded(store: Store, arm: str, test: str, metric: str) -> list[float]:
    """From the JSON files alone."""
    folders = [store.root / "runs" / run.name for run in STUDY.arms[arm]]
    return [json.loads((folder / "record.json").read_text())["scores"][test][metric] for folder in folders]


def errors(store: Store, arm: str, trial: int, test: str) -> set[int]:
    """Ids of the examples a run got wrong, from the Parquet file alone."""
    table = pq.read_table(store.root / "runs" / STUDY.arms[arm][trial].name / "predictions.parquet").to_pydict()
    answers = zip(table["test"], table["id"], table["label"], table["logits"], strict=True)
    return {example for name, example, label, logits in answers if name == test and np.argmax(logits) != label}


def test_everything_is_written(out: Path, store: Store) -> None:
    for kind in ("png", "pdf"):
        assert {path.stem for path in (out / "figures").glob(f"*.{kind}")} == FIGURES
    for kind in ("md", "csv", "tex"):
        assert {path.stem for path in (out / "tables").glob(f"*.{kind}")} == TABLES
    assert {path.stem for path in (out / "records").iterdir()} == {run.name for run in STUDY.runs}
    markdown = (out / "report.md").read_text()
    assert all(f"](<figures/{name}.png>)" in markdown for name in FIGURES)


def test_the_page_is_whole_and_loads_nothing(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert page.count("<img") == page.count('src="data:image/png;base64,') == len(FIGURES)
    for title in (
        "Table 5 (a)",
        "Table 6 (b)",
        "Figure 1.",
        "Figure 7",
        "Figure 8",
        "Figure 9",
        "Figure 11",
        "Figure 12",
    ):
        assert title in page
    text = re.sub(r'src="data:[^"]*"', "", page)
    assert not re.search(r'(src|href)\s*=\s*(?!"#)', text) and "http" not in text
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert "missing" not in text and " of 2)" not in text


@pytest.mark.parametrize(
    ("table", "metric", "arms"),
    [
        ("headline", "accuracy", MAIN),
        ("table5a", "accuracy", MAIN[:2]),
        ("table6a", "accuracy", MAIN[2:]),
        ("table5b", "paper_ece", MAIN[:2]),
        ("table6b", "paper_ece", MAIN[2:]),
        ("ece15", "ece", MAIN),
        ("nll", "nll", MAIN),
    ],
)
def test_tables_are_means_over_records(out: Path, store: Store, table: str, metric: str, arms) -> None:
    found = cells(out, table)
    assert set(found) == {(arm, column) for arm in arms for column in COLUMNS}
    for (arm, column), cell in found.items():
        values = recorded(store, arm, COLUMNS[column], metric)
        assert float(cell["mean"]) == pytest.approx(statistics.fmean(values), abs=1e-12)
        assert float(cell["sd"]) == pytest.approx(statistics.stdev(values), abs=1e-12)
        assert (cell["n"], cell["expected"]) == ("2", "2")
        assert trials(out, table)[arm, column] == dict(enumerate(values))
        shown = f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}"
        assert shown in (out / "report.html").read_text()


def test_gains_are_paired_by_trial(out: Path, store: Store) -> None:
    found = trials(out, "gains")
    for arm in MAIN[2:]:
        alone = arm.split(" → ")[1]
        for column, test in COLUMNS.items():
            pairs = zip(recorded(store, arm, test, "accuracy"), recorded(store, alone, test, "accuracy"), strict=True)
            assert found[f"{arm} minus {alone}", column] == pytest.approx(dict(enumerate(a - b for a, b in pairs)))


def test_the_factor_table_has_every_arm_in_its_place(out: Path, store: Store) -> None:
    names = {"tau2": "τ²", "one": "1", "inv_tau2": "1/τ² (the authors')"}
    found, expected = trials(out, "factors"), {}
    for penalty, words in ((True, "with penalties"), (False, "without penalties")):
        arms = {f"MLP from labels, {words}": "MLP" if penalty else no_penalty("MLP")}
        arms |= {
            f"{teacher} → MLP, factor {name}, {words}": factor_arm(teacher, factor, penalty)
            for teacher in ("CNN", "MLP")
            for factor, name in names.items()
        }
        for row, arm in arms.items():
            for column, test in COLUMNS.items():
                expected[row, column] = dict(enumerate(recorded(store, arm, test, "accuracy")))
    assert found == expected and len(found) == 14 * 3


@pytest.mark.parametrize(("figure", "test"), [("figure11", "scale-3"), ("figure12", "translate-3")])
def test_error_counts_are_those_of_the_predictions(out: Path, store: Store, figure: str, test: str) -> None:
    panels = {
        "(a) A CNN, B CNN #2, C MLP": [("CNN", 0), ("CNN", 1), ("MLP", 0)],
        "(c) A CNN → MLP, B CNN, C MLP": [("CNN → MLP", 0), ("CNN", 0), ("MLP", 0)],
    }
    found = [row for row in rows(out, f"{figure}-counts") if row["kind"] == "number"]
    for panel, members in panels.items():
        counts = {row["column"]: float(row["value"]) for row in found if row["row"] == panel}  # the last trial's
        assert counts["trial"] == 1
        a, b, c = (errors(store, arm, (1 + further) % 2, test) for arm, further in members)
        assert counts["A only"] == len(a - b - c) and counts["B only"] == len(b - a - c)
        assert counts["A and B"] == len((a & b) - c) and counts["C only"] == len(c - a - b)
        assert counts["A and C"] == len((a & c) - b) and counts["B and C"] == len((b & c) - a)
        assert counts["all"] == len(a & b & c) and counts["none"] == 500 - len(a | b | c)


def test_overlap_is_the_jaccard_index_of_errors(out: Path, store: Store) -> None:
    found = trials(out, "overlap")
    for column, test in (("Scaled", "scale-3"), ("Translated", "translate-3")):
        for trial in (0, 1):
            mine, teachers = errors(store, "CNN → MLP", trial, test), errors(store, "CNN", trial, test)
            expected = len(mine & teachers) / len(mine | teachers)
            assert found["CNN → MLP and its teacher", column][trial] == pytest.approx(expected)


def own_loss(store: Store, run) -> float:
    return json.loads((store.folder(run) / "record.json").read_text())["scores"]["clean"]["nll"]


def test_lines_end_at_the_models_own_test_losses(out: Path, store: Store) -> None:
    for arm, other in (("MLP", "MLP"), ("CNN", "CNN"), ("CNN → MLP", "MLP → MLP")):
        ends = STUDY.arms[arm][1], STUDY.arms[second(other)][1]
        found = line(*ends, store, None)
        assert len(found.interpolated) == len(found.refreshed) == len(WEIGHTS) == 21
        assert found.interpolated[-1] == pytest.approx(own_loss(store, ends[0]), rel=1e-5)
        assert found.interpolated[0] == pytest.approx(own_loss(store, ends[1]), rel=1e-5)


def test_refreshed_lines_end_at_the_models_with_fresh_statistics(out: Path, store: Store) -> None:
    """At both ends too, so that all points of the line are measured alike."""
    splits = load_splits(tiny.TASK, None)
    ends = STUDY.arms["MLP"][0], STUDY.arms[second("MLP")][0]
    found = line(*ends, store, None)
    for run, loss in zip(ends, (found.refreshed[-1], found.refreshed[0]), strict=True):
        model = load_model(run, store)
        refresh_batch_norm(model, refresh_batches(splits))
        logits = torch.as_tensor(predict(model, splits.tests["clean"])[0])
        expected = F.cross_entropy(logits, torch.as_tensor(splits.tests["clean"].labels)).item()
        assert loss == pytest.approx(expected, rel=1e-5)
        assert loss != pytest.approx(own_loss(store, run), rel=1e-3)  # one epoch's averages lag far behind


def test_barriers_are_heights_of_the_lines(out: Path, store: Store) -> None:
    found = trials(out, "barriers")
    for trial in (0, 1):
        got = line(STUDY.arms["MLP"][trial], STUDY.arms[second("MLP")][trial], store, None)
        for losses, column in ((got.refreshed, "refreshed"), (got.interpolated, "interpolated")):
            chord = [losses[0] + (losses[-1] - losses[0]) * step / 20 for step in range(21)]
            height = max(loss - level for loss, level in zip(losses, chord, strict=True))
            values = [
                value[trial]
                for (row, name), value in found.items()
                if row == "Figure 8 (a) MLP" and column in name.lower()
            ]
            assert values == pytest.approx([height], abs=1e-9)


def test_every_pair_of_figures_8_and_9_has_an_interval_and_a_barrier_with_units_aligned(
    out: Path, store: Store
) -> None:
    found, told = trials(out, "barriers"), {row["row"]: row["text"] for row in rows(out, "barriers") if row["text"]}
    names = {row for row, _ in found}
    assert len(names) == 2 + 6
    for name, (first, other) in {
        "Figure 8 (b) CNN": ("CNN", "CNN"),
        "Figure 9 CNN – Data": ("CNN → MLP", "MLP"),
    }.items():
        ends = [(STUDY.arms[first][trial], STUDY.arms[second(other)][trial]) for trial in (0, 1)]
        aligned = {trial: aligned_height(*pair, store, None) for trial, pair in enumerate(ends)}
        assert found[name, "aligned"] == pytest.approx(aligned)
        heights = [line(*pair, store, None).heights[0] for pair in ends]
        low, high = scipy.stats.t.interval(0.95, 1, np.mean(heights), scipy.stats.sem(heights))
        assert told[name] == f"[{low:+.4f}, {high:+.4f}]".replace("-", "−")


def test_path_distances_are_those_of_kept_activations(out: Path, store: Store) -> None:
    """The last stage, by hand: mean cosine of the two models' rows of cosines."""
    for trial in (0, 1):
        mine, teachers = (store.record(STUDY.arms[arm][trial]).stages()[-1] for arm in ("CNN → MLP", "CNN"))
        grams = []
        for activations in (mine.astype(float), teachers.astype(float)):
            length = np.linalg.norm(activations, axis=1, keepdims=True)
            units = np.divide(activations, length, out=np.zeros_like(activations), where=length > 0)
            gram = units @ units.T
            grams.append(gram / np.linalg.norm(gram, axis=1, keepdims=True))
        expected = 1 - (grams[0] * grams[1]).sum(1).mean()
        found = trials(out, "paths")["CNN → MLP to its teacher", "at the end"][trial]
        assert found == pytest.approx(expected, abs=1e-6)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_report_is_repeated_in_every_byte(out: Path, store: Store, tmp_path: Path) -> None:
    write_report(STUDY, store, None, tmp_path)
    first, again = files(out), files(tmp_path)
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


def test_a_missing_run_is_named_and_never_averaged_away(holed: Path, out: Path, store: Store) -> None:
    page = (holed / "report.html").read_text()
    assert "1 of 42 runs are missing: CNN → MLP, trial 0" in page
    cell = cells(holed, "headline")["CNN → MLP", "Translated"]
    left = recorded(store, "CNN → MLP", "translate-3", "accuracy")[1]
    assert (cell["n"], cell["expected"], cell["sd"]) == ("1", "2", "") and float(cell["mean"]) == left
    assert trials(holed, "headline")["CNN → MLP", "Translated"] == {1: left}
    assert f"{left:.4f} ± – (n=1 of 2)" in page
    for table in ("headline", "table6a", "table6b", "nll"):
        for (arm, _), entry in cells(holed, table).items():
            assert entry["n"] == ("1" if arm == "CNN → MLP" else "2")
    assert "missing" in {row["text"] for row in rows(holed, "runs")}
    assert not (holed / "records" / f"{STUDY.arms['CNN → MLP'][0].name}.json").exists()
    untouched = ("table5a", "table5b")
    assert all(rows(holed, table) == rows(out, table) for table in untouched)


@pytest.mark.parametrize(
    ("table", "row", "column"),
    [
        ("gains", "CNN → MLP minus MLP", "Scaled"),
        ("paths", "CNN → MLP to its teacher", "at the end"),
        ("overlap", "CNN → MLP and its teacher", "Scaled"),
        ("barriers", "Figure 9 CNN – Data", ""),
    ],
)
def test_what_is_left_keeps_its_trial(holed: Path, out: Path, table: str, row: str, column: str) -> None:
    """The value under trial 1 is trial 1's: the first trial is the missing one."""
    whole, left = trials(out, table), trials(holed, table)
    column = column or next(name for label, name in whole if label == row)
    assert left[row, column] == {1: whole[row, column][1]}


def test_nothing_done_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to report: no run of vision-tiny is finished in .*store"):
        write_report(STUDY, Store(tmp_path / "store"), None, tmp_path / "report")
    assert not (tmp_path / "report" / "report.html").exists()


def test_numbers_on_other_data_are_not_set_against_the_papers(out: Path) -> None:
    assert all(row["published"] == row["difference"] == "" for table in TABLES for row in rows(out, table))
    assert "paper 0." not in (out / "report.html").read_text()
