"""Section on representations: a map of models for each reading of the similarity, and the distances behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from distillbias.analysis.ellipses import bootstrap_map, second_order_distances, turn_map
from distillbias.analysis.similarity import Variant, similarity_matrix
from distillbias.report import figures
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery
from distillbias.studies.execute import SAMPLE
from distillbias.studies.packing import THINNED

SEED = 12345  # the authors' seed for their maps
DRAWS = 20  # samples of the inputs that an ellipse is from
READINGS: dict[Variant, str] = {
    "code": "as the authors' code: cosine between examples",
    "text": "as the paper's text: dot product between examples",
}
Pair = tuple[str, str]


@dataclass(frozen=True)
class MapPlan:
    """Which arms a map shows, which pairs of arms its table compares, on which headline columns."""

    name: str  # "figure7"
    title: str  # "Figure 7"
    arms: Sequence[str]
    pairs: Sequence[Pair]
    columns: Sequence[str]


def representations_section(evidence: Evidence, gallery: Gallery, plan: MapPlan) -> Section:
    """The maps, and the distances behind them, which mean more than the picture."""
    tests = {column.capitalize(): evidence.headline[column] for column in plan.columns}
    names = [(arm, trial) for arm in plan.arms for trial in evidence.records[arm]]
    tables, pictures, used = [], [], SAMPLE
    first = None  # the map that all others are turned onto
    for variant, reading in READINGS.items():
        maps, columns = {}, {}
        for title, test in tests.items():
            activations = common_rows([evidence.records[arm][trial].activations(test) for arm, trial in names])
            used = max((len(each) for each in activations), default=SAMPLE)
            distances = 1 - similarity_matrix(activations, variant) if names else np.empty((0, 0))
            columns[title] = mean_distances(distances, names, plan.pairs)
            if len(names) > 2:
                made = bootstrap_map(second_order_distances(activations, variant), used, DRAWS, SEED)
                made = turn_map(made, made.map.points if first is None else first)
                first = made.map.points if first is None else first
                arms = [arm for arm, _ in names]
                maps[title] = figures.PointMap(arms, made.map.points, made.map.stress, made.ellipses)
        tables.append(_distance_table(columns, plan.pairs, variant, reading))
        pictures.append(
            gallery.add(
                figures.draw_map(maps),
                f"{plan.name}-{variant}",
                f"{plan.title}, {reading}",
                f"Each point is a trained model; near means that {used:,} test examples lie alike in its penultimate "
                "layer; markers that hide one another are models that are alike, by the distances in the table. "
                f"Stress says how much the plane distorts: 0 is nothing. Ellipses, from {DRAWS} draws of the examples "
                "with replacement, say where a model would lie with another sample of test examples, not with other "
                "seeds; all maps are turned onto the first.",
            )
        )
    text = (
        f"Representations are compared by second-order similarity: which of {used:,} fixed test examples a model finds "
        "alike, in its penultimate layer, in evaluation mode, as one matrix; distance is 1 minus similarity."
    )
    return Section("Representations", (text,), tuple(tables), tuple(pictures))


def common_rows(activations: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The examples that all models kept: a packed run has each fourth of the sample (`studies.packing`)."""
    fewest = min((len(each) for each in activations), default=0)
    return [each if len(each) == fewest else each[::THINNED] for each in activations]


def mean_distances(
    distances: np.ndarray, names: Sequence[tuple[str, int]], pairs: Sequence[Pair]
) -> dict[Pair, list[float]]:
    """All pairs of different trials of two arms: a student and its own teacher are left out, to be fair to all.

    `distances` is [models, models], `names[i]` the arm and trial of model i.
    """
    found: dict[Pair, list[float]] = {pair: [] for pair in pairs}
    for (i, (arm, trial)), (j, (other, another)) in combinations(enumerate(names), 2):
        if trial != another:
            for pair in {(arm, other), (other, arm)} & found.keys():
                found[pair].append(float(distances[i, j]))
    return found


def _distance_table(
    columns: dict[str, dict[Pair, list[float]]], pairs: Sequence[Pair], variant: Variant, reading: str
) -> Table:
    rows, cells = [], []
    for pair in pairs:
        rows.append(f"{pair[0]}  –  {pair[1]}")
        cells.append(tuple(_mean_sd(columns[title][pair]) for title in columns))
    caption = (
        f"Mean ± sample standard deviation over all pairs of different trials, {reading}. Pairs share models, so "
        "the spread is not an error of the mean."
    )
    title = f"Representational distances, {variant} reading"
    return Table(f"distances-{variant}", title, caption, tuple(columns), tuple(rows), tuple(cells), "pair")


def _mean_sd(values: list[float]) -> Entry:
    if len(values) < 2:
        return "too few trials"
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} ({len(values)} pairs)"
