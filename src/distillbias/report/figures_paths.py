"""Figures of representations and basins: maps of models, training paths, loss along a line between two models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse as Patch
from matplotlib.patheffects import withStroke

from distillbias.analysis.ellipses import Ellipse
from distillbias.report.figures_style import (
    FAINT,
    GREY,
    INK,
    Rows,
    Values,
    arm_handles,
    as_rows,
    legend_below,
    look,
    mean_row,
    new_figure,
    styled,
    union,
)

HALO = [withStroke(linewidth=2.5, foreground="white")]  # keeps a small number readable on top of a line


@dataclass(frozen=True)
class PointMap:
    """Models as points in the plane: `arms[i]` is the arm of `points[i]`; stress as the scaling reported it.

    `ellipses`, one a model or none at all, show how far another sample of inputs would move them.
    """

    arms: Sequence[str]
    points: np.ndarray  # [models, 2]
    stress: float
    ellipses: Sequence[Ellipse] = ()


@dataclass(frozen=True)
class TrainingPath:
    """The stages of one training run in the plane; epoch 0 is the initial state."""

    epochs: Sequence[int]
    points: np.ndarray  # [stages, 2]


def _plane(panel: Axes) -> None:
    """Only distances mean something in a map: equal aspect, a frame, no ticks."""
    panel.set_aspect("equal", adjustable="box")
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(True)
    panel.spines[:].set_color(FAINT)


def _common_square(panels: Sequence[Axes], points: np.ndarray) -> float:
    """Give all panels the same square limits around the points; returns the side."""
    if not len(points):
        return 1.0
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) * 0.62, 1e-9)
    for panel in panels:
        panel.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    return 2 * half


@styled
def draw_map(maps: Mapping[str, PointMap]) -> Figure:
    """Figure 7: one panel per test set, one point per model; near = alike. The stress is printed in the corner.

    Each panel is its own map: rotation, mirror image and scale mean nothing. An ellipse, of the shape of the draws, is
    laid around its model's point.
    """
    width = min(4.9 * max(len(maps), 1), 10.0)
    figure, axes = new_figure(1, max(len(maps), 1), width / max(len(maps), 1) + 0.9, width=width)
    for panel, (title, each) in zip(axes[0], maps.items(), strict=False):
        points = np.asarray(each.points, dtype=float).reshape(-1, 2)
        for arm, (x, y) in zip(each.arms, points, strict=True):
            panel.plot([x], [y], look(arm).marker, color=look(arm).colour, ms=8, alpha=0.85, mec="white", mew=0.7)
        for arm, middle, each_shape in zip(each.arms, points, each.ellipses, strict=False):
            long, short = each_shape.half_lengths
            turned = float(np.degrees(each_shape.angle))
            colour = look(arm).colour
            panel.add_patch(Patch(tuple(middle), 2 * long, 2 * short, angle=turned, fc=colour, alpha=0.18, lw=0))
        _plane(panel)
        reach = np.array([each_shape.half_lengths[0] for each_shape in each.ellipses] or [0.0] * len(points))[:, None]
        _common_square([panel], np.concatenate([points - reach, points + reach]))  # no ellipse is cut
        panel.set_title(title)
        # below the frame, not inside: no corner of a map is sure to be empty
        panel.text(1, -0.02, f"stress {each.stress:.3f}", color=GREY, ha="right", va="top", transform=panel.transAxes)
    legend_below(figure, arm_handles(union(each.arms for each in maps.values()), line=False), 6 if width > 6 else 3)
    return figure


@styled
def draw_paths(paths: Mapping[str, Sequence[TrainingPath]], stress: float | None = None) -> Figure:
    """Figure 1: one panel per arm, all in one joint space on common limits.

    The arm's first run is drawn in colour from the hollow square (start) to the filled one (end), arrows along it;
    every other run of every arm is faint grey behind it, so that the panels can be compared by eye.
    """
    figure, axes = new_figure(1, max(len(paths), 1), 4.1)
    every = [path for runs in paths.values() for path in runs]
    points = [np.asarray(path.points, dtype=float).reshape(-1, 2) for path in every]
    side = _common_square(list(axes[0]), np.concatenate(points) if points else np.empty((0, 2)))
    for panel, (arm, runs) in zip(axes[0], paths.items(), strict=False):
        for other in points:
            panel.plot(*other.T, color=FAINT, lw=0.8, alpha=0.7, zorder=1)
        if runs:
            _draw_path(panel, runs[0], look(arm).colour, side)
        else:
            panel.text(0.5, 0.5, "missing", color=GREY, style="italic", ha="center", transform=panel.transAxes)
        _plane(panel)
        panel.set_title(arm)
    if stress is not None:
        corner = axes[0, -1]
        corner.text(1, -0.02, f"stress {stress:.3f}", color=GREY, ha="right", va="top", transform=corner.transAxes)
    square: dict[str, Any] = {"color": GREY, "marker": "s", "ls": "", "ms": 7}
    handles = [
        Line2D([], [], **square, mfc="white", mew=1.4, label="start"),
        Line2D([], [], **square, label="end"),
        Line2D([], [], color=FAINT, label="all other runs"),
    ]
    legend_below(figure, handles)
    return figure


def _draw_path(panel: Axes, path: TrainingPath, colour: str, side: float) -> None:
    points = np.asarray(path.points, dtype=float).reshape(-1, 2)
    panel.plot(*points.T, color=colour, lw=1.5, marker="o", ms=3.5, zorder=3)
    for start, end in zip(points[:-1], points[1:], strict=True):
        if np.hypot(*(end - start)) > 0.08 * side:  # a shorter step has no room for an arrow head
            middle = start + 0.58 * (end - start)
            arrow = {"arrowstyle": "-|>", "color": colour, "lw": 0, "mutation_scale": 15, "shrinkA": 0, "shrinkB": 0}
            panel.annotate("", xy=tuple(middle), xytext=tuple(start), arrowprops=arrow, zorder=3)
    ends: dict[str, Any] = {"color": colour, "marker": "s", "ms": 8, "mew": 1.5, "zorder": 4}
    panel.plot(*points[:1].T, **ends, mfc="white")
    panel.plot(*points[-1:].T, **ends)
    _label_epochs(panel, path.epochs, points, side)


def _label_epochs(panel: Axes, epochs: Sequence[int], points: np.ndarray, side: float) -> None:
    """Epoch numbers beside the stages, the ends first, each only where it stands clear of path and other numbers."""
    last = len(points) - 1
    route = np.concatenate([points, *(points[:-1] + share * np.diff(points, axis=0) for share in (0.25, 0.5, 0.75))])
    placed: list[np.ndarray] = []
    for stage in dict.fromkeys([0, last, *range(last)]):
        spot = points[stage] + _outward(points, stage) * 0.055 * side
        clear_of_path = stage in (0, last) or np.hypot(*(route - spot).T).min() > 0.045 * side
        clear_of_numbers = all(np.hypot(*(spot - other)) > 0.085 * side for other in placed)
        if clear_of_path and clear_of_numbers:
            placed.append(spot)
            text = panel.text(float(spot[0]), float(spot[1]), str(epochs[stage]), color=INK, size=8, zorder=5)
            text.set(ha="center", va="center", path_effects=HALO)


def _outward(points: np.ndarray, stage: int) -> np.ndarray:
    """Unit vector away from the path: square to it, on its outer side; at the ends, on along it."""
    last = len(points) - 1
    along = points[min(stage + 1, last)] - points[max(stage - 1, 0)]
    if stage in (0, last):
        direction = -along if stage == 0 else along
    else:
        direction = np.array([-along[1], along[0]])
        direction = direction if direction @ (points[stage] - points.mean(axis=0)) >= 0 else -direction
    length = float(np.hypot(*direction))
    return direction / length if length else np.array([0.0, 1.0])


@styled
def draw_path_distance(
    curves: Mapping[str, Rows], epochs: Sequence[int], arms: Mapping[str, str], label: str = "distance to the teacher"
) -> Figure:
    """Distance to the teacher's path at each stage; per curve one row per trial, faint, and their mean bold.

    `arms` gives each curve's arm, hence its look; stages are equally spaced and named by their epoch.
    """
    figure, axes = new_figure(height=3.6, width=7.5)
    panel = axes[0, 0]
    for name, trials in curves.items():
        rows, how = as_rows(trials), look(arms[name])
        for row in rows:
            panel.plot(range(len(row)), row, color=how.colour, lw=0.7, alpha=0.35)
        mean = mean_row(rows)
        panel.plot(range(len(mean)), mean, color=how.colour, ls=how.line, marker=how.marker, ms=4, lw=2)
    panel.set_xticks(range(len(epochs)), [str(epoch) for epoch in epochs])
    panel.set(xlabel="stage, in 400ths of the run (the paper's epochs)", ylabel=label)
    panel.set_ylim(bottom=0)
    panel.grid(axis="y")
    looks = {name: look(arms[name]) for name in curves}
    handles = [Line2D([], [], color=h.colour, ls=h.line, marker=h.marker, ms=5, label=n) for n, h in looks.items()]
    legend_below(figure, handles, columns=2)
    return figure


REFRESHED, INTERPOLATED = "statistics refreshed", "as interpolated"


@dataclass(frozen=True)
class Barrier:
    """Loss along the line from model 1 (λ = 0) to model 2 (λ = 1).

    `losses` and `heights` (one number per trial) are keyed by how batch-norm statistics were treated: "statistics
    refreshed" is drawn solid in the arm's colour, any other, such as "as interpolated", grey and dashed.
    """

    arm: str
    points: Values  # the values of λ
    losses: Mapping[str, Rows]  # one row of losses per trial
    heights: Mapping[str, Values]


def _draw_barrier(panel: Axes, title: str, barrier: Barrier) -> None:
    for name, trials in barrier.losses.items():
        colour, line = _barrier_look(name, barrier.arm)
        rows = as_rows(trials)
        for row in rows:
            panel.plot(barrier.points, row, color=colour, lw=0.7, alpha=0.4)
        if rows:
            panel.plot(barrier.points, mean_row(rows), color=colour, ls=line, lw=2.2)
    if not any(len(trials) for trials in barrier.losses.values()):
        panel.text(0.5, 0.5, "missing", color=GREY, style="italic", ha="center", transform=panel.transAxes)
    lines = [f"{name}: {_height(values)}" for name, values in barrier.heights.items()]
    panel.set_title(title, pad=8 + 12 * len(lines))
    for number, text in enumerate(reversed(lines)):
        panel.annotate(text, (0, 1), (0, 6 + 12 * number), "axes fraction", "offset points", size=8, color=GREY)
    panel.set(xlim=(0, 1), xlabel="λ")
    panel.grid(axis="y")


def _barrier_look(name: str, arm: str) -> tuple[str, str]:
    return (look(arm).colour, "-") if name == REFRESHED else (GREY, "--")


def _height(values: Values) -> str:
    heights = np.asarray(values, dtype=float)
    if not len(heights):
        return "missing"
    sd = f"{heights.std(ddof=1):.3f}" if len(heights) > 1 else "–"
    return f"barrier {heights.mean():.3f} ± {sd} (n={len(heights)})"


def _barrier_handles(barriers: Sequence[Barrier]) -> list[Line2D]:
    names = union(barrier.losses for barrier in barriers)
    colour = {REFRESHED: INK}
    return [Line2D([], [], color=colour.get(n, GREY), ls=_barrier_look(n, "")[1], lw=2.2, label=n) for n in names]


@styled
def draw_barriers(panels: Mapping[str, Barrier], label: str = "test loss") -> Figure:
    """Figure 8: loss on the line between two models that began at the same weights; one panel per family.

    A faint line per trial, the mean bold; the height of the barrier over each panel.
    """
    figure, axes = new_figure(1, max(len(panels), 1), 4.0, sharey=True)
    for panel, (title, barrier) in zip(axes[0], panels.items(), strict=False):
        _draw_barrier(panel, title, barrier)
    axes[0, 0].set_ylabel(label)
    legend_below(figure, _barrier_handles(list(panels.values())))
    return figure


@styled
def draw_barrier_triangle(
    panels: Mapping[tuple[str, str], Barrier],
    teachers: Sequence[str] = ("Data", "MLP", "CNN"),
    student: str = "MLP",
    label: str = "test loss",
) -> Figure:
    """Figure 9: the lower triangle of pairs; row = teacher of student #1, column = teacher of student #2.

    Keys are (row, column). Panels are lettered in the paper's order, (a) to (f) for three teachers.
    """
    size = len(teachers)
    figure, axes = new_figure(size, size, 2.9 * size, sharex=True, sharey=True)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    for i, row in enumerate(teachers):
        for j, column in enumerate(teachers):
            if j > i:
                axes[i, j].set_axis_off()
                continue
            barrier = panels.get((row, column)) or Barrier(student, (), {}, {})
            _draw_barrier(axes[i, j], f"({next(letters)})  {row} – {column}", barrier)
            axes[i, j].set_xlabel(f"λ\n{student} #2 from {column}" if i == size - 1 else "")
        axes[i, 0].set_ylabel(f"{student} #1 from {row}\n{label}")
    axes[0, -1].legend(handles=_barrier_handles(list(panels.values())), loc="center", fontsize=10)
    return figure
