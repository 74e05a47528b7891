"""Representations against their nulls, and basins after the hidden units are aligned."""

import numpy as np

from distillbias.analysis.nulls import Null, permutation_null
from distillbias.analysis.representation import MEASURES
from distillbias.report.distances import common_rows
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.tables import Cell, Entry, Table
from distillbias.report.transfer_scores import Plan
from distillbias.report.writing import Gallery
from distillbias.studies.basins import aligned_height, line
from distillbias.studies.packing import THINNED
from distillbias.studies.run import Run

DRAWS = 200
ROWS = 250  # test examples compared: the null of a measure takes up to half a second at 32 and 64 units


def nulls_section(evidence: Evidence, gallery: Gallery, plan: Plan) -> Section:
    """How alike each arm is to the teacher, by every measure, beside what shuffled examples give."""
    arms = [arm for arm in (plan.taught, plan.itself, plan.student) if evidence.records.get(arm)]
    tables = tuple(_table(evidence, plan, arms, column, test) for column, test in evidence.headline.items())
    text = (
        f"Penultimate activations of {ROWS} test examples, each arm against the {plan.teacher} of its own trial, by "
        f"{len(MEASURES)} measures; below each, the 95th percentile of {DRAWS} values with the examples of one side "
        "shuffled. Likeness is what lies above it, and only measures that agree are worth a claim."
    )
    return Section("Representations, with nulls", (text,), tables)


def _table(evidence: Evidence, plan: Plan, arms: list[str], column: str, test: str) -> Table:
    rows, cells = [], []
    for arm in arms:
        found = {trial: _nulls(evidence, plan, arm, trial, test) for trial in evidence.both(arm, plan.teacher)}
        rows += [f"{arm} – {plan.teacher}", "by chance, 95th percentile"]
        for field in ("observed", "upper"):
            values = [{trial: getattr(each[name], field) for trial, each in found.items()} for name in MEASURES]
            cells.append(tuple(_cell(evidence, value) for value in values))
    caption = "Higher is more alike. Second-order similarity in both readings includes each example with itself (T8)."
    columns = tuple(name.replace("_", " ") for name in MEASURES)
    title = f"Likeness to the teacher, {evidence.title(column)}"
    return Table(f"nulls-{column}", title, caption, columns, tuple(rows), tuple(cells), "pair")


def _nulls(evidence: Evidence, plan: Plan, arm: str, trial: int, test: str) -> dict[str, Null]:
    pair = common_rows([evidence.records[each][trial].activations(test) for each in (arm, plan.teacher)])
    step = THINNED if len(pair[0]) >= THINNED * ROWS else 1
    ours, theirs = (np.ascontiguousarray(each[::step][:ROWS]) for each in pair)
    return {name: permutation_null(measure, ours, theirs, DRAWS) for name, measure in MEASURES.items()}


def _cell(evidence: Evidence, values: dict[int, float]) -> Entry:
    if values and not np.isfinite(list(values.values())).all():
        return "undefined: constant"
    return evidence.cell_of(values, 3)


def aligned_section(evidence: Evidence, gallery: Gallery, plan: Plan) -> Section:
    """Barriers between models of different trials, which share no initial weights, before and after alignment."""
    rows, cells = [], []
    for arm in (plan.student, plan.taught, plan.itself):
        runs = {trial: run for trial, run in evidence.runs(arm).items() if evidence.store.has_weights(run)}
        pairs = list(zip(sorted(runs), sorted(runs)[1:], strict=False))
        rows.append(f"{arm} – {arm}")
        found = {first: _heights(evidence, runs[first], runs[other]) for first, other in pairs}
        cells.append(
            tuple(Cell(tuple(each[i] for each in found.values()), expected=evidence.study.trials - 1) for i in (0, 1))
            if found
            else ("weights are not here", "")
        )
    caption = (
        "Height of the barrier of the test loss, in nats, between the models of trial t and t + 1; batch-norm "
        "statistics refreshed at each of 21 points. Aligned: hidden units of the second "
        "permuted to lie near the first's."
    )
    table = Table(
        "barriers-aligned",
        "Barriers between different initial weights",
        caption,
        ("as they are", "aligned"),
        tuple(rows),
        tuple(cells),
        "pair",
    )
    return Section("Loss basins, hidden units aligned", (), (table,))


def _heights(evidence: Evidence, first: Run, other: Run) -> tuple[float, float]:
    pair = first, other, evidence.store, evidence.data
    return line(*pair).heights[0], aligned_height(*pair)
