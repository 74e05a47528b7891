"""Sections on scores: Tables 5 and 6, gains, severities, calibration, temperature factors, training curves."""

import numpy as np

from distillbias.report import figures
from distillbias.report.curves import draw_reliabilities, training_section
from distillbias.report.gains import gains_table
from distillbias.report.html import Section
from distillbias.report.published import ARMS, PUBLISHED
from distillbias.report.tables import Entry, Table
from distillbias.report.vision_evidence import VisionEvidence
from distillbias.report.writing import Gallery
from distillbias.studies.vision import DISTILLED, FACTORS, INDEPENDENT, factor_arm, no_penalty
from distillbias.tasks.vision import CLEAN, CORRUPTIONS, SEVERITIES, test_name

ARROW = "Arms are teacher → student; a name alone learned from labels."


def score_table(
    evidence: VisionEvidence, name: str, title: str, arms: tuple[str, ...], metric: str, caption: str
) -> Table:
    """Arms by test sets, each cell beside the published one."""
    columns = evidence.headline
    cells = tuple(tuple(evidence.cell(arm, column, metric) for column in columns) for arm in arms)
    return Table(name, title, caption, tuple(evidence.title(column) for column in columns), arms, cells, "arm")


def headline_table(evidence: VisionEvidence) -> Table:
    beside = (
        "below each number the paper's and ours minus theirs" if evidence.on_paper_data else "the paper has other data"
    )
    caption = f"Accuracy on the test sets; {beside}. {ARROW}"
    return score_table(evidence, "headline", "Accuracy", ARMS, "accuracy", caption)


def accuracy(evidence: VisionEvidence, gallery: Gallery) -> Section:
    """Tables 5a and 6a, the gains over learning from labels, and accuracy against severity."""
    scores = {
        evidence.title(column): {arm: list(evidence.values(arm, test, "accuracy").values()) for arm in ARMS}
        for column, test in evidence.headline.items()
    }
    drawn = gallery.add(
        figures.draw_points(scores, _published(evidence, "accuracy")),
        "accuracy",
        "Accuracy by arm and test set",
        "Dots are single trials, the tick is their mean, the hollow diamond the published value.",
    )
    severity = gallery.add(
        figures.draw_severity(_severity(evidence)),
        "severity",
        "Accuracy against severity",
        "0 is the test set as it is; the paper's Scaled and Translated are severity 3. Lines are means over trials.",
    )
    tables = (
        score_table(evidence, "table5a", "Table 5 (a). Accuracy, from labels", INDEPENDENT, "accuracy", ""),
        score_table(evidence, "table6a", "Table 6 (a). Accuracy, distilled", DISTILLED, "accuracy", ARROW),
        gains(evidence),
    )
    return Section("Accuracy", (), tables, (drawn, severity))


def gains(evidence: VisionEvidence) -> Table:
    """Each student minus the same model from labels, paired by trial."""
    scores = {
        evidence.title(column): {arm: evidence.values(arm, test, "accuracy") for arm in ARMS}
        for column, test in evidence.headline.items()
    }
    return gains_table(evidence, DISTILLED, scores)


def _published(evidence: VisionEvidence, metric: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {evidence.title(column): {} for column in evidence.headline}
    for (arm, test, of), number in PUBLISHED.items():
        if of == metric and evidence.on_paper_data:
            found[evidence.title(test)][arm] = number.mean
    return found


def _severity(evidence: VisionEvidence) -> dict[str, dict[str, list[list[float]]]]:
    names = {"scale": "Scaled", "translate": "Translated"}
    return {
        names[corruption]: {
            arm: [
                [record.score(test, "accuracy") for test in [CLEAN] + [test_name(corruption, s) for s in SEVERITIES]]
                for record in evidence.records[arm].values()
            ]
            for arm in ARMS
        }
        for corruption in CORRUPTIONS
    }


def calibration(evidence: VisionEvidence, gallery: Gallery) -> Section:
    """Tables 5b and 6b in the paper's reading and in the usual one, NLL, reliability curves."""
    fine = (
        "The published numbers have 1,000,000 bins, which makes them nearly the mean distance of confidence from "
        "being right; compare them with nothing else."
    )
    usual = "15 bins of equal width, closed on the right: ((b − 1)/15, b/15]. The paper has no such number."
    tables = (
        score_table(evidence, "table5b", "Table 5 (b). ECE as published, from labels", INDEPENDENT, "paper_ece", fine),
        score_table(evidence, "table6b", "Table 6 (b). ECE as published, distilled", DISTILLED, "paper_ece", fine),
        _unpublished(evidence, "ece15", "ECE with 15 bins", "ece", usual),
        _unpublished(
            evidence, "nll", "Negative log-likelihood", "nll", "Mean over examples, in nats; lower is better."
        ),
    )
    drawn = draw_reliabilities(evidence, gallery, ARMS, "reliability", "Reliability")
    return Section("Calibration", (), tables, (drawn,))


def _unpublished(evidence: VisionEvidence, name: str, title: str, metric: str, caption: str) -> Table:
    return score_table(evidence, name, title, ARMS, metric, caption)


def factors(evidence: VisionEvidence, gallery: Gallery) -> Section:
    """T5: is the gain on moved and shrunk digits a matter of how much the penalties weigh?"""
    tests = {"Scaled": evidence.headline["scaled"], "Translated": evidence.headline["translated"]}
    scores: dict[str, dict[tuple[str, bool], figures.Values]] = {
        title: {
            (factor, penalty): list(evidence.values(factor_arm("CNN", factor, penalty), test, "accuracy").values())
            for factor in FACTORS
            for penalty in (True, False)
        }
        for title, test in tests.items()
    }
    lines = ("MLP", no_penalty("MLP"), "CNN", "MLP → MLP")
    references = {title: _means(evidence, lines, test) for title, test in tests.items()}
    drawn = gallery.add(
        figures.draw_factors(scores, references),
        "factors",
        "The temperature factor, with and without penalties",
        "CNN → MLP students. Under τ² the penalties weigh against the data as in learning from labels, under 1 "
        "they weigh 25 times as much, under the authors' 1/τ² 625 times. Lines: means of other arms, with penalties "
        "where their name does not say otherwise; a student is to be compared with the MLP from labels of its kind.",
    )
    text = (
        "The authors' code divided the distillation loss by τ² and left the L1 and L2 penalties as they were, so "
        "that their students were trained under far stronger penalties than their independent models. With the "
        "penalties off the factor is a mere scale of the loss, which Adam ignores up to rounding and clipping."
    )
    return Section("Temperature factor and penalties", (text,), (_factor_table(evidence),), (drawn,))


def _factor_table(evidence: VisionEvidence) -> Table:
    names = {"tau2": "τ²", "one": "1", "inv_tau2": "1/τ² (the authors')"}
    rows, cells = [], []
    for penalty in (True, False):
        with_or_without = "with penalties" if penalty else "without penalties"
        alone = "MLP" if penalty else no_penalty("MLP")
        rows.append(f"MLP from labels, {with_or_without}")
        cells.append(tuple(_factor_cells(evidence, alone)))
        for teacher in INDEPENDENT:
            for factor in FACTORS:
                rows.append(f"{teacher} → MLP, factor {names[factor]}, {with_or_without}")
                cells.append(tuple(_factor_cells(evidence, factor_arm(teacher, factor, penalty))))
    columns = tuple(evidence.title(column) for column in evidence.headline)
    caption = "Accuracy of MLP students. The first row of each block is the same MLP from labels."
    return Table("factors", "Temperature factor × penalty", caption, columns, tuple(rows), tuple(cells), "arm")


def _factor_cells(evidence: VisionEvidence, arm: str) -> list[Entry]:
    return [evidence.cell_of(evidence.values(arm, test, "accuracy")) for test in evidence.headline.values()]


def _means(evidence: VisionEvidence, arms: tuple[str, ...], test: str) -> dict[str, float]:
    found = {arm: list(evidence.values(arm, test, "accuracy").values()) for arm in arms}
    return {arm: float(np.mean(values)) for arm, values in found.items() if values}


def training(evidence: VisionEvidence, gallery: Gallery) -> Section:
    return training_section(
        evidence, gallery, {"from labels: cross-entropy": INDEPENDENT, "from a teacher: τ² KL": DISTILLED}
    )
