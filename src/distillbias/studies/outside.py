"""Score a finished run on data from outside, slice by slice."""

from pathlib import Path

import numpy as np
from rich.table import Table

from distillbias.data.images import fingerprint
from distillbias.data.outside import read_slices
from distillbias.evaluation.predict import predict
from distillbias.studies.execute import load_model, scores
from distillbias.studies.store import Store
from distillbias.tasks.task import Examples

Scores = dict[str, dict[str, float | int]]


def score_outside(name: str, path: Path, store: Store, device: str = "cpu") -> tuple[str, Scores]:
    """The run's label, and {slice: scores}; the slices are those of `data.outside.read_slices`."""
    record = store.find(name)
    model = load_model(record.run, store, device)
    found = {}
    for title, images in read_slices(path).items():
        ids = np.arange(len(images.labels))
        examples = Examples(images.pixels, images.labels, ids, images.origin, fingerprint(images))
        found[title] = scores(predict(model, examples)[0], images.labels)
    return record.facts["label"], found


def score_table(scored: tuple[str, Scores]) -> Table:
    label, found = scored
    table = Table("slice", "n", "accuracy", "ECE (15 bins)", "NLL", title=label)
    for title, score in found.items():
        numbers = (f"{score[metric]:.4f}" for metric in ("accuracy", "ece", "nll"))
        table.add_row(title, f"{score['n']:,}", *numbers)
    return table
