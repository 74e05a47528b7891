"""Does the student answer as its teacher does? Agreement, divergence, errors copied and corrected."""

from dataclasses import fields

import numpy as np

from distillbias.analysis.fidelity import Fidelity, fidelity
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.tables import Entry, Table
from distillbias.report.transfer_scores import Plan, Slice
from distillbias.report.writing import Gallery
from distillbias.studies.record import Record

TITLES = {
    "agreement": "same answer",
    "chance_agreement": "same, by chance",
    "divergence": "KL to teacher, nats",
    "consistency": "error consistency κ",
    "copied": "errors copied",
    "corrected": "errors corrected",
    "broken": "newly wrong",
}
assert TITLES.keys() <= {field.name for field in fields(Fidelity)}
BY_SLICE = {"agreement": "Same answer as the teacher", "consistency": "Error consistency with the teacher (κ)"}


def fidelity_section(evidence: Evidence, gallery: Gallery, plan: Plan) -> Section:
    """One table a headline test set, and agreement and κ over all slices."""
    arms = (plan.student, *plan.students(evidence))
    found = {
        arm: {title: compare(evidence, plan.teacher, arm, where) for title, where in plan.slices.items()}
        for arm in arms
    }
    tables = []
    for column, test in evidence.headline.items():
        titles = [title for title, (name, row) in plan.slices.items() if name == test and row is None]
        if titles:
            tables.append(_table(evidence, plan, evidence.title(column), found, titles[0]))
    tables += [_by_slice(evidence, plan, found, field) for field in BY_SLICE]
    text = (
        f"Every arm is compared with the {plan.teacher} of its own trial, whoever taught it; {plan.student} is the "
        "model from labels, which knows nothing of it. Copied: of the teacher's errors, those with the same wrong "
        "answer; corrected: those that are right; newly wrong: of what the teacher has right."
    )
    return Section("Fidelity", (text,), tuple(tables))


def compare(evidence: Evidence, teacher: str, arm: str, where: Slice) -> dict[int, Fidelity]:
    """{trial: fidelity} on a slice; slices without examples are not there."""
    found = {}
    for trial in evidence.both(arm, teacher):
        ours, theirs = (_rows(evidence.records[each][trial], where) for each in (arm, teacher))
        if len(ours[1]):
            found[trial] = fidelity(ours[0], theirs[0], ours[1])
    return found


def _rows(record: Record, where: Slice) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of a slice; none where the test set is not there."""
    test, row = where
    if test not in record.facts["tests"]:
        return np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
    rows = record.predictions(test)
    chosen = slice(None) if row is None else rows.columns[row[0]] == row[1]
    return rows.logits[chosen], rows.labels[chosen]


Found = dict[str, dict[str, dict[int, Fidelity]]]  # arm -> slice -> trial


def _cell(evidence: Evidence, found: dict[int, Fidelity], field: str) -> Entry:
    values = {trial: float(getattr(one, field)) for trial, one in found.items()}
    if values and not np.isfinite(list(values.values())).all():
        return "undefined"
    return evidence.cell_of(values, 3)


def _table(evidence: Evidence, plan: Plan, title: str, found: Found, where: str) -> Table:
    cells = tuple(tuple(_cell(evidence, by[where], field) for field in TITLES) for by in found.values())
    name = "fidelity-" + "-".join(where.split())
    caption = f"Against the {plan.teacher} of the same trial. κ: 0 is chance, 1 the same examples wrong."
    return Table(name, f"Fidelity, {title}", caption, tuple(TITLES.values()), tuple(found), cells, "arm")


def _by_slice(evidence: Evidence, plan: Plan, found: Found, field: str) -> Table:
    arms = [arm for arm in (plan.student, plan.taught, plan.itself) if arm in found]
    cells = tuple(tuple(_cell(evidence, by, field) for by in found[arm].values()) for arm in arms)
    caption = f"Against the {plan.teacher} of the same trial."
    return Table(f"fidelity-{field}", BY_SLICE[field], caption, tuple(plan.slices), tuple(arms), cells, "arm")
