"""Sections on what models are like inside: representations (Figure 7), training paths (Figure 1), basins (8, 9)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from distillbias.analysis.statistics import summary
from distillbias.analysis.trajectory import joint_paths, path_alignment
from distillbias.report import figures
from distillbias.report.distances import SEED, MapPlan, representations_section
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.published import ARMS
from distillbias.report.tables import Entry, Table, interval
from distillbias.report.writing import Gallery
from distillbias.studies.basins import WEIGHTS, Line, aligned_height, line
from distillbias.studies.execute import STAGES
from distillbias.studies.packing import THINNED
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.studies.vision import second

T = TypeVar("T")

PAIRS = (
    ("CNN", "CNN"),
    ("MLP", "MLP"),
    ("CNN → MLP", "CNN → MLP"),
    ("MLP", "CNN"),
    ("CNN → MLP", "CNN"),
    ("MLP → MLP", "CNN"),
    ("CNN → MLP", "MLP"),
    ("MLP → MLP", "MLP"),
    ("MLP → CNN", "CNN"),
    ("MLP → CNN", "MLP"),
    ("CNN → CNN", "CNN"),
)


def representations(evidence: Evidence, gallery: Gallery) -> Section:
    """Figure 7, and the distances behind it."""
    plan = MapPlan("figure7", "Figure 7", ARMS, PAIRS, ("scaled", "translated"))
    return representations_section(evidence, gallery, plan)


def paths(evidence: Evidence, gallery: Gallery) -> Section:
    """Figure 1, and how near the student's path stays to its teacher's, against an independent student's."""
    arms = ("MLP", "CNN", "CNN → MLP")
    stages = _stages(evidence, arms)
    if not stages:
        return Section("Training paths", ("No run of this section is finished.",))
    joint = joint_paths(stages, "code", SEED)
    epochs = [round(share * 400) for share in STAGES]
    drawn = {
        arm: [figures.TrainingPath(epochs, joint.points[f"{arm}/{trial}"]) for trial in evidence.records[arm]]
        for arm in arms
    }
    picture = gallery.add(
        figures.draw_paths(drawn, joint.stress),
        "figure1",
        "Figure 1. Training paths",
        "Penultimate representations of the Translated test set along training, all runs in one space. Numbers are "
        "stages in 400ths of the run (the paper's epochs); 0 is the initial weights.",
    )
    curves = path_curves(evidence)
    distance = gallery.add(
        figures.draw_path_distance(
            {name: list(trials.values()) for name, trials in curves.items()},
            epochs,
            {"CNN → MLP to its teacher": "CNN → MLP", "MLP to that CNN": "MLP"},
        ),
        "path-distance",
        "Distance to the teacher's path, stage by stage",
        "Representational distance between a model and the CNN of its trial at the same stage.",
    )
    return Section("Training paths", (), (_path_table(evidence, curves),), (picture, distance))


def _stages(evidence: Evidence, arms: Sequence[str]) -> dict[str, np.ndarray]:
    """{arm/trial: [stages, sample, width]} of the examples that all of these runs kept (`studies.packing`)."""
    found = {f"{arm}/{t}": record.stages() for arm in arms for t, record in evidence.records[arm].items()}
    fewest = min((each.shape[1] for each in found.values()), default=0)
    return {name: each if each.shape[1] == fewest else each[:, ::THINNED] for name, each in found.items()}


def path_curves(evidence: Evidence) -> dict[str, dict[int, list[float]]]:
    """{trial: distance by stage} of the student's path to the CNN's, and of the independent MLP's to the same."""
    stages = _stages(evidence, ("MLP", "CNN", "CNN → MLP"))
    curves: dict[str, dict[int, list[float]]] = {"CNN → MLP to its teacher": {}, "MLP to that CNN": {}}
    for trial in sorted(set(evidence.both("CNN → MLP", "CNN")) & evidence.records["MLP"].keys()):
        for name, arm in (("CNN → MLP to its teacher", "CNN → MLP"), ("MLP to that CNN", "MLP")):
            curves[name][trial] = path_alignment(stages[f"{arm}/{trial}"], stages[f"CNN/{trial}"], "code").tolist()
    return curves


def _path_table(evidence: Evidence, curves: dict[str, dict[int, list[float]]]) -> Table:
    caption = "Distance from the CNN of the same trial: mean over the 12 stages of training, and at the last stage."
    rows, cells = [], []
    for name, trials in curves.items():
        rows.append(name)
        means = {trial: float(np.mean(curve)) for trial, curve in trials.items()}
        last = {trial: curve[-1] for trial, curve in trials.items()}
        cells.append((evidence.cell_of(means), evidence.cell_of(last)))
    columns = ("over all stages", "at the end")
    return Table("paths", "How near paths stay to the CNN's", caption, columns, tuple(rows), tuple(cells), "path")


def basins(evidence: Evidence, gallery: Gallery) -> Section:
    """Figures 8 and 9: pairs with the same initial weights and another order of data and dropout."""
    arm = {"Data": "MLP", "MLP": "MLP → MLP", "CNN": "CNN → MLP"}
    teachers = list(arm)
    triangle = [(row, column) for i, row in enumerate(teachers) for column in teachers[: i + 1]]
    figure8 = {"(a) MLP": ("MLP", "MLP"), "(b) CNN": ("CNN", "CNN")}
    pairs = {f"Figure 8 {title}": pair for title, pair in figure8.items()}
    pairs |= {f"Figure 9 {row} – {column}": (arm[row], arm[column]) for row, column in triangle}
    named = {name: _over_trials(evidence, *pair, line) for name, pair in pairs.items()}
    aligned = {name: _over_trials(evidence, *pair, aligned_height) for name, pair in pairs.items()}
    pictures = (
        gallery.add(
            figures.draw_barriers({t: _barrier(pair[0], named[f"Figure 8 {t}"]) for t, pair in figure8.items()}),
            "figure8",
            "Figure 8. Between two runs from the same initial weights",
            "Test loss on the line between two models that differ in order of data and dropout alone.",
        ),
        gallery.add(
            figures.draw_barrier_triangle(
                {k: _barrier(arm[k[0]], named["Figure 9 {} – {}".format(*k)]) for k in triangle}
            ),
            "figure9",
            "Figure 9. Between MLPs of different teachers",
            "Rows: teacher of the first MLP, at the left end; columns: teacher of the second, at the right end. λ is "
            "the weight of the second. Both start from the same weights.",
        ),
    )
    return Section("Loss basins", (), (_barrier_table(evidence, named, aligned),), pictures)


def _over_trials(
    evidence: Evidence, first: str, other: str, value: Callable[[Run, Run, Store, Path | None], T]
) -> dict[int, T]:
    """{trial: value}; the second end is the other arm's run in its second order."""
    ones, others = evidence.runs(first), evidence.runs(second(other))
    trials = sorted(ones.keys() & others.keys())
    return {trial: value(ones[trial], others[trial], evidence.store, evidence.data) for trial in trials}


def _barrier(arm: str, lines: dict[int, Line]) -> figures.Barrier:
    """As drawn: the first model at the left, as in the paper's panels."""
    found = list(lines.values())
    return figures.Barrier(
        arm,
        WEIGHTS,
        {
            figures.REFRESHED: [each.refreshed[::-1] for each in found],
            figures.INTERPOLATED: [each.interpolated[::-1] for each in found],
        },
        {
            figures.REFRESHED: [each.heights[0] for each in found],
            figures.INTERPOLATED: [each.heights[1] for each in found],
        },
    )


def _barrier_table(
    evidence: Evidence, named: dict[str, dict[int, Line]], aligned: dict[str, dict[int, float]]
) -> Table:
    cells = tuple(_barrier_cells(evidence, lines, aligned[name]) for name, lines in named.items())
    caption = (
        "Height of the barrier: the largest excess of the test loss over the straight line between the two ends, in "
        "nats, on 21 points. Refreshed: batch-norm statistics recomputed on training images at each point; beside it "
        "the 95 % t-interval of its mean over trials. Aligned: refreshed, too, and the hidden units of the second "
        "model permuted to lie near the first's, so that what is left is no matter of their order."
    )
    columns = (figures.REFRESHED, "95 % interval", "aligned", figures.INTERPOLATED)
    return Table("barriers", "Barriers", caption, columns, tuple(named), cells, "pair")


def _barrier_cells(evidence: Evidence, lines: dict[int, Line], aligned: dict[int, float]) -> tuple[Entry, ...]:
    heights, interpolated = ({trial: each.heights[kind] for trial, each in lines.items()} for kind in (0, 1))
    told = summary(list(heights.values())) if len(heights) > 1 else None
    return (
        evidence.cell_of(heights),
        interval(told.low, told.high) if told else None,
        evidence.cell_of(aligned),
        evidence.cell_of(interpolated),
    )
