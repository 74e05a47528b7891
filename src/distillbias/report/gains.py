"""What distillation changed: each student against the same model from labels, paired by trial."""

from collections.abc import Iterable, Mapping, Sequence

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
    pairs = {arm: arm.split(" → ")[1] for arm in arms}
    rows = tuple(f"{arm} minus {alone}" for arm, alone in pairs.items())
    cells = tuple(minus(evidence, arm, alone, scores) for arm, alone in pairs.items())
    return Table("gains", "What distillation changed", CAPTION.format(what=what), columns(scores), rows, cells, "pair")


def columns(scores: Iterable[str]) -> tuple[str, ...]:
    """Of a table whose rows are `minus`."""
    return tuple(f"{column}{end}" for column in scores for end in ("", ": 95 % interval, p"))


def minus(evidence: Evidence, ours: str, theirs: str, scores: Mapping[str, Mapping[str, Trials]]) -> tuple[Entry, ...]:
    """Of each score, `ours` minus `theirs` in the trials that both have, and its interval."""
    row: list[Entry] = []
    for by_arm in scores.values():
        one, other = by_arm[ours], by_arm[theirs]
        trials = sorted(one.keys() & other.keys())
        row.append(evidence.cell_of({trial: one[trial] - other[trial] for trial in trials}))
        row.append(interval([one[t] for t in trials], [other[t] for t in trials]))
    return tuple(row)


def interval(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """The 95 % interval of the mean difference and its p-value, or that there are too few trials."""
    if len(ours) < 2:
        return "too few trials"
    paired = paired_difference(np.array(ours), np.array(theirs))
    low, high = paired.difference.low, paired.difference.high
    spread, p = f"[{low:+.4f}, {high:+.4f}]", f"p = {paired.p_value:.3f}"
    return " ".join(part.replace("-", "−").replace(" ", "\N{NO-BREAK SPACE}") for part in (f"{spread},", p))
