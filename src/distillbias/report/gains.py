"""What distillation changed: each student against the same model from labels, paired by trial."""

from collections.abc import Mapping, Sequence

import numpy as np

from distillbias.analysis.statistics import paired_difference
from distillbias.report.evidence import Evidence, Trials
from distillbias.report.tables import Entry, Table

CAPTION = (
    "{what} of a student minus that of the same model from labels, trial by trial (same initial weights and "
    "order of data). t-interval over trials; p from the exact sign-flip test, which cannot be below 2 / 2ⁿ "
    "with n trials."
)


def gains_table(
    evidence: Evidence, arms: Sequence[str], scores: Mapping[str, Mapping[str, Trials]], what: str = "Accuracy"
) -> Table:
    """Rows are the students ("teacher → student"); `scores` are {column: {arm: {trial: value}}}."""
    rows, cells = [], []
    for arm in arms:
        alone = arm.split(" → ")[1]
        row: list[Entry] = []
        for by_arm in scores.values():
            ours, theirs = by_arm[arm], by_arm[alone]
            trials = sorted(ours.keys() & theirs.keys())
            row.append(evidence.cell_of({trial: ours[trial] - theirs[trial] for trial in trials}))
            row.append(interval([ours[t] for t in trials], [theirs[t] for t in trials]))
        rows.append(f"{arm} minus {alone}")
        cells.append(tuple(row))
    columns = tuple(f"{column}{end}" for column in scores for end in ("", ": 95 % interval, p"))
    caption = CAPTION.format(what=what)
    return Table("gains", "What distillation changed", caption, columns, tuple(rows), tuple(cells), "pair")


def interval(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The 95 % interval of the mean difference and its p-value, or that there are too few trials."""
    if len(ours) < 2:
        return "too few trials"
    paired = paired_difference(np.array(ours), np.array(theirs))
    low, high = paired.difference.low, paired.difference.high
    spread, p = f"[{low:+.4f}, {high:+.4f}]", f"p = {paired.p_value:.3f}"
    return " ".join(part.replace("-", "−").replace(" ", "\N{NO-BREAK SPACE}") for part in (f"{spread},", p))
