"""Sections on groups: accuracy by attractors and distance, and on the other test sets."""

from collections.abc import Mapping, Sequence

from distillbias.report import figures
from distillbias.report.agreement_evidence import AgreementEvidence, Groups
from distillbias.report.evidence import Trials
from distillbias.report.html import Picture, Section
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery
from distillbias.tasks.agreement import PAIRS, Group

KINDS = {"accuracy": "Accuracy", "balanced": "Balanced accuracy"}
BALANCED = "Balanced: the mean of the accuracies on singular and on plural verbs, as groups differ in their share."
FIVE = 5  # attractors, beyond those of A-accuracy


def by_group(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """Accuracy, n and balanced accuracy of each group, for models from labels and students of the best teacher."""
    attractors = evidence.task.by_attractors | _five(evidence)
    distances = evidence.task.by_distance
    arms = (*evidence.families, *evidence.taught)
    tables, pictures = [], []
    for name, what, groups in (("attractors", "attractors", attractors), ("distance", "distance", distances)):
        scores = evidence.by_group(arms, groups)
        rows = {value: str(value) for value in groups}
        sizes = evidence.sizes(groups)
        for kind, title in KINDS.items():
            caption = BALANCED if kind == "balanced" else _sources(groups)
            tables.append(
                group_table(evidence, f"{name}-{kind}", f"{title} by {what}", caption, rows, sizes, scores, kind, what)
            )
        pictures.append(_draw(evidence, gallery, name, what, scores))
    return Section("By group", (), tuple(tables), tuple(pictures))


def _five(evidence: AgreementEvidence) -> dict[int, Group]:
    """The group of five attractors where the data have one; it is no part of A-accuracy."""
    last = evidence.task.by_attractors[FIVE - 1]
    group = last._replace(test=last.test.replace(str(FIVE - 1), str(FIVE)), value=FIVE)
    return {FIVE: group} if group.test in evidence.test_facts else {}


COLUMNS = {
    "near": "at distance {}",
    "homogeneous": "{} attractor{}, no other noun between",
    "attractors": "{} attractor{}",
}


def told(group: Group) -> str:
    """A group in words."""
    return f"{group.test}, {COLUMNS[group.column].format(group.value, '' if group.value == 1 else 's')}"


def _sources(groups: Mapping[int, Group]) -> str:
    tests = {group.test for group in groups.values()}
    if len(tests) == 1:
        return f"On {tests.pop()}."
    return f"Groups: {'; '.join(f'{value}: {told(group)}' for value, group in groups.items())}."


def group_table(
    evidence: AgreementEvidence,
    name: str,
    title: str,
    caption: str,
    rows: Mapping[int, str],
    sizes: Mapping[int, int],
    scores: Mapping[str, Mapping[int, Groups]],
    kind: str,
    corner: str,
) -> Table:
    """Groups by arms, n first; a group without examples is empty."""
    cells = []
    for value in rows:
        line: list[Entry] = [sizes[value]]
        for trials in scores.values():
            found: Trials = {trial: getattr(groups[value], kind) for trial, groups in trials.items() if groups[value].n}
            line.append(evidence.cell_of(found, 3) if sizes[value] else None)
        cells.append(tuple(line))
    return Table(name, title, caption, ("examples", *scores), tuple(rows.values()), tuple(cells), corner)


def _draw(
    evidence: AgreementEvidence, gallery: Gallery, name: str, what: str, scores: Mapping[str, Mapping[int, Groups]]
) -> Picture:
    def curves(arms: Sequence[str]) -> dict[str, list[dict[int, float]]]:
        return {
            arm: [{value: score.accuracy for value, score in groups.items()} for groups in scores[arm].values()]
            for arm in arms
        }

    panels = {"from labels": curves(evidence.families)}
    if evidence.taught:
        panels[f"taught by {evidence.teacher}"] = curves(evidence.taught)
    label = "number of attractors" if what == "attractors" else what
    return gallery.add(
        figures.draw_groups(panels, label),
        f"by-{name}",
        f"Accuracy by {what}",
        "Thin lines are single trials, bold ones their mean.",
    )


def other_sets(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """Sentences from elsewhere: chosen by Gulordava et al., hand-parsed treebanks, made minimal pairs."""
    tables = [*_by_attractors(evidence), *_minimal_pairs(evidence)]
    text = () if tables else ("None of the other test sets is among the data of this scale.",)
    return Section("Other test sets", text, tuple(tables))


def _by_attractors(evidence: AgreementEvidence) -> list[Table]:
    sets = {
        "gulordava": ("Gulordava et al.", "Sentences of Linzen et al. with their real words.", ("gulordava",)),
        "treebanks": (
            "Treebanks",
            "Hand-parsed sentences; attractors are counted among all nouns between subject and verb.",
            tuple(test for test in evidence.test_facts if test.startswith("ud-")),
        ),
    }
    arms = (*evidence.families, *evidence.taught)
    tables = []
    for name, (title, caption, tests) in sets.items():
        every = [Group(test, "attractors", value) for test in tests for value in range(FIVE + 1)]
        groups = {i: group for i, group in enumerate(every) if group.test in evidence.test_facts}
        sizes = evidence.sizes(groups)
        there = {i: group for i, group in groups.items() if sizes[i]}
        rows = {i: told(group) if len(tests) > 1 else str(group.value) for i, group in there.items()}
        if rows:
            scores = evidence.by_group(arms, there)
            named = f"Accuracy by attractors: {title}"
            tables.append(group_table(evidence, name, named, caption, rows, sizes, scores, "accuracy", "attractors"))
    return tables


def _minimal_pairs(evidence: AgreementEvidence) -> list[Table]:
    """Accuracy on each construction."""
    arms = (*evidence.families, *evidence.taught)
    tables = []
    for source, title in zip(PAIRS, ("BLiMP", "Marvin & Linzen", "Lakretz et al."), strict=True):
        tests = [test for test in evidence.test_facts if test.startswith(source)]
        if tests:
            cells = tuple(
                (
                    evidence.test_facts[test]["n"],
                    *(evidence.cell_of(evidence.values(arm, test, "accuracy"), 3) for arm in arms),
                )
                for test in tests
            )
            rows = tuple(test.removeprefix(f"{source}-").replace("_", " ") for test in tests)
            caption = "Made sentences, none from the corpus; a guess is right for about half of them."
            name = f"Accuracy by construction: {title}"
            tables.append(Table(f"{source}", name, caption, ("examples", *arms), rows, cells, "construction"))
    return tables
