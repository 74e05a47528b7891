"""The pages of both agreement studies: whole, their numbers are the records', and what is not there is seen."""

import csv
import shutil
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.report import agreement_records as made
from tests.report.agreement_records import write
from tests.report.unsaved import report

from distillbias.errors import InputError
from distillbias.report.catalogue import write_report
from distillbias.studies import agreement, agreement_lm
from distillbias.studies.listing import listing
from distillbias.studies.store import Store

STUDY = agreement.study("laptop", trials=2)
LM = agreement_lm.study("laptop", trials=2)
SHARED = {
    "headline",
    "claims",
    "claims-parts",
    "gains",
    "attractors-accuracy",
    "attractors-balanced",
    "distance-accuracy",
    "distance-balanced",
}
SHARED |= {"gulordava", "treebanks", "blimp", "distances-code", "distances-text", "sets", "runs", "provenance"}
DRAWN = {"by-attractors", "by-distance", "training"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write(tmp_path_factory.mktemp("store"), STUDY, made.REAL)


@pytest.fixture(scope="module")
def out(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(STUDY, store, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = write(tmp_path_factory.mktemp("store"), LM, made.REAL, whole=("wiki", "train"))
    return report(LM, store, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def one_trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated sentences, one trial, one run missing, and no example at distance 16."""
    study = agreement.study("demo", trials=1)
    tests = made.GENERATED | {"natural": made.made("natural", 96, near=made.DISTANCES[:15], homogeneous=[0, 1])}
    store = write(tmp_path_factory.mktemp("store"), study, tests)
    shutil.rmtree(store.folder(study.arms["LSTM → Transformer"][0]))
    return report(study, store, tmp_path_factory.mktemp("report"))


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def cells(folder: Path, table: str) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["row"], row["column"]): row for row in rows(folder, table) if row["kind"] == "cell"}


def answers(store: Store, arm: str, trial: int) -> list[dict]:
    """From the Parquet file alone."""
    return pq.read_table(store.root / "runs" / STUDY.arms[arm][trial].name / "predictions.parquet").to_pylist()


def share(picked: list[dict]) -> float:
    return fmean(int(np.argmax(row["logits"])) == row["label"] for row in picked)


def macro(store: Store, arm: str, trial: int, which: str) -> float:
    every = answers(store, arm, trial)
    if which == "D":
        return fmean(share([r for r in every if r["test"] == "wiki" and r["near"] == d]) for d in range(1, 17))
    adjacent = share([row for row in every if row["test"] == "wiki" and row["near"] == 1])
    return fmean([adjacent, *(share([row for row in every if row["test"] == f"numpred-{k}"]) for k in range(1, 5))])


def test_everything_is_there(out: Path, lm: Path) -> None:
    tables = {"table2", "table4", "table8", "d-matrix", "a-matrix", "ece20", "paper-ece", "nll", "overlap"}
    tables |= {"figure10-counts", "sureness", "soft-students", "padding", "padding-differences"}
    drawn = {
        "scores",
        "figure3a",
        "figure3b",
        "figure5",
        "figure6b-code",
        "figure6b-text",
        "figure10",
        "overlap",
        "softness",
    }
    assert {path.stem for path in (out / "tables").glob("*.csv")} == SHARED | tables
    assert set((out / "drawn").read_text().split()) == DRAWN | drawn
    assert {path.stem for path in (lm / "tables").glob("*.csv")} == SHARED | {"table1", "table3a", "table3b", "table7"}
    assert set((lm / "drawn").read_text().split()) == DRAWN | {"figure2", "figure4", "figure6a-code", "figure6a-text"}
    for folder in (out, lm):
        assert "Not complete" not in (folder / "report.md").read_text()


@pytest.mark.parametrize("arm", ["LSTM", "LSTM → Transformer"])
def test_the_headline_is_computed_from_the_answers(out: Path, store: Store, arm: str) -> None:
    found = cells(out, "headline")
    natural = [share([r for r in answers(store, arm, t) if r["test"] == "numpred-val"]) for t in (0, 1)]
    assert float(found[arm, "µ"]["mean"]) == pytest.approx(fmean(natural), abs=1e-12)
    for which in ("D", "A"):
        expected = fmean(macro(store, arm, trial, which) for trial in (0, 1))
        assert float(found[arm, which]["mean"]) == pytest.approx(expected, abs=1e-12)


def test_matrices_have_students_in_rows_and_teachers_in_columns(out: Path, store: Store) -> None:
    cell = cells(out, "table4")["Transformer", "teacher LSTM"]
    taught, alone = cells(out, "headline")["LSTM → Transformer", "µ"], cells(out, "headline")["Transformer", "µ"]
    assert cell["mean"] == taught["mean"] and cell["published"] == "0.9596"
    assert cells(out, "table4")["Transformer", "from labels"]["mean"] == alone["mean"]
    assert cells(out, "a-matrix")["LSTM", "teacher UniversalTransformer-seq"]["published_source"] == "logs"


def test_gains_are_paired_by_trial(out: Path, store: Store) -> None:
    found = {
        r["trial"]: float(r["value"])
        for r in rows(out, "gains")
        if r["kind"] == "trial" and r["column"] == "A" and r["row"] == "LSTM → Transformer minus Transformer"
    }
    for trial in (0, 1):
        expected = macro(store, "LSTM → Transformer", trial, "A") - macro(store, "Transformer", trial, "A")
        assert found[str(trial)] == pytest.approx(expected, abs=1e-12)


def test_groups_tell_their_size_and_their_rows(out: Path, store: Store) -> None:
    sizes = {r["row"]: r["value"] for r in rows(out, "attractors-accuracy") if r["column"] == "examples"}
    assert sizes == {"0": "4", "1": "12", "2": "12", "3": "12", "4": "12", "5": "12"}
    three = [[r for r in answers(store, "LSTM", t) if r["test"] == "numpred-3"] for t in (0, 1)]
    assert float(cells(out, "attractors-accuracy")["3", "LSTM"]["mean"]) == pytest.approx(fmean(map(share, three)))
    by_label = [[share([r for r in rows if r["label"] == label]) for label in (0, 1)] for rows in three]
    assert float(cells(out, "attractors-balanced")["3", "LSTM"]["mean"]) == pytest.approx(fmean(map(fmean, by_label)))
    chosen = [
        [r for r in answers(store, "LSTM", t) if r["test"] == "gulordava" and r["attractors"] == 2] for t in (0, 1)
    ]
    assert float(cells(out, "gulordava")["2", "LSTM"]["mean"]) == pytest.approx(fmean(map(share, chosen)))


def test_the_lead_says_what_the_numbers_are_made_of(out: Path) -> None:
    text = (out / "report.md").read_text().replace("\\", "")
    assert "0: wiki, at distance 1 (4); 1: numpred-1, 1 attractor, no other noun between (12)" in text
    assert f"{7 * len(made.REAL)} examples whose words before the verb" in text
    assert "the smallest group, distance 1, has 4 examples" in text and "no error of either" in text


def test_one_trial_and_holes_are_seen(one_trial: Path) -> None:
    page = (one_trial / "report.html").read_text()
    runs = len(agreement.study("demo", trials=1).runs)
    assert f"1 of {runs} runs are missing: LSTM → Transformer, trial 0" in page
    assert "D-accuracy is undefined: no example with distance 16; never counted as 0" in page
    found = cells(one_trial, "headline")
    assert found["LSTM", "D"]["text"] == "missing" and found["LSTM → Transformer", "A"]["text"] == "missing"
    assert float(found["LSTM", "D over the groups present (not 16)"]["mean"]) > 0
    assert {r["text"] for r in rows(one_trial, "gains") if r["kind"] == "text"} == {"too few trials"}
    assert all(row["published"] == "" for row in rows(one_trial, "headline"))
    assert "generated, so no published number" in page


def test_the_language_models_tables(lm: Path) -> None:
    found = cells(lm, "table1")
    assert (
        50
        < float(found["LSTM", "perplexity"]["mean"])
        < 51
        < float(found["LSTM", "perplexity, mean of batches"]["mean"])
    )
    assert found["LSTM", "perplexity"]["published"] == "56.68"
    square = cells(lm, "table3b")["Transformer", "teacher LSTM"]
    assert square["published"] == "57.03"
    assert cells(lm, "headline")["LSTM → Transformer", "perplexity"]["mean"] == square["mean"]
    assert cells(lm, "table7")["Transformer", "train D"]["published"] == "0.956"


def test_nothing_done_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to report: no run of agreement-laptop is finished in"):
        write_report(STUDY, Store(tmp_path / "store"), None, tmp_path / "report")


def test_the_list_has_every_task() -> None:
    *_, tasks = listing()
    assert list(tasks.columns[0].cells) == ["vision", "agreement-classification", "agreement-lm"]
