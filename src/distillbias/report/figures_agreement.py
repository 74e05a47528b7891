"""Figures of agreement: accuracy by group, scores by student and teacher, accuracy against perplexity."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from distillbias.report.figures_style import (
    GREY,
    INK,
    Values,
    arm_handles,
    legend_below,
    look,
    new_figure,
    spread,
    styled,
    union,
)

Curves = Mapping[str, Sequence[Mapping[int, float]]]  # arm -> one {group: score} a trial; nan: no example


@styled
def draw_groups(panels: Mapping[str, Curves], label: str, score: str = "accuracy") -> Figure:
    """Accuracy against the group (attractors, distance) per panel and arm; bold = mean, thin = single trials."""
    arms = union(panels.values())
    figure, axes = new_figure(1, max(len(panels), 1), 3.9, sharex=True, sharey=True)
    for panel, (title, curves) in zip(axes[0], panels.items(), strict=False):
        for arm, trials in curves.items():
            how = look(arm)
            for trial in trials:
                panel.plot(list(trial), list(trial.values()), color=how.colour, lw=0.7, alpha=0.35)
            if trials:
                groups = list(trials[0])
                mean = np.mean([[trial[group] for group in groups] for trial in trials], axis=0)
                panel.plot(groups, mean, color=how.colour, ls=how.line, marker=how.marker, ms=4.5)
        panel.set_title(title)
        panel.set_xlabel(label)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(axis="y")
    axes[0, 0].set_ylabel(score)
    legend_below(figure, arm_handles(arms), columns=4)
    return figure


@styled
def draw_students(panels: Mapping[str, Mapping[str, Values]], families: Sequence[str]) -> Figure:
    """Figure 3: a score per panel; students side by side, at each one a marker a teacher, black from labels.

    `panels` are {title: {arm: a value a trial}}; arms are families and "teacher → student".
    """
    figure, axes = new_figure(1, max(len(panels), 1), 4.4)
    for panel, (title, scores) in zip(axes[0], panels.items(), strict=False):
        means = [_mean(scores.get(family, ())) for family in families]
        panel.plot(range(len(families)), means, color=INK, ls="--", lw=1.0, zorder=1)
        for x, student in enumerate(families):
            _draw_values(panel, float(x), scores.get(student, ()), INK, "o")
            for teacher, shift in zip(families, spread(len(families), 0.3), strict=True):
                arm = f"{teacher} → {student}"
                _draw_values(panel, float(x + shift), scores.get(arm, ()), look(arm).colour, look(arm).marker)
        panel.set_title(title)
        panel.set_xticks(range(len(families)), [_broken(family) for family in families])
        panel.set_xlim(-0.6, len(families) - 0.4)
        panel.set_xlabel("student")
        panel.grid(axis="y")
    handles = [Line2D([], [], color=INK, ls="--", marker="o", ms=6, lw=1.0, label="from labels")]
    for teacher in families:
        marker = look(f"{teacher} → {teacher}").marker
        handles.append(Line2D([], [], color=GREY, ls="", marker=marker, ms=6, label=f"taught by {teacher}"))
    legend_below(figure, handles)
    return figure


def _broken(family: str) -> str:
    """A long name on several lines, so that neighbours do not touch."""
    return family.replace("-seq", "\n-seq").replace("UniversalT", "Universal\nT").replace("Small ", "Small\n")


def _mean(values: Values) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _draw_values(panel: Axes, x: float, values: Values, colour: str, marker: str) -> None:
    if len(values):
        panel.plot([x] * len(values), values, marker, color=colour, ms=3.5, alpha=0.4, mec="none")
        panel.plot([x], [_mean(values)], marker, color=colour, ms=7, mec="white", mew=0.6)


@styled
def draw_tradeoff(
    points: Mapping[str, Sequence[tuple[float, float]]], arrows: Sequence[tuple[str, str]] = ()
) -> Figure:
    """Figures 2 and 4: A-accuracy against perplexity, which falls to the right; a point a trial, and the mean.

    `arrows` lead from the mean of one arm to that of another.
    """
    figure, axes = new_figure(1, 1, 4.4, width=7.0)
    panel = axes[0, 0]
    means = {arm: np.mean(pairs, axis=0) for arm, pairs in points.items() if len(pairs)}
    for arm, mean in means.items():
        how = look(arm)
        panel.plot(*np.transpose(points[arm]), how.marker, color=how.colour, ms=4, alpha=0.45, mec="none")
        panel.plot(*mean[:, None], how.marker, color=how.colour, ms=10, mec="white", mew=0.8)
    for start, end in arrows:
        if start in means and end in means:
            style = {"arrowstyle": "-|>", "color": GREY, "lw": 1.0, "shrinkA": 7, "shrinkB": 7}
            panel.annotate("", tuple(means[end]), tuple(means[start]), arrowprops=style)
    if not means:
        panel.text(0.5, 0.5, "missing", color=GREY, style="italic", ha="center", transform=panel.transAxes)
    panel.margins(0.12)
    panel.invert_xaxis()
    panel.set_xlabel("perplexity (lower to the right)")
    panel.set_ylabel("A-accuracy")
    panel.grid()
    legend_below(figure, arm_handles(points, line=False), columns=3)
    return figure
