"""Probes of finished runs: what is kept is what the trained model does, and it needs the weights only once."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests import tiny, words

from distillbias.evaluation import probes, sentence_probes
from distillbias.evaluation.predict import sample_rows
from distillbias.studies import probing
from distillbias.studies.execute import load_splits
from distillbias.studies.lessons import load_model
from distillbias.studies.run import Run
from distillbias.studies.store import Store


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few images and sentences."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"IMAGES": 20, "REACH": 1, "SCALES": (0.7, 1.0), "SENTENCES": 30, "MADE": 6}.items():
            patch.setattr(probing, name, value)
        patch.setattr(probing, "OFFSETS", ((0, 4), (-1, 0)))
        yield


@pytest.fixture()
def copied(store: Store, tmp_path: Path) -> Store:
    """A store of its own with the same runs."""
    shutil.copytree(store.root / "runs", tmp_path / "runs")
    return Store(tmp_path)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Run]]:
    """A store with an LSTM that was trained on sentences."""
    load_splits.cache_clear()
    run = words.agreement_study().arms["LSTM"][0]
    with words.small_grammar():
        yield tiny.trained(tmp_path_factory.mktemp("spoken"), run), run
    load_splits.cache_clear()


def equal(one: object, other: object) -> bool:
    """Whether two probes are the same in kind and every number."""
    mine, theirs = (dict(vars(each)) for each in (one, other))
    for each in (mine, theirs):
        each |= each.pop("maps", {})
    assert mine.keys() == theirs.keys() and type(one) is type(other)
    return all(np.array_equal(mine[name], theirs[name], equal_nan=True) for name in mine)


def test_probes_are_of_the_trained_model_on_the_sample(copied: Store) -> None:
    test, model = load_splits(tiny.TASK, None).tests["clean"], load_model(tiny.ALONE, copied)
    rows = sample_rows(test, 20, 0)
    images, labels = test.inputs[rows], test.labels[rows]
    assert equal(probing.shift(tiny.ALONE, copied, None), probes.shift_probe(model, images, labels, 1))
    assert equal(probing.scale(tiny.ALONE, copied, None), probes.scale_probe(model, images, labels, (0.7, 1.0)))
    expected = probes.equivariance_error(model, images, ((0, 4), (-1, 0)))
    assert equal(probing.equivariance(tiny.ALONE, copied, None), expected)
    assert not equal(probing.shift(tiny.STUDENT, copied, None), probing.shift(tiny.ALONE, copied, None))
    assert len(list((copied.root / "analyses").iterdir())) == 4


KINDS = (probing.shift, probing.scale, probing.equivariance)


@pytest.mark.parametrize("probe", KINDS)
def test_a_kept_probe_needs_no_weights(probe: Callable, copied: Store) -> None:
    first = probe(tiny.ALONE, copied, None)
    for run in (tiny.ALONE, tiny.STUDENT):
        (copied.folder(run) / "weights.safetensors").unlink()
    assert equal(probe(tiny.ALONE, copied, None), first)
    assert probe(tiny.STUDENT, copied, None) is None


def test_other_settings_are_another_probe(copied: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probing.shift(tiny.ALONE, copied, None).error.shape == (3, 3)
    monkeypatch.setattr(probing, "REACH", 2)
    assert probing.shift(tiny.ALONE, copied, None).error.shape == (5, 5)


def test_maps_come_back_with_their_holes(tmp_path: Path) -> None:
    """nan is kept for an offset that is no multiple of a stride."""
    run = tiny.vision_study(trials=1).arms["CNN"][0]
    store = tiny.trained(tmp_path, run)
    first, again = (probing.equivariance(run, store, None) for _ in range(2))
    assert equal(first, again) and np.isnan(again.maps["stage2"]).tolist() == [False, True]
    assert again.maps["stage0"].max() < 1e-5 and again.offsets.tolist() == [[0, 4], [-1, 0]]


def test_sentence_probes_are_of_the_trained_model(spoken: tuple[Store, Run]) -> None:
    store, run = spoken
    splits, model = load_splits(run.task, None), load_model(run, store)
    test = splits.tests["natural"]
    rows = sample_rows(test, 30, 0)
    sample = probing.Examples(
        test.inputs[rows], test.labels[rows], rows, "", "", columns={"distance": test.columns["distance"][rows]}
    )
    assert equal(probing.occlusion(run, store, None), sentence_probes.occlusion(model, sample, 12))
    known = probing.Vocabulary(splits.vocabulary)
    longest = max(int((row != 0).sum()) for row in splits.train.inputs) - 1
    assert equal(probing.place(run, store, None), sentence_probes.place_probe(model, known, 6, 0))
    found = probing.length(run, store, None)
    assert equal(found, sentence_probes.length_probe(model, known, longest, 6, 0)) and found.longest == longest
    assert probing.speaks(run, store)


def test_where_the_words_are_not_known_nothing_is_made(
    spoken: tuple[Store, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run = spoken
    monkeypatch.setattr(sentence_probes, "FEWEST_NOUNS", 10_000)
    assert probing.place(run, store, None) is None and probing.length(run, store, None) is None
    assert not probing.speaks(run, store)


def test_sentence_probes_are_for_sentences(copied: Store) -> None:
    for probe in (probing.occlusion, probing.place, probing.length):
        assert probe(tiny.ALONE, copied, None) is None
