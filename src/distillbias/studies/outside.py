"""Score a finished run on data from outside, slice by slice."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table
from rich.text import Text

from distillbias.data.text import printable
from distillbias.errors import InputError
from distillbias.evaluation.predict import predict
from distillbias.studies.execute import language_scores, scores
from distillbias.studies.lessons import load_model
from distillbias.studies.store import Store
from distillbias.tasks.task import Examples

SLICED_BY = ("attractors", "distance")  # columns whose values make slices of their own

Scores = dict[str, float | int]


class Scored(NamedTuple):
    label: str  # the run's
    slices: dict[str, Scores]
    skipped: tuple[str, ...]  # bad rows left out


def score_outside(name: str, path: Path, store: Store, device: str = "cpu", skip_bad: bool = False) -> Scored:
    """Scores of the run `name` on every slice of `path`, in any format that its task reads.

    Raises:
        InputError: no such run or file, an unknown format, a bad row (unless `skip_bad`), or words that the model
            does not know.
    """
    record = store.find(name)
    if not path.exists():
        raise InputError(f"nothing to score in {path}: there is no such file or folder")
    read = record.run.task.read(path, record.vocabulary, skip_bad)
    model = load_model(record.run, store, device)
    found: dict[str, Scores] = {}
    for title, examples in read.slices.items():
        logits, _ = predict(model, examples)
        found[title] = scores(logits, examples.labels) | language_scores(model, examples)
        for column in SLICED_BY:
            found |= _by_column(title, column, examples, logits)
    return Scored(record.facts["label"], found, read.skipped)


def _by_column(title: str, column: str, examples: Examples, logits: np.ndarray) -> dict[str, Scores]:
    """A slice for each value that is known of some example."""
    values = examples.columns.get(column, np.zeros(0, np.int32))
    known = [int(value) for value in np.unique(values) if value >= 0]
    if len(known) < 2:
        return {}
    return {
        f"{title}, {column} {value}": scores(logits[values == value], examples.labels[values == value])
        for value in known
    }


def score_table(scored: Scored) -> Table:
    """A row for each slice. Names are shown as they are: what looks like markup in them is none."""
    caption = f"{len(scored.skipped):,} bad rows left out" if scored.skipped else None
    columns = {"accuracy": "accuracy", "ece": "ECE (15 bins)", "nll": "NLL"}
    if any("perplexity" in score for score in scored.slices.values()):
        columns["perplexity"] = "perplexity"
    table = Table("slice", "n", *columns.values(), title=Text(printable(scored.label), "table.title"), caption=caption)
    for title, score in scored.slices.items():
        numbers = (f"{score[metric]:.4f}" if metric in score else "" for metric in columns)
        table.add_row(Text(printable(title)), f"{score['n']:,}", *numbers)
    return table
