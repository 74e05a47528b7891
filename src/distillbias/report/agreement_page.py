"""The page of both agreement studies: what was trained and tested on, the headline, their sections, provenance."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from distillbias.errors import InputError
from distillbias.models.output import ModelConfig
from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.agreement_groups import told
from distillbias.report.agreement_scores import OTHERS, headline_table
from distillbias.report.claims import claims_section
from distillbias.report.curves import training_section
from distillbias.report.html import Page, Section
from distillbias.report.runs import missing_runs, provenance_table, runs_table, trials_of
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery

MakeSection = Callable[[AgreementEvidence, Gallery], Section]


def page(
    evidence: AgreementEvidence,
    gallery: Gallery,
    sections: Sequence[MakeSection],
    metrics: Sequence[str],
    models: Mapping[str, ModelConfig],
) -> Page:
    """`metrics` are the columns of the headline, `models` the paper's.

    Raises:
        InputError: no run is done.
    """
    study = evidence.study
    if evidence.first is None:
        raise InputError(f"nothing to report: no run of {study.title} is finished in {evidence.store.where}")
    headline = headline_table(evidence, metrics)
    made = [claims_section(evidence), *(section(evidence, gallery) for section in sections)]
    losses = {"from labels: cross-entropy": evidence.families, "from a teacher: τ² KL": evidence.distilled}
    caption = "Accuracy on the headline test sets, D- and A-accuracy; NLL and ECE (15 bins) on the first of them."
    every = runs_table(evidence, caption, {which: evidence.metric(which) for which in ("D", "A")})
    made += [
        training_section(evidence, gallery, losses),
        Section("Test sets", (), (sets_table(evidence),)),
        Section("Every run", (), (every,)),
    ]
    return Page(
        title=f"distillbias: {study.title}",
        question=study.question,
        lead=tuple(lead(evidence, models)),
        headline=headline,
        sections=tuple(made),
        provenance=provenance_table(evidence, tuple(study.arms), "words and labels"),
        warnings=(*missing_runs(evidence), *_missing_groups(evidence), *headline.holes),
    )


def lead(evidence: AgreementEvidence, models: Mapping[str, ModelConfig]) -> Iterator[str]:
    """What was trained and tested on, what each number is computed from, and what LSTM teachers changed."""
    assert evidence.first is not None
    train = evidence.first.facts["train"]
    yield f"{trials_of(evidence)}, trained on {train['n']:,} sentences ({train['origin']})."
    yield "; ".join(_models_told(evidence, models)) + "."
    micro = evidence.test_facts[evidence.micro_test]
    yield f"µ is the accuracy on all {micro['n']:,} examples of {evidence.micro_test} ({micro['origin']})."
    yield from (_groups_told(evidence, which) for which in ("D", "A"))
    if left_out := _left_out_told(evidence):
        yield left_out
    if evidence.on_real_data:
        yield OTHERS
    yield from _gained(evidence)


def _models_told(evidence: AgreementEvidence, models: Mapping[str, ModelConfig]) -> Iterator[str]:
    """Each family's size, and in what it differs from the paper's."""
    for family in evidence.families:
        for record in list(evidence.records[family].values())[:1]:
            ours, paper = vars(record.run.model), vars(models[family])
            others = [f"{key} {ours[key]} for {paper[key]}" for key in ours if ours[key] != paper.get(key)]
            same = "as in the paper" if not others else f"{', '.join(others)} in the paper"
            yield f"{family} has {record.facts['parameters']:,} parameters ({same})"


def _groups_told(evidence: AgreementEvidence, which: str) -> str:
    """Which rows the groups of a macro accuracy are, and how many."""
    groups, sizes = evidence.groups(which), evidence.sizes(evidence.groups(which))
    tests = {group.test for group in groups.values()}
    smallest = min(sizes, key=lambda value: sizes[value])
    if which == "D":
        text = f"D is the mean over the accuracies at distances {min(groups)} to {max(groups)} on {', '.join(tests)}"
        return f"{text}; the smallest group, distance {smallest}, has {sizes[smallest]:,} examples."
    listed = "; ".join(f"{value}: {told(group)} ({sizes[value]:,})" for value, group in groups.items())
    return f"A is the mean over the accuracies of these groups, each with the same weight: {listed}."


LEFT_OUT = re.compile(r"([\d,]+) prefixes seen in training and ([\d,]+) verbs outside the vocabulary left out")


def left_out(origin: str) -> tuple[int, int] | None:
    """How many prefixes and verbs the task left out of a set, as its origin says; None where it says nothing."""
    found = LEFT_OUT.search(origin)
    return (int(found[1].replace(",", "")), int(found[2].replace(",", ""))) if found else None


def _left_out_told(evidence: AgreementEvidence) -> str:
    counts = [found for fact in evidence.test_facts.values() if (found := left_out(fact["origin"]))]
    if not counts:
        return ""
    prefixes, verbs = (sum(numbers) for numbers in zip(*counts, strict=True))
    return (
        f"Left out of the test sets: {prefixes:,} examples whose words before the verb also begin a training sentence, "
        f"and {verbs:,} whose verb or its other form is not in the vocabulary."
    )


def _gained(evidence: AgreementEvidence) -> Iterator[str]:
    """The comparison the study is about: students of the teacher with the strongest bias, and of their own kind."""
    for which in ("A", "D"):
        scores, told_of = evidence.metric(which), []
        for student in evidence.families:
            gains = []
            for teacher in (evidence.teacher, student):
                arm = f"{teacher} → {student}"
                trials = scores[student].keys() & scores.get(arm, {}).keys()
                if trials:
                    gain = fmean(scores[arm][trial] - scores[student][trial] for trial in trials)
                    gains.append(f"{gain:+.3f}".replace("-", "−"))
            if len(gains) == 2 and student != evidence.teacher:
                told_of.append(f"{student} {gains[0]} ({gains[1]} from its own kind)")
        if told_of:
            teachers = f"students of {evidence.teacher} teachers gain"
            yield f"{which}-accuracy: against the same model from labels, {teachers}: {', '.join(told_of)}."


def _missing_groups(evidence: AgreementEvidence) -> Iterator[str]:
    for which, what in (("D", "distance"), ("A", "attractors")):
        if holes := evidence.missing_groups(which):
            groups = ", ".join(map(str, holes))
            yield f"{which}-accuracy is undefined: no example with {what} {groups}; never counted as 0"


def sets_table(evidence: AgreementEvidence) -> Table:
    """Every test set with its size and what was left out of it."""
    rows, cells = [], []
    for test, fact in evidence.test_facts.items():
        found: tuple[Entry, ...] = left_out(fact["origin"]) or (None, None)
        rows.append(test)
        cells.append((fact["n"], *found))
    columns = ("examples", "prefixes of training left out", "verbs outside the vocabulary left out")
    caption = "What a prefix-only set has no verb for cannot be left out for its verb; origins are under Provenance."
    return Table("sets", "Test sets", caption, columns, tuple(rows), tuple(cells), "set")
