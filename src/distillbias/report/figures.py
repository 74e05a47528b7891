"""Figures of scores: accuracy, severity, distillation settings, training, reliability.

Every `draw_*` takes finished values and returns a `Figure` whose panels share scales; nothing here computes a result
beyond the mean that is drawn. The figures of `figures_paths.py` (maps, paths, basins), `figures_errors.py` (error sets)
and `figures_agreement.py` are offered here too, so that a report imports one module.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from distillbias.report.figures_agreement import draw_groups, draw_students, draw_tradeoff
from distillbias.report.figures_errors import Overlap, Venn, draw_overlap_bars, draw_venn
from distillbias.report.figures_paths import (
    INTERPOLATED,
    REFRESHED,
    Barrier,
    PointMap,
    TrainingPath,
    draw_barrier_triangle,
    draw_barriers,
    draw_map,
    draw_path_distance,
    draw_paths,
)
from distillbias.report.figures_style import (
    GREY,
    INK,
    LOOKS,
    PUBLISHED_LOOK,
    Rows,
    Saved,
    Values,
    arm_handles,
    as_rows,
    legend_below,
    look,
    mean_row,
    new_figure,
    point_handles,
    published_handles,
    save,
    spread,
    student_of,
    styled,
    union,
)

__all__ = [
    "Barrier",
    "INTERPOLATED",
    "LOOKS",
    "Overlap",
    "PointMap",
    "REFRESHED",
    "Reliability",
    "Saved",
    "TrainingPath",
    "Values",
    "Venn",
    "draw_barrier_triangle",
    "draw_barriers",
    "draw_factors",
    "draw_groups",
    "draw_map",
    "draw_overlap_bars",
    "draw_path_distance",
    "draw_paths",
    "draw_points",
    "draw_reliability",
    "draw_severity",
    "draw_students",
    "draw_tradeoff",
    "draw_training",
    "draw_venn",
    "look",
    "save",
]


@styled
def draw_points(
    scores: Mapping[str, Mapping[str, Values]],
    published: Mapping[str, Mapping[str, float]] | None = None,
    label: str = "accuracy",
    one_scale: bool = True,
) -> Figure:
    """Scores per panel (test set) and arm: every trial a dot, the mean a tick, the published value a hollow diamond.

    One row per arm, named once at the left; an arm without trials says so in its row. Panels of different quantities
    have each their own scale (not `one_scale`).
    """
    arms, published = union(scores.values()), published or {}
    figure, axes = new_figure(1, max(len(scores), 1), 1.3 + 0.36 * len(arms), sharex=one_scale, sharey=True)
    for panel, (title, by_arm) in zip(axes[0], scores.items(), strict=False):
        for y, arm in enumerate(arms):
            values = np.asarray(by_arm.get(arm, ()), dtype=float)
            _draw_row(panel, y, values, published.get(title, {}).get(arm), look(arm).colour)
        panel.set_title(title)
        panel.set_xlabel(label)
        panel.grid(axis="x")
        panel.tick_params(axis="y", length=0)
        panel.xaxis.set_major_locator(MaxNLocator(4))  # beside long names of arms more numbers would run together
    axes[0, 0].set_yticks(range(len(arms)), arms)
    axes[0, 0].set_ylim(max(len(arms), 1) - 0.5, -0.5)
    legend_below(figure, [*point_handles(), *published_handles(any(published.values()))])
    _write_means(axes[0])
    return figure


def _draw_row(panel: Axes, y: int, values: np.ndarray, published: float | None, colour: str) -> None:
    """One arm in one panel of `draw_points`."""
    if len(values):
        panel.plot(values, y + spread(len(values), 0.16), "o", color=colour, ms=4, alpha=0.6, mec="none")
        panel.plot([values.mean()], [y], marker="|", color=colour, ms=17, mew=2.4, gid="mean")
    else:
        place = panel.get_yaxis_transform()
        panel.text(0.02, y, "missing", color=GREY, style="italic", va="center", transform=place)
    if published is not None:
        panel.plot([published], [y], **PUBLISHED_LOOK)


def _write_means(panels: np.ndarray) -> None:
    """Print each mean beside its row's points, on the side with more room: a common scale hides small gaps."""
    for panel in panels:
        left, right = panel.get_xlim()
        for mean in [line for line in panel.lines if line.get_gid() == "mean"]:
            (value,), (y,) = mean.get_data()
            row = np.concatenate([line.get_xdata() for line in panel.lines if abs(line.get_ydata()[0] - y) < 0.4])
            on_left = row.min() - left > right - row.max()
            edge, side, align = (row.min(), -1, "right") if on_left else (row.max(), 1, "left")
            style = {"size": 8, "color": GREY, "ha": align, "va": "center"}
            panel.annotate(f"{value:.3f}", (edge, y), (8 * side, 0), textcoords="offset points", **style)


@styled
def draw_severity(
    curves: Mapping[str, Mapping[str, Rows]],
    published: Mapping[str, Mapping[str, float]] | None = None,
    label: str = "accuracy",
) -> Figure:
    """Accuracy against severity 0, 1, ... per panel (corruption) and arm; line = mean, faint dots = trials.

    The paper tests severity 3 only: its values are hollow diamonds in the arm's colour.
    """
    arms, published = union(curves.values()), published or {}
    figure, axes = new_figure(1, max(len(curves), 1), 3.9, sharey=True)
    for panel, (title, by_arm) in zip(axes[0], curves.items(), strict=False):
        for arm, shift in zip(arms, spread(len(arms), 0.1), strict=True):
            rows, how = as_rows(by_arm.get(arm, ())), look(arm)
            for row in rows:
                panel.plot(np.arange(len(row)) + shift, row, "o", color=how.colour, ms=3, alpha=0.3, mec="none")
            mean = mean_row(rows)
            panel.plot(range(len(mean)), mean, color=how.colour, ls=how.line, marker=how.marker, ms=4)
            if arm in published.get(title, {}):
                panel.plot([3], [published[title][arm]], **PUBLISHED_LOOK | {"mec": how.colour, "ms": 10})
        panel.set_title(title)
        panel.set_xlabel("severity")
        panel.grid(axis="y")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes[0, 0].set_ylabel(label)
    legend_below(figure, [*arm_handles(arms), *published_handles(any(published.values()))], columns=7)
    return figure


FACTORS = {"tau2": "τ²", "one": "1", "inv_tau2": "1/τ²"}


@styled
def draw_factors(
    scores: Mapping[str, Mapping[tuple[str, bool], Values]],
    references: Mapping[str, Mapping[str, float]],
    label: str = "accuracy of the CNN → MLP student",
) -> Figure:
    """Scores per panel (test set) for each (temperature factor, penalty on or off): dots = trials, bar = mean.

    Factors are named tau2, one, inv_tau2. `references` are the arms drawn as horizontal lines, such as the
    independent MLP and the teacher.
    """
    figure, axes = new_figure(1, max(len(scores), 1), 3.8, sharey=True, sharex=True)
    for panel, (title, groups) in zip(axes[0], scores.items(), strict=False):
        for arm, value in references.get(title, {}).items():
            panel.axhline(value, color=look(arm).colour, ls=look(arm).line, lw=1.2)
        for (factor, penalty), values in groups.items():
            x = list(FACTORS).index(factor) + (0.14 if penalty else -0.14)
            _draw_group(panel, x, np.asarray(values, dtype=float), filled=penalty)
        panel.set_title(title)
        panel.set_xlabel("factor of the distillation loss")
        panel.grid(axis="y")
    axes[0, 0].set_xticks(range(len(FACTORS)), list(FACTORS.values()))
    axes[0, 0].set_xlim(-0.6, len(FACTORS) - 0.4)
    axes[0, 0].set_ylabel(label)
    dot = {"color": INK, "marker": "o", "ls": "", "ms": 5}
    handles = [Line2D([], [], **dot, label="with penalty"), Line2D([], [], **dot, mfc="none", label="without penalty")]  # type: ignore[arg-type]
    lines = [
        Line2D([], [], color=look(arm).colour, ls=look(arm).line, lw=1.2, label=arm)
        for arm in union(references.values())
    ]
    mean = Line2D([], [], color=INK, lw=2, label="mean")
    legend_below(figure, [*handles, mean, *lines], columns=7)
    return figure


def _draw_group(panel: Axes, x: float, values: np.ndarray, filled: bool) -> None:
    """One group of trials as dots around a bar at their mean, or the word for a hole."""
    if not len(values):
        above_lines = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        place = panel.get_xaxis_transform()
        panel.text(x, 0.03, "missing", color=GREY, rotation=90, ha="center", transform=place, bbox=above_lines)
        return
    panel.plot(x + spread(len(values), 0.06), values, "o", color=INK, mfc=INK if filled else "white", ms=4, mew=0.9)
    panel.plot([x - 0.1, x + 0.1], [values.mean()] * 2, color=INK, lw=2, zorder=1)


@styled
def draw_training(
    curves: Mapping[str, Mapping[str, Rows]], label: str = "training loss", first_epoch: int = 1
) -> Figure:
    """Training loss against epoch on a logarithmic axis; per panel (objective) and arm: faint trials, bold mean.

    Labels and teachers give losses of different units: put them in different panels, which share only the epochs.
    """
    arms = union(curves.values())
    figure, axes = new_figure(1, max(len(curves), 1), 3.6 + 0.13 * max(len(arms) - 6, 0), sharex=True)
    for panel, (title, by_arm) in zip(axes[0], curves.items(), strict=False):
        for arm, trials in by_arm.items():
            rows, how = as_rows(trials), look(arm)
            for row in rows:
                panel.plot(first_epoch + np.arange(len(row)), row, color=how.colour, lw=0.7, alpha=0.35)
            mean = mean_row(rows)
            dot = how.marker if len(mean) == 1 else ""  # one epoch makes no line
            panel.plot(first_epoch + np.arange(len(mean)), mean, color=how.colour, ls=how.line, marker=dot)
        panel.set_yscale("log")
        panel.set_title(title)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        panel.grid(axis="y")
    axes[0, 0].set_ylabel(label)
    legend_below(figure, [Line2D([], [], color=look(arm).colour, ls=look(arm).line, label=arm) for arm in arms])
    return figure


@dataclass(frozen=True)
class Reliability:
    """Equal-width bins of confidence from 0 to 1: mean confidence and accuracy (NaN where empty), and the counts."""

    confidence: Values
    accuracy: Values
    counts: Values


@styled
def draw_reliability(
    panels: Mapping[str, Mapping[str, Reliability]], by_student: bool = True, lowest: float = 0.0
) -> Figure:
    """Accuracy against confidence: columns = test sets, rows = families of students; below each, bin shares.

    Not `by_student`: all arms in one row. `lowest` is where the axis of confidence begins, 0.5 for two classes.
    """
    arms = union(panels.values())
    families = (union([student_of(arm)] for arm in arms) if by_student else []) or [""]
    figure, axes = new_figure(
        2 * len(families),
        max(len(panels), 1),
        4.0 * len(families) if by_student else 5.2,
        sharex=True,
        sharey="row",
        gridspec_kw={"height_ratios": [3.2, 1] * len(families)},
    )
    for column, (title, by_arm) in enumerate(panels.items()):
        axes[0, column].set_title(title)
        axes[-1, column].set_xlabel("confidence")
        for row, family in enumerate(families):
            members = {arm: curve for arm, curve in by_arm.items() if not by_student or student_of(arm) == family}
            _draw_reliability(axes[2 * row, column], axes[2 * row + 1, column], members)
    for row, family in enumerate(families):
        axes[2 * row, 0].set_ylabel(f"{family} students\naccuracy" if by_student else "accuracy")
        axes[2 * row + 1, 0].set_ylabel("share")
    if lowest:
        axes[0, 0].set_xlim(left=lowest)
    legend_below(figure, arm_handles(arms))
    return figure


def _draw_reliability(upper: Axes, lower: Axes, curves: Mapping[str, Reliability]) -> None:
    upper.plot([0, 1], [0, 1], color=GREY, lw=0.8)
    for arm, curve in curves.items():
        how, counts = look(arm), np.asarray(curve.counts, dtype=float)
        upper.plot(curve.confidence, curve.accuracy, color=how.colour, ls=how.line, marker=how.marker, ms=3.5, lw=1.3)
        share = counts / max(counts.sum(), 1)
        lower.stairs(share, np.linspace(0, 1, len(counts) + 1), color=how.colour, ls=how.line, lw=1.3)
    upper.set(xlim=(0, 1), ylim=(0, 1))
    upper.grid()
    lower.set_ylim(0, 1)
