"""Sections on probes: their numbers are the probes', every run that is left out is named, every trial is drawn."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from matplotlib.colors import to_hex
from tests import tiny, words

from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.evidence import Evidence
from distillbias.report.figures_probes import Curves, draw_curves, draw_shift_maps
from distillbias.report.figures_style import look
from distillbias.report.html import Section
from distillbias.report.probes import sentence_probes, vision_probes
from distillbias.report.published_agreement import CLASSIFICATION
from distillbias.report.tables import Cell, Table
from distillbias.report.writing import Gallery
from distillbias.studies import agreement_lm, probing
from distillbias.studies.execute import load_splits
from distillbias.studies.store import Store
from distillbias.studies.study import Study

ARMS = ("CNN", "MLP", "CNN → MLP")
EVERY = tiny.vision_study(trials=2)
STUDY = Study("vision", "tiny", "Does it?", {arm: EVERY.arms[arm] for arm in ARMS})
SPOKEN = ("LSTM", "Transformer", "LSTM → Transformer")
SENTENCES = Study("agreement", "tiny", "Does it?", {arm: words.agreement_study().arms[arm] for arm in SPOKEN})


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few images, offsets and sentences."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"IMAGES": 12, "REACH": 3, "SCALES": (0.7, 1.0), "SENTENCES": 60, "MADE": 6}.items():
            patch.setattr(probing, name, value)
        patch.setattr(probing, "OFFSETS", tuple((far, 0) for far in probing.DISTANCES))
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny.trained(tmp_path_factory.mktemp("probed"), *STUDY.runs)


@pytest.fixture(scope="module")
def section(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Section:
    gallery = Gallery(tmp_path_factory.mktemp("section"))
    return vision_probes(Evidence(STUDY, store, None), gallery, (*ARMS, "no such arm"))


def entry(table: Table, row: str, column: str) -> object:
    return table.cells[table.rows.index(row)][table.columns.index(column)]


def test_numbers_are_the_probes(section: Section, store: Store) -> None:
    (table,) = section.tables
    assert table.rows == (*ARMS, "CNN → MLP minus MLP")
    found = {arm: [probing.shift(run, store, None) for run in STUDY.arms[arm]] for arm in ARMS}
    means = {arm: [(p.error.sum() - p.error[3, 3]) / 48 for p in probes] for arm, probes in found.items()}
    for arm in ARMS:
        assert entry(table, arm, "error within 3 pixels").values == pytest.approx(means[arm])
    gain = entry(table, "CNN → MLP minus MLP", "error within 3 pixels")
    assert gain.values == pytest.approx(np.subtract(means["CNN → MLP"], means["MLP"])) and gain.trials == (0, 1)
    inside = [probing.equivariance(run, store, None) for run in STUDY.arms["MLP"]]
    expected = [fmean(probe.invariance.tolist()) for probe in inside]
    assert entry(table, "MLP", "change of representation").values == pytest.approx(expected)
    small = [probing.scale(run, store, None).change[0] for run in STUDY.arms["MLP"]]
    assert entry(table, "MLP", "output change at size 0.7").values == pytest.approx(small)


def test_only_what_has_maps_is_asked_for_them(section: Section) -> None:
    (table,) = section.tables
    column = "equivariance error of the last map"
    assert max(entry(table, "CNN", column).values) < 1e-5
    assert [entry(table, row, column) for row in table.rows[1:]] == [None] * 3
    assert not table.holes


def test_a_run_without_weights_is_named_and_a_hole(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.root / "runs", tmp_path / "store" / "runs")
    copy, left = Store(tmp_path / "store"), STUDY.arms["CNN → MLP"][0]
    (copy.folder(left) / "weights.safetensors").unlink()
    found = vision_probes(Evidence(STUDY, copy, None), Gallery(tmp_path), ARMS)
    assert found.paragraphs[0] == "Left out, as they came without their weights: CNN → MLP, trial 0."
    cell = entry(found.tables[0], "CNN → MLP minus MLP", "error within 3 pixels")
    assert isinstance(cell, Cell) and (cell.count, cell.trials) == ("n=1 of 2", (1,))
    for run in STUDY.runs:
        (copy.folder(run) / "weights.safetensors").unlink(missing_ok=True)
    shutil.rmtree(copy.root / "analyses")
    nothing = vision_probes(Evidence(STUDY, copy, None), Gallery(tmp_path), ARMS)
    assert not nothing.tables and not nothing.pictures and "can be probed" in nothing.paragraphs[-1]


def test_nothing_finished_is_no_crash(tmp_path: Path) -> None:
    found = vision_probes(Evidence(STUDY, Store(tmp_path), None), Gallery(tmp_path), ARMS)
    assert found.paragraphs == ("No run of this section can be probed.",)
    evidence = AgreementEvidence(SENTENCES, Store(tmp_path), None, CLASSIFICATION)
    assert sentence_probes(evidence, Gallery(tmp_path), SPOKEN).paragraphs == found.paragraphs


def test_every_trial_is_drawn_and_the_mean() -> None:
    rows = [np.array([0.1, 0.3, 0.2]), np.array([0.3, 0.5, np.nan])]
    figure = draw_curves([Curves("a", [1, 2, 3], "x", "y", {"MLP": rows}), Curves("b", [1], "x", "y", {"MLP": []})])
    (panel,) = [axes for axes in figure.axes if axes.axison]  # a panel without values is not drawn
    drawn = [line for line in panel.lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal([line.get_ydata() for line in drawn[:2]], rows)
    np.testing.assert_allclose(drawn[2].get_ydata(), [0.2, 0.4, np.nan])
    assert drawn[2].get_linewidth() > drawn[0].get_linewidth()
    assert {to_hex(line.get_color()) for line in drawn} == {look("MLP").colour}


def test_maps_share_one_scale_and_lie_as_they_are_named() -> None:
    values = np.zeros((9, 9))
    values[8, 0] = 1.0  # moved down by 4, left by 4
    figure = draw_shift_maps({"error rate": {"CNN": values, "MLP": values / 2}}, inner=2)
    images = [axes.images[0] for axes in figure.axes[:2]]
    assert {image.get_clim() for image in images} == {(0, 1)}
    left, right, bottom, top = images[0].get_extent()
    assert (left, right, bottom, top) == (-4.5, 4.5, 4.5, -4.5)  # the last row is at the bottom, where dy is 4
    assert [axes.get_title("left") for axes in figure.axes[:2]] == ["CNN", "MLP"]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Section]]:
    load_splits.cache_clear()
    with words.small_grammar():
        store = tiny.trained(tmp_path_factory.mktemp("spoken"), *SENTENCES.runs)
        evidence = AgreementEvidence(SENTENCES, store, None, CLASSIFICATION)
        yield store, sentence_probes(evidence, Gallery(tmp_path_factory.mktemp("words")), SPOKEN)
    load_splits.cache_clear()


def test_numbers_on_sentences_are_the_probes(spoken: tuple[Store, Section]) -> None:
    store, section = spoken
    (table,) = section.tables
    assert table.rows == (*SPOKEN, "LSTM → Transformer minus Transformer") and len(section.pictures) == 1
    for arm in SPOKEN:
        run = SENTENCES.arms[arm][0]
        hidden, place, length = (
            probe(run, store, None) for probe in (probing.occlusion, probing.place, probing.length)
        )
        beyond = [a for a, words in zip(length.attracted, length.lengths, strict=True) if words > length.longest]
        assert entry(table, arm, "word before the verb occluded").values == pytest.approx([hidden.change[0]])
        assert entry(table, arm, "attractor at the verb").values == pytest.approx([place.accuracy[0]])
        assert entry(table, arm, "longer than training, attractors only").values == pytest.approx([np.mean(beyond)])


def test_unknown_words_are_told(spoken: tuple[Store, Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, whole = spoken
    monkeypatch.setattr(probing.sentence_probes, "FEWEST_NOUNS", 10_000)
    evidence = AgreementEvidence(SENTENCES, store, None, CLASSIFICATION)
    section = sentence_probes(evidence, Gallery(tmp_path), SPOKEN)
    assert "knows too few words" in section.paragraphs[-1]
    assert section.tables[0].columns == whole.tables[0].columns[:2]
    assert len(section.pictures) == 1


def test_language_models_are_told_apart(tmp_path: Path) -> None:
    evidence = AgreementEvidence(agreement_lm.study("demo"), Store(tmp_path), None, CLASSIFICATION)
    found = sentence_probes(evidence, Gallery(tmp_path), ("LSTM",))
    assert "not for language models" in found.paragraphs[0] and not found.tables
