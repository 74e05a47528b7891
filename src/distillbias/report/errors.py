"""Section on errors: who is wrong where, and whether a student is wrong where its teacher is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distillbias.analysis.overlap import counts, expected_jaccard, jaccard
from distillbias.report import figures
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery

Member = tuple[str, int]  # an arm, and how many trials further on (0: the same trial)
REGIONS = ("A only", "B only", "A and B", "C only", "A and C", "B and C", "all", "none")


@dataclass(frozen=True)
class ErrorPlan:
    """Which error sets are drawn and which pairs compared; `figures` are {headline column: (name, title)}."""

    panels: Mapping[str, tuple[Member, Member, Member]]
    pairs: Sequence[tuple[str, Member, Member]]
    figures: Mapping[str, tuple[str, str]]
    what: str  # "test images"

    @property
    def arms(self) -> set[str]:
        return {arm for _, *members in self.pairs for arm, _ in members} | {
            arm for members in self.panels.values() for arm, _ in members
        }


def errors_section(evidence: Evidence, gallery: Gallery, plan: ErrorPlan) -> Section:
    """Venn diagrams of the first trial, and every trial's Jaccard index against its chance level."""
    pictures, tables = [], []
    groups: dict[str, Overlaps] = {}
    for column, (name, title) in plan.figures.items():
        wrong = _wrong(evidence, plan, evidence.headline[column])
        venns = [venn for panel, members in plan.panels.items() if (venn := _venn(panel, members, wrong, evidence))]
        pictures.append(
            gallery.add(
                figures.draw_venn(venns),
                name,
                title,
                f"Numbers of misclassified {plan.what} of the first trial, exact; areas as near as three circles "
                "allow. #2 is the model of the next trial.",
            )
        )
        tables.append(_counts_table(name, title, wrong, evidence, plan))
        groups[column.capitalize()] = _overlaps(wrong, evidence, plan)
    pictures.append(
        gallery.add(
            figures.draw_overlap_bars({group: _bars(overlaps) for group, overlaps in groups.items()}),
            "overlap",
            "Overlap of errors",
            "Jaccard index: errors in common over errors of either. Tick: what two unrelated sets of these sizes give.",
        )
    )
    return Section("Errors", (), (_overlap_table(groups, evidence, plan), *tables), tuple(pictures))


Wrong = dict[str, dict[int, np.ndarray]]  # arm -> trial -> [n] True where it errs


def _wrong(evidence: Evidence, plan: ErrorPlan, test: str) -> Wrong:
    found: Wrong = {}
    for arm in plan.arms:
        found[arm] = {}
        for trial, record in evidence.records[arm].items():
            rows = record.predictions(test)
            found[arm][trial] = rows.logits.argmax(1) != rows.labels
    return found


def _member(member: Member, trial: int, wrong: Wrong, evidence: Evidence) -> np.ndarray | None:
    arm, further = member
    return (
        wrong[arm].get((trial + further) % max(evidence.study.trials, 1)) if evidence.study.trials > further else None
    )


def _name(member: Member) -> str:
    return member[0] + (" #2" if member[1] else "")


def _sets(members: tuple[Member, ...], trial: int, wrong: Wrong, evidence: Evidence) -> dict[str, np.ndarray] | None:
    found = {_name(member): _member(member, trial, wrong, evidence) for member in members}
    return None if any(errors is None for errors in found.values()) else found  # type: ignore[return-value]


def _venn(title: str, members: tuple[Member, Member, Member], wrong: Wrong, evidence: Evidence) -> figures.Venn | None:
    sets = _sets(members, 0, wrong, evidence)
    if sets is None:
        return None
    names = list(sets)
    regions = list(counts(sets).values())[:7]  # in the order that Venn wants
    lines = tuple(
        f"Jaccard {a}, {b}: {jaccard(sets[a], sets[b]):.3f}, by chance {expected_jaccard(sets[a], sets[b]):.3f}"
        for a, b in ((names[0], names[1]), (names[0], names[2]), (names[1], names[2]))
    )
    colours = tuple(figures.look(member[0]).colour for member in members)
    if len(set(colours)) < 3:
        return figures.Venn(title, tuple(names), tuple(regions), lines)  # type: ignore[arg-type]
    return figures.Venn(title, tuple(names), tuple(regions), lines, colours)  # type: ignore[arg-type]


Overlaps = dict[str, dict[int, tuple[float, float]]]  # pair -> trial -> Jaccard index observed, and by chance


def _overlaps(wrong: Wrong, evidence: Evidence, plan: ErrorPlan) -> Overlaps:
    found: Overlaps = {}
    for pair, first, other in plan.pairs:
        found[pair] = {}
        for trial in range(evidence.study.trials):
            if sets := _sets((first, other), trial, wrong, evidence):
                a, b = sets.values()
                found[pair][trial] = jaccard(a, b), expected_jaccard(a, b)
    return found


def _bars(overlaps: Overlaps) -> list[figures.Overlap]:
    """Two models without a single error have no overlap to draw."""
    return [
        figures.Overlap(pair, *(([e[i] for e in trials.values() if not np.isnan(e[i])]) for i in (0, 1)))
        for pair, trials in overlaps.items()
    ]


def _overlap_table(groups: dict[str, Overlaps], evidence: Evidence, plan: ErrorPlan) -> Table:
    columns = tuple(f"{group}{what}" for group in groups for what in ("", ", by chance"))
    rows = tuple(pair for pair, _, _ in plan.pairs)
    cells = tuple(
        tuple(
            _cell({trial: each[i] for trial, each in overlaps[pair].items()}, evidence)
            for overlaps in groups.values()
            for i in (0, 1)
        )
        for pair in rows
    )
    caption = "Jaccard index of the errors of two models, and its value for two unrelated error sets of these sizes."
    return Table("overlap", "Overlap of errors", caption, columns, rows, cells, "pair")


def _cell(found: dict[int, float], evidence: Evidence) -> Entry:
    return "undefined: no errors" if any(map(np.isnan, found.values())) else evidence.cell_of(found)


def _counts_table(name: str, title: str, wrong: Wrong, evidence: Evidence, plan: ErrorPlan) -> Table:
    """The seven regions of every panel and trial, exactly."""
    rows, cells = [], []
    for panel, members in plan.panels.items():
        for trial in range(evidence.study.trials):
            sets = _sets(members, trial, wrong, evidence)
            if sets is not None:
                rows.append(
                    f"{panel.split()[0]} A {', B '.join([_name(m) for m in members[:2]])}, C {_name(members[2])}"
                )
                cells.append((trial, *counts(sets).values()))
    caption = f"Numbers of misclassified {plan.what} in each region of the Venn diagrams, every trial."
    return Table(f"{name}-counts", title, caption, ("trial", *REGIONS), tuple(rows), tuple(cells), "panel")
