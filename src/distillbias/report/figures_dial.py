"""Figures of a dial: what students gain against what their teachers have, ingredient by ingredient, and by data."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from distillbias.analysis.statistics import Summary
from distillbias.report.evidence import Trials
from distillbias.report.figures_style import GREY, INK, arm_handles, legend_below, look, new_figure, spread, styled

COLOURS = ("#9c1746", "#d2691e", "#eba938", "#3f7f3f", "#12827c", "#1f5fa8", "#6a51a3", "#555555")
MARKERS = "osD^vP*X"


@styled
def draw_doses(panels: Mapping[str, Mapping[str, tuple[Trials, Trials]]]) -> Figure:
    """Panels are {metric: {teacher: (its lead, its student's gain), both by trial}}; small: trials, large: means."""
    figure, axes = new_figure(1, max(len(panels), 1), 3.9)
    teachers = list(dict.fromkeys(teacher for panel in panels.values() for teacher in panel))
    for axis, (title, by_teacher) in zip(axes.flat, panels.items(), strict=False):
        axis.axhline(0, color=GREY, lw=0.8)
        for teacher, (leads, gains) in by_teacher.items():
            trials = sorted(leads.keys() & gains.keys())
            if not trials:
                continue
            x, y = [leads[trial] for trial in trials], [gains[trial] for trial in trials]
            number = teachers.index(teacher) % len(COLOURS)
            colour, marker = COLOURS[number], MARKERS[number]
            axis.plot(x, y, marker, color=colour, ms=4, alpha=0.45, mec="none")
            axis.plot([np.mean(x)], [np.mean(y)], marker, color=colour, ms=9, mec="white", mew=0.8)
        low, high = axis.get_xlim()
        bottom, top = axis.get_ylim()
        axis.plot([low, high], [low, high], color=INK, lw=0.8, ls=(0, (4.0, 3.0)), scalex=False, scaley=False)
        axis.set_xlim(low, high)
        axis.set_ylim(bottom, max(top, bottom + 0.3 * (high - low)))
        axis.set_title(title)
        axis.set_xlabel("teacher's lead")
        axis.grid()
    axes[0, 0].set_ylabel("its student's gain")
    handles = [
        Line2D([], [], ls="", marker=MARKERS[n % 8], color=COLOURS[n % 8], ms=7, label=teacher)
        for n, teacher in enumerate(teachers)
    ]
    legend_below(figure, [*handles, Line2D([], [], color=INK, ls=(0, (4.0, 3.0)), lw=0.8, label="all of the lead")], 4)
    return figure


@styled
def draw_effects(panels: Mapping[str, Mapping[str, tuple[Summary | None, Summary | None]]]) -> Figure:
    """Panels are {metric: {ingredient: (effect on teachers, effect on students)}}, with 95 % intervals."""
    rows = max((len(panel) for panel in panels.values()), default=1)
    figure, axes = new_figure(1, max(len(panels), 1), 1.2 + 0.5 * rows, sharey=True)
    for axis, (title, effects) in zip(axes.flat, panels.items(), strict=False):
        axis.axvline(0, color=GREY, lw=0.8)
        for y, both in enumerate(effects.values()):
            for effect, colour, marker, shift in zip(both, (INK, "#9c1746"), "os", (-0.14, 0.14), strict=True):
                if effect is None:
                    axis.text(0, y + shift, " missing", color=GREY, style="italic", va="center", size=8)
                    continue
                if effect.n > 1:
                    axis.plot([effect.low, effect.high], [y + shift] * 2, color=colour, lw=2, alpha=0.5)
                axis.plot([effect.mean], [y + shift], marker, color=colour, ms=6)
        axis.set_title(title)
        axis.set_xlabel("accuracy with − without")
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
    first = next(iter(panels.values()), {})
    axes[0, 0].set_yticks(range(len(first)), list(first))
    axes[0, 0].set_ylim(len(first) - 0.5, -0.5)
    handles = [
        Line2D([], [], ls="", marker="o", color=INK, label="teachers"),
        Line2D([], [], ls="", marker="s", color="#9c1746", label="their students"),
    ]
    legend_below(figure, handles)
    return figure


@styled
def draw_sizes(panels: Mapping[str, Mapping[str, Mapping[float, Trials]]], arms: Sequence[str]) -> Figure:
    """Panels are {metric: {arm: {share of the training set: by trial}}}; shares on a logarithmic axis."""
    figure, axes = new_figure(1, max(len(panels), 1), 3.3)
    for axis, (title, by_arm) in zip(axes.flat, panels.items(), strict=False):
        for number, arm in enumerate(arms):
            _draw_line(axis, arm, by_arm[arm], 1 + 0.04 * (number - 1))
        axis.set_xscale("log")
        shares = sorted({share for arm in arms for share in by_arm[arm]})
        axis.set_xticks(shares, [f"{share:.0%}".replace("%", " %") for share in shares])
        axis.minorticks_off()
        axis.set_title(title)
        axis.set_xlabel("share of the training set")
        axis.grid()
    axes[0, 0].set_ylabel("accuracy")
    legend_below(figure, arm_handles(arms))
    return figure


def _draw_line(axis: Axes, arm: str, by_share: Mapping[float, Trials], shift: float) -> None:
    shown = {share: list(trials.values()) for share, trials in sorted(by_share.items()) if trials}
    style = look(arm)
    axis.plot(list(shown), [np.mean(values) for values in shown.values()], color=style.colour, ls=style.line)
    for share, values in shown.items():
        places = share * shift * np.exp(spread(len(values), 0.03))
        axis.plot(places, values, style.marker, color=style.colour, ms=4, alpha=0.6, mec="none")
