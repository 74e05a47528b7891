"""Sections on scores: Tables 5 and 6, gains, severities, calibration, temperature factors, training curves."""

import numpy as np

from distillbias.analysis.statistics import paired_difference
from distillbias.evaluation.calibration import reliability_curve
from distillbias.evaluation.metrics import softmax
from distillbias.report import figures
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.published import ARMS, PUBLISHED
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery
from distillbias.studies.vision import DISTILLED, FACTORS, INDEPENDENT, factor_arm, no_penalty
from distillbias.tasks.vision import CLEAN, CORRUPTIONS, SEVERITIES, test_name

ARROW = "Arms are teacher → student; a name alone learned from labels."


def score_table(evidence: Evidence, name: str, title: str, arms: tuple[str, ...], metric: str, caption: str) -> Table:
    """Arms by test sets, each cell beside the published one."""
    columns = evidence.headline
    cells = tuple(tuple(evidence.cell(arm, column, metric) for column in columns) for arm in arms)
    return Table(name, title, caption, tuple(evidence.title(column) for column in columns), arms, cells, "arm")


def headline_table(evidence: Evidence) -> Table:
    beside = (
        "below each number the paper's and ours minus theirs" if evidence.on_paper_data else "the paper has other data"
    )
    caption = f"Accuracy on the test sets; {beside}. {ARROW}"
    return score_table(evidence, "headline", "Accuracy", ARMS, "accuracy", caption)


def accuracy(evidence: Evidence, gallery: Gallery) -> Section:
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


def gains(evidence: Evidence) -> Table:
    """Each student minus the same model from labels, paired by trial."""
    columns, rows, cells = [], [], []
    for column in evidence.headline:
        columns += [evidence.title(column), f"{evidence.title(column)}: 95 % interval, p"]
    for arm in DISTILLED:
        alone = arm.split(" → ")[1]
        row: list[Entry] = []
        for test in evidence.headline.values():
            trials = evidence.both(arm, alone)
            ours, theirs = evidence.values(arm, test, "accuracy"), evidence.values(alone, test, "accuracy")
            row.append(evidence.cell_of({trial: ours[trial] - theirs[trial] for trial in trials}))
            row.append(_interval([ours[t] for t in trials], [theirs[t] for t in trials]))
        rows.append(f"{arm} minus {alone}")
        cells.append(tuple(row))
    caption = (
        "Accuracy of a student minus that of the same model from labels, trial by trial (same initial weights and "
        "order of data). t-interval over trials; p from the exact sign-flip test, which cannot be below 2 / 2ⁿ "
        "with n trials."
    )
    return Table("gains", "What distillation changed", caption, tuple(columns), tuple(rows), tuple(cells), "pair")


def _interval(ours: list[float], theirs: list[float]) -> str:
    if len(ours) < 2:
        return "too few trials"
    paired = paired_difference(np.array(ours), np.array(theirs))
    low, high = paired.difference.low, paired.difference.high
    interval, p = f"[{low:+.4f}, {high:+.4f}]", f"p = {paired.p_value:.3f}"
    return " ".join(part.replace("-", "−").replace(" ", "\N{NO-BREAK SPACE}") for part in (f"{interval},", p))


def _published(evidence: Evidence, metric: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {evidence.title(column): {} for column in evidence.headline}
    for (arm, test, of), number in PUBLISHED.items():
        if of == metric and evidence.on_paper_data:
            found[evidence.title(test)][arm] = number.mean
    return found


def _severity(evidence: Evidence) -> dict[str, dict[str, list[list[float]]]]:
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


def calibration(evidence: Evidence, gallery: Gallery) -> Section:
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
    drawn = gallery.add(
        figures.draw_reliability(_reliability(evidence)),
        "reliability",
        "Reliability",
        "Accuracy against confidence in 20 bins, all trials pooled; below, the share of examples in each bin.",
    )
    return Section("Calibration", (), tables, (drawn,))


def _unpublished(evidence: Evidence, name: str, title: str, metric: str, caption: str) -> Table:
    return score_table(evidence, name, title, ARMS, metric, caption)


def _reliability(evidence: Evidence) -> dict[str, dict[str, figures.Reliability]]:
    panels: dict[str, dict[str, figures.Reliability]] = {}
    for column, test in evidence.headline.items():
        panels[evidence.title(column)] = {}
        for arm in ARMS:
            parts = [record.predictions(test) for record in evidence.records[arm].values()]
            if parts:
                logits = np.concatenate([part.logits for part in parts])
                curve = reliability_curve(softmax(logits), np.concatenate([part.labels for part in parts]))
                panels[evidence.title(column)][arm] = figures.Reliability(curve.confidence, curve.accuracy, curve.count)
    return panels


def factors(evidence: Evidence, gallery: Gallery) -> Section:
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
    references = {title: _means(evidence, ("MLP", "CNN", "MLP → MLP"), test) for title, test in tests.items()}
    drawn = gallery.add(
        figures.draw_factors(scores, references),
        "factors",
        "The temperature factor, with and without penalties",
        "CNN → MLP students. Under τ² the penalties weigh against the data as in learning from labels, under 1 "
        "they weigh 25 times as much, under the authors' 1/τ² 625 times. Lines: means of other arms.",
    )
    text = (
        "The authors' code divided the distillation loss by τ² and left the L1 and L2 penalties as they were, so "
        "that their students were trained under far stronger penalties than their independent models. With the "
        "penalties off the factor is a mere scale of the loss, which Adam ignores up to rounding and clipping."
    )
    return Section("Temperature factor and penalties", (text,), (_factor_table(evidence),), (drawn,))


def _factor_table(evidence: Evidence) -> Table:
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


def _factor_cells(evidence: Evidence, arm: str) -> list[Entry]:
    return [evidence.cell_of(evidence.values(arm, test, "accuracy")) for test in evidence.headline.values()]


def _means(evidence: Evidence, arms: tuple[str, ...], test: str) -> dict[str, float]:
    found = {arm: list(evidence.values(arm, test, "accuracy").values()) for arm in arms}
    return {arm: float(np.mean(values)) for arm, values in found.items() if values}


def training(evidence: Evidence, gallery: Gallery) -> Section:
    def curves(arms: tuple[str, ...]) -> dict[str, list[list[float]]]:
        return {arm: [record.facts["losses"] for record in evidence.records[arm].values()] for arm in arms}

    panels = {"from labels: cross-entropy": curves(INDEPENDENT), "from a teacher: τ² KL": curves(DISTILLED)}
    drawn = gallery.add(
        figures.draw_training(panels),
        "training",
        "Training loss",
        "Mean over each epoch, dropout on, penalties left out. The panels have different units.",
    )
    return Section("Training", (), (), (drawn,))
