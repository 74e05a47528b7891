"""Curves that every report draws: reliability, and the loss along training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distillbias.evaluation.calibration import reliability_curve
from distillbias.evaluation.metrics import softmax
from distillbias.report import figures
from distillbias.report.evidence import Evidence
from distillbias.report.html import Picture, Section
from distillbias.report.writing import Gallery


def draw_reliabilities(
    evidence: Evidence, gallery: Gallery, arms: Sequence[str], name: str, title: str, **layout: Any
) -> Picture:
    """Accuracy against confidence of these arms on the headline test sets; `layout` is that of `draw_reliability`."""
    panels = {
        evidence.title(column): {arm: curve for arm in arms if (curve := _reliability(evidence, arm, test)) is not None}
        for column, test in evidence.headline.items()
    }
    caption = "Accuracy against confidence in 20 bins, all trials pooled; below, the share of examples in each bin."
    return gallery.add(figures.draw_reliability(panels, **layout), name, title, caption)


def _reliability(evidence: Evidence, arm: str, test: str) -> figures.Reliability | None:
    parts = [record.predictions(test) for record in evidence.records[arm].values()]
    if not parts:
        return None
    logits = np.concatenate([part.logits for part in parts])
    curve = reliability_curve(softmax(logits), np.concatenate([part.labels for part in parts]))
    return figures.Reliability(curve.confidence, curve.accuracy, curve.count)


def training_section(evidence: Evidence, gallery: Gallery, panels: Mapping[str, Sequence[str]]) -> Section:
    """Loss by epoch; `panels` are {what the loss is: arms}."""

    def curves(arms: Sequence[str]) -> dict[str, list[list[float]]]:
        return {arm: [record.facts["losses"] for record in evidence.records[arm].values()] for arm in arms}

    drawn = gallery.add(
        figures.draw_training({title: curves(arms) for title, arms in panels.items()}),
        "training",
        "Training loss",
        "Mean over each epoch, dropout on, penalties left out. The panels have different units.",
    )
    return Section("Training", (), (), (drawn,))
