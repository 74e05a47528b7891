"""Section on errors: who is wrong where, and whether a student is wrong where its teacher is (Figures 11 and 12)."""

import numpy as np

from distillbias.analysis.overlap import counts, expected_jaccard, jaccard
from distillbias.report import figures
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery

Member = tuple[str, int]  # an arm, and how many trials further on (0: the same trial)

# The panels of Figures 11 and 12; "#2" is the next trial's model.
PANELS: dict[str, tuple[Member, Member, Member]] = {
    "(a) two CNNs and an MLP": (("CNN", 0), ("CNN", 1), ("MLP", 0)),
    "(b) two MLPs and a CNN": (("MLP", 0), ("MLP", 1), ("CNN", 0)),
    "(c) student, teacher, independent MLP": (("CNN → MLP", 0), ("CNN", 0), ("MLP", 0)),
    "(d) student, teacher, independent CNN": (("CNN → MLP", 0), ("CNN", 0), ("CNN", 1)),
}
PAIRS: tuple[tuple[str, Member, Member], ...] = (
    ("two CNNs", ("CNN", 0), ("CNN", 1)),
    ("two MLPs", ("MLP", 0), ("MLP", 1)),
    ("MLP and CNN", ("MLP", 0), ("CNN", 0)),
    ("CNN → MLP and its teacher", ("CNN → MLP", 0), ("CNN", 0)),
    ("CNN → MLP and another CNN", ("CNN → MLP", 0), ("CNN", 1)),
    ("CNN → MLP and MLP", ("CNN → MLP", 0), ("MLP", 0)),
    ("MLP → MLP and its teacher", ("MLP → MLP", 0), ("MLP", 0)),
)
FIGURES = {
    "scaled": ("figure11", "Figure 11. Errors on Scaled"),
    "translated": ("figure12", "Figure 12. Errors on Translated"),
}


def errors(evidence: Evidence, gallery: Gallery) -> Section:
    """Venn diagrams of the first trial, and every trial's Jaccard index against its chance level."""
    pictures, tables = [], []
    groups: dict[str, Overlaps] = {}
    for column, (name, title) in FIGURES.items():
        wrong = _wrong(evidence, evidence.headline[column])
        venns = [venn for panel, members in PANELS.items() if (venn := _venn(panel, members, wrong, evidence))]
        pictures.append(
            gallery.add(
                figures.draw_venn(venns),
                name,
                title,
                "Numbers of misclassified test images of the first trial, exact; areas as near as three circles allow. "
                "#2 is the model of the next trial.",
            )
        )
        tables.append(_counts_table(name, title, wrong, evidence))
        groups[column.capitalize()] = _overlaps(wrong, evidence)
    pictures.append(
        gallery.add(
            figures.draw_overlap_bars({group: _bars(overlaps) for group, overlaps in groups.items()}),
            "overlap",
            "Overlap of errors",
            "Jaccard index: errors in common over errors of either. Tick: what two unrelated sets of these sizes give.",
        )
    )
    return Section("Errors", (), (_overlap_table(groups, evidence), *tables), tuple(pictures))


Wrong = dict[str, dict[int, np.ndarray]]  # arm -> trial -> [n] True where it errs


def _wrong(evidence: Evidence, test: str) -> Wrong:
    found: Wrong = {}
    for arm in ("CNN", "MLP", "CNN → MLP", "MLP → MLP"):
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


def _overlaps(wrong: Wrong, evidence: Evidence) -> Overlaps:
    found: Overlaps = {}
    for pair, first, other in PAIRS:
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


def _overlap_table(groups: dict[str, Overlaps], evidence: Evidence) -> Table:
    columns = tuple(f"{group}{what}" for group in groups for what in ("", ", by chance"))
    rows = tuple(pair for pair, _, _ in PAIRS)
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


def _counts_table(name: str, title: str, wrong: Wrong, evidence: Evidence) -> Table:
    """The seven regions of every panel and trial, exactly."""
    regions = ("A only", "B only", "A and B", "C only", "A and C", "B and C", "all", "none")
    rows, cells = [], []
    for panel, members in PANELS.items():
        for trial in range(evidence.study.trials):
            sets = _sets(members, trial, wrong, evidence)
            if sets is not None:
                rows.append(
                    f"{panel.split()[0]} A {', B '.join([_name(m) for m in members[:2]])}, C {_name(members[2])}"
                )
                cells.append((trial, *counts(sets).values()))
    caption = "Numbers of misclassified test images in each region of the Venn diagrams, every trial."
    return Table(f"{name}-counts", title, caption, ("trial", *regions), tuple(rows), tuple(cells), "panel")
