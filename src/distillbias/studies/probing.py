"""Probes of finished runs (`evaluation.probes`, `evaluation.sentence_probes`). Kept on disk: one takes up to minutes.

Each is asked for by (run, store, data) and is None for a run that came without its weights and was never probed here.
The sentence probes are for classifiers, and those that make their own sentences are None, too, where the vocabulary
knows too few of their words.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from distillbias.data.vocabulary import Vocabulary
from distillbias.evaluation import probes, sentence_probes
from distillbias.evaluation.predict import sample_rows
from distillbias.studies.execute import load_splits
from distillbias.studies.files import write_json
from distillbias.studies.lessons import load_model
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.tasks.agreement import Agreement
from distillbias.tasks.agreement_classification import AgreementClassification
from distillbias.tasks.task import Examples
from distillbias.tasks.vision import CLEAN

IMAGES = 250  # of the test set: the three probes take the CNN of the laptop scale half a minute
SENTENCES = 4_000
MADE = 400  # sentences of each condition
SEED = 0
REACH = 7  # pixels
SCALES = tuple(round(0.5 + 0.05 * step, 2) for step in range(17))  # .5 to 1.3
DISTANCES = (1, 2, 3, 4)  # pixels: of the offsets at which representations are compared, in eight directions
OFFSETS = tuple(
    (dy * far, dx * far) for far in DISTANCES for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)
)
WORDS = 12  # before the verb

Probe = TypeVar("Probe")


def shift(run: Run, store: Store, data: Path | None) -> probes.ShiftProbe | None:
    """On IMAGES seeded images of the test set, moved by up to REACH pixels."""

    def make(model: nn.Module) -> probes.ShiftProbe:
        sample = _images(run, data)
        return probes.shift_probe(model, sample.inputs, sample.labels, REACH)

    return _kept(probes.ShiftProbe, run, store, (_test(run, store, CLEAN), IMAGES, REACH), make)


def scale(run: Run, store: Store, data: Path | None) -> probes.ScaleProbe | None:
    """On the same images, at SCALES."""

    def make(model: nn.Module) -> probes.ScaleProbe:
        sample = _images(run, data)
        return probes.scale_probe(model, sample.inputs, sample.labels, SCALES)

    return _kept(probes.ScaleProbe, run, store, (_test(run, store, CLEAN), IMAGES, SCALES), make)


def equivariance(run: Run, store: Store, data: Path | None) -> probes.EquivarianceProbe | None:
    """On the same images, at OFFSETS."""

    def make(model: nn.Module) -> probes.EquivarianceProbe:
        return probes.equivariance_error(model, _images(run, data).inputs, OFFSETS)

    return _kept(probes.EquivarianceProbe, run, store, (_test(run, store, CLEAN), IMAGES, OFFSETS), make)


def occlusion(run: Run, store: Store, data: Path | None) -> sentence_probes.Occlusion | None:
    """On SENTENCES seeded sentences of the test set that knows distances."""
    if not isinstance(run.task, AgreementClassification):
        return None
    test = distances_of(run.task)

    def make(model: nn.Module) -> sentence_probes.Occlusion:
        return sentence_probes.occlusion(model, _sample(run, data, test, SENTENCES), WORDS)

    return _kept(sentence_probes.Occlusion, run, store, (_test(run, store, test), SENTENCES, WORDS), make)


def place(run: Run, store: Store, data: Path | None) -> sentence_probes.PlaceProbe | None:
    """On MADE sentences of each condition."""
    words = _words(run, store)
    if words is None:
        return None

    def make(model: nn.Module) -> sentence_probes.PlaceProbe:
        return sentence_probes.place_probe(model, words, MADE, SEED)

    return _kept(sentence_probes.PlaceProbe, run, store, ("one attractor", MADE, sentence_probes.PHRASES), make)


def length(run: Run, store: Store, data: Path | None) -> sentence_probes.LengthProbe | None:
    """On MADE sentences of each length, up to twice the longest training sentence."""
    words = _words(run, store)
    if words is None:
        return None

    def make(model: nn.Module) -> sentence_probes.LengthProbe:
        longest = int((load_splits(run.task, data).train.inputs != 0).sum(1).max()) - 1  # `<eos>` is no word
        return sentence_probes.length_probe(model, words, longest, MADE, SEED)

    return _kept(sentence_probes.LengthProbe, run, store, ("no attractor, or all", MADE, sentence_probes.SHARES), make)


def distances_of(task: Agreement) -> str:
    """The test set that D-accuracy is of: it tells where each subject stands."""
    return task.by_distance[1].test


def speaks(run: Run, store: Store) -> bool:
    """Whether the vocabulary of a finished run has the words of `place` and `length`."""
    return _words(run, store) is not None


def _words(run: Run, store: Store) -> Vocabulary | None:
    known = store.record(run).vocabulary
    if not isinstance(run.task, AgreementClassification) or not known:
        return None
    vocabulary = Vocabulary(known)
    return vocabulary if sentence_probes.sayable(vocabulary) else None


def _images(run: Run, data: Path | None) -> Examples:
    return _sample(run, data, CLEAN, IMAGES)


def _sample(run: Run, data: Path | None, test: str, count: int) -> Examples:
    examples = load_splits(run.task, data).tests[test]
    rows = sample_rows(examples, count, SEED)
    columns = {name: values[rows] for name, values in examples.columns.items()}
    return Examples(
        examples.inputs[rows], examples.labels[rows], rows, examples.origin, examples.fingerprint, columns=columns
    )


def _test(run: Run, store: Store, test: str) -> str:
    """The fingerprint of a test set, as the record has it."""
    return store.record(run).facts["tests"][test]["fingerprint"]


def _kept(
    kind: type[Probe], run: Run, store: Store, settings: tuple[Any, ...], make: Callable[[nn.Module], Probe]
) -> Probe | None:
    """The probe as it was kept for these weights and settings; else made and kept, if the weights are there.

    `settings` are all that a result depends on beside the weights; a probe that measures another thing needs others.
    """
    weights = store.record(run).facts.get("weights")
    key = json.dumps([kind.__name__, SEED, *settings, weights])
    folder = store.root / "analyses"
    path = folder / f"probe-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        if not store.has_weights(run):
            return None
        folder.mkdir(exist_ok=True)
        write_json(path, _plain(vars(make(load_model(run, store)))))
    return kind(**_arrays(json.loads(path.read_text())))


def _plain(value: Any) -> Any:
    """Arrays as lists, however deep."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _arrays(value: Any) -> Any:
    """The inverse of `_plain`: lists as arrays."""
    if isinstance(value, dict):
        return {name: _arrays(each) for name, each in value.items()}
    return np.array(value) if isinstance(value, list) else value
