"""Figures of probes: heat maps over offsets, and curves with every trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from distillbias.report.figures_style import (
    GREY,
    INK,
    Rows,
    Values,
    arm_handles,
    as_rows,
    legend_below,
    look,
    new_figure,
    styled,
    union,
)

COLOURS = "magma_r"  # light is 0; even in lightness, so it survives a grey print


@dataclass(frozen=True)
class Curves:
    """One panel: {arm: one row of values a trial} against `x`; nan leaves a gap. `mark` is an x and what is there."""

    title: str
    x: Values
    xlabel: str
    ylabel: str
    curves: Mapping[str, Rows]
    mark: tuple[float, str] | None = None


@styled
def draw_shift_maps(rows: Mapping[str, Mapping[str, np.ndarray]], inner: int) -> Figure:
    """Heat maps: one row a quantity, one column an arm, each map [2 * reach + 1] squared; one colour scale, 0 to 1.

    The frame is drawn around offsets of up to `inner` pixels, and their mean (without the middle) is told; the solid
    line is where the value is one half.
    """
    arms = union(rows.values())
    width = min(10.0, 2.9 * max(len(arms), 1) + 1.4)
    each = (width - 1.4) / max(len(arms), 1)
    figure, axes = new_figure(
        max(len(rows), 1), max(len(arms), 1), (each + 0.1) * max(len(rows), 1) + 0.45, width, sharex=True, sharey=True
    )
    image = None
    for panels, (quantity, maps) in zip(axes, rows.items(), strict=False):
        for panel, arm in zip(panels, arms, strict=False):
            if arm in maps:
                image = _draw_map(panel, maps[arm], inner)
            else:
                panel.text(0.5, 0.5, "missing", color=GREY, style="italic", ha="center", transform=panel.transAxes)
        panels[0].set_ylabel(f"{quantity}\nmoved down by, pixels")
    for panel, arm in zip(axes[0], arms, strict=False):
        panel.set_title(arm, color=look(arm).colour, fontweight="bold")
    for panel in axes[-1]:
        panel.set_xlabel("moved right by, pixels")
    if image is not None:
        bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=30, pad=0.02)
        bar.set_label(" and ".join(rows))
        bar.outline.set_visible(False)
    return figure


def _draw_map(panel: Axes, values: np.ndarray, inner: int):  # type: ignore[no-untyped-def]
    """One map with its frame, its half line and the mean inside the frame; returns the image for a colour bar."""
    reach = len(values) // 2
    edge, steps = reach + 0.5, np.arange(-reach, reach + 1)
    image = panel.imshow(values, cmap=COLOURS, vmin=0, vmax=1, extent=(-edge, edge, edge, -edge))
    if values.min() < 0.5 < values.max():
        panel.contour(steps, steps, values, levels=[0.5], colors=[INK], linewidths=0.9)
    if reach >= inner:
        frame = (-inner - 0.5, -inner - 0.5), 2 * inner + 1, 2 * inner + 1
        panel.add_patch(Rectangle(*frame, fill=False, ec="white", lw=1.2))  # seen on dark, the dashes on light
        panel.add_patch(Rectangle(*frame, fill=False, ec=INK, lw=1.2, ls=(0, (3.0, 3.0))))
        near = values[reach - inner : reach + inner + 1, reach - inner : reach + inner + 1]
        mean = (near.sum() - values[reach, reach]) / (near.size - 1)
        panel.set_title(f"mean in frame {mean:.2f}", loc="right", size=9, color=GREY)
    panel.plot([0], [0], "+", color=INK, ms=6, mew=0.8)
    ticks = [-reach, 0, reach]
    panel.set(xticks=ticks, yticks=ticks)
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    return image


@styled
def draw_curves(panels: Sequence[Curves], columns: int = 3) -> Figure:
    """A panel each, row by row: every trial a thin line, their mean thick. Panels of one `ylabel` share its limits."""
    shown = [panel for panel in panels if any(len(rows) for rows in panel.curves.values())]
    columns = min(columns, max(len(shown), 1))
    deep = max(-(-len(shown) // columns), 1)
    figure, axes = new_figure(deep, columns, 3.0 * deep + 0.5)
    limits = {label: _limits([panel for panel in shown if panel.ylabel == label]) for label in _labels(shown)}
    for place, panel in zip(axes.flat, shown, strict=False):
        _draw_curves(place, panel)
        place.set_ylim(limits[panel.ylabel])
    handles, free = arm_handles(union(panel.curves for panel in shown)), axes.flat[len(shown) :]
    for place in free:
        place.set_axis_off()
    if len(free) and shown:
        free[0].legend(handles=handles, loc="center", handlelength=3.2, labelspacing=0.9, fontsize=10)
    else:
        legend_below(figure, handles)
    return figure


def _draw_curves(place: Axes, panel: Curves) -> None:
    for arm, trials in panel.curves.items():
        rows, how = as_rows(trials), look(arm)
        for row in rows:
            place.plot(panel.x, row, color=how.colour, lw=0.7, alpha=0.4)
        if rows:
            mean = np.mean(rows, axis=0)
            place.plot(panel.x, mean, color=how.colour, ls=how.line, marker=how.marker, ms=3.5, lw=2.2)
    if panel.mark is not None:
        where, what = panel.mark
        place.axvline(where, color=GREY, lw=0.8, ls=":")
        style: Any = {"size": 8, "color": GREY, "va": "bottom", "ha": "left"}
        place.annotate(what, (where, 0), (3, 3), place.get_xaxis_transform(), "offset points", **style)
    if not np.mod(panel.x, 1).any():
        place.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    place.set_title(panel.title)
    place.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    place.grid(axis="y")


def _labels(panels: Sequence[Curves]) -> list[str]:
    return list(dict.fromkeys(panel.ylabel for panel in panels))


def _limits(panels: Sequence[Curves]) -> tuple[float, float]:
    """Around all values of the panels, with some air; from 0 where they come near it."""
    every = [row for panel in panels for rows in panel.curves.values() for row in as_rows(rows)]
    values = np.concatenate([row[np.isfinite(row)] for row in every] or [np.zeros(1)])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    air = 0.05 * max(high - low, 0.02)
    return (0.0 if 0 <= low < 0.25 * high else low - air), high + air
