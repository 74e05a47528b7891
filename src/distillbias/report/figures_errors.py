"""Figures of error sets: Venn diagrams with exact counts, and overlap against what chance alone gives."""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from distillbias.report.figures_style import (
    GREY,
    INK,
    Values,
    legend_below,
    new_figure,
    point_handles,
    spread,
    styled,
    union,
)

REGIONS = ("100", "010", "110", "001", "101", "011", "111")  # which of A, B, C hold the errors, in order of counts
SET_COLOURS = ("#1f5fa8", "#d2691e", "#8a8a8a")


@dataclass(frozen=True)
class Venn:
    """Three sets A, B, C of errors. `counts` in the order A only, B only, AB, C only, AC, BC, ABC (each exclusive)."""

    title: str
    names: tuple[str, str, str]
    counts: tuple[int, int, int, int, int, int, int]
    lines: tuple[str, ...] = ()  # printed below, such as "Jaccard A, B 0.49, by chance 0.02"
    colours: tuple[str, str, str] = SET_COLOURS

    @property
    def sizes(self) -> tuple[int, int, int]:
        a, b, ab, c, ac, bc, abc = self.counts
        return a + ab + ac + abc, b + ab + bc + abc, c + ac + bc + abc


@styled
def draw_venn(panels: Sequence[Venn]) -> Figure:
    """Figures 11 and 12: error sets as circles, the same area per error in every panel; counts are exact.

    Areas are as near as three circles allow. A count that does not fit its region stands beside the diagram, tied to
    the region by a thin line.
    """
    columns = min(2, max(len(panels), 1))
    rows = max(-(-len(panels) // columns), 1)
    figure, axes = new_figure(rows, columns, 4.6 * rows)
    largest = max((sum(venn.counts) for venn in panels), default=0)
    labels = [_draw_circles(axes.flat[i], venn, largest) for i, venn in enumerate(panels)]
    for panel in axes.flat[len(panels) :]:
        panel.set_axis_off()
    _common_limits([axes.flat[i] for i, venn in enumerate(panels) if sum(venn.counts)])
    figure.draw_without_rendering()  # fixes the layout: only now is it known which counts fit
    for panel, texts in zip(axes.flat, labels, strict=False):
        _move_crowded(panel, texts)
    return figure


def _draw_circles(panel: Axes, venn: Venn, largest: int) -> list[tuple[Text, np.ndarray]]:
    """Draw one diagram; returns each count's text with the outline of its region."""
    from matplotlib_venn import venn3  # imports pyplot, so only where it is needed
    from matplotlib_venn.layout.venn3 import DefaultLayoutAlgorithm

    panel.set_title(venn.title)
    handles = [
        Patch(fc=colour, alpha=0.5, label=f"{name}: {size:,} errors")
        for name, size, colour in zip(venn.names, venn.sizes, venn.colours, strict=True)
    ]
    handles += [Patch(fc="none", ec="none", label=line) for line in venn.lines]
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (0, 0), "borderaxespad": 0.5}
    panel.legend(handles=handles, handlelength=1.2, borderpad=0, **place)
    panel.set_axis_off()
    if not sum(venn.counts):
        panel.text(0.5, 0.5, "no errors", color=GREY, style="italic", ha="center", transform=panel.transAxes)
        return []
    with warnings.catch_warnings():  # an empty set is a result here, not a mistake; three circles are never exact
        warnings.filterwarnings("ignore", message=".*(zero area|[Bb]ad circle|too small|numeric)")
        layout = DefaultLayoutAlgorithm(normalize_to=sum(venn.counts) / largest)
        diagram = venn3(venn.counts, None, venn.colours, 0.5, ax=panel, layout_algorithm=layout)
    panel.set_axis_off()
    found = []
    for key, count, text, patch in zip(REGIONS, venn.counts, diagram.subset_labels, diagram.patches, strict=True):
        if text is None:
            continue
        if patch is not None:
            members = [base for base, bit in zip(venn.colours, key, strict=True) if bit == "1"]
            mixed = np.mean([to_rgb(base) for base in members], axis=0)
            patch.set(alpha=None, fc=(*mixed, 0.3 + 0.15 * len(members)), ec="white", lw=1.0)
        text.set(fontsize=9, color=INK, text=f"{count:,}")
        outline = np.empty((0, 2)) if patch is None else np.concatenate(patch.get_path().to_polygons(closed_only=False))
        found.append((text, outline))
    return found


def _common_limits(panels: Sequence[Axes]) -> None:
    """The same scale in every panel, with room for counts at both sides."""
    if not panels:
        return
    spans = [(*panel.get_xlim(), *panel.get_ylim()) for panel in panels]
    half = max(max(right - left, top - bottom) for left, right, bottom, top in spans) / 2
    for panel, (left, right, bottom, top) in zip(panels, spans, strict=True):
        middle = (bottom + top) / 2
        panel.set(
            xlim=((left + right) / 2 - half, (left + right) / 2 + 1.5 * half), ylim=(middle - half, middle + half)
        )
        panel.set_aspect("equal", adjustable="box")


def _move_crowded(panel: Axes, texts: Sequence[tuple[Text, np.ndarray]]) -> None:
    """Move each count that does not fit its region to a side of the panel, so that the lines disturb least."""
    crowded = [text for text, outline in texts if not _fits(panel, text, outline)]
    for empty in [text for text in crowded if text.get_text() == "0"]:
        crowded.remove(empty)  # nothing to point at; a zero stays only where circles cannot avoid a clear region
        empty.remove()
    if not crowded:
        return
    spots = np.array([text.get_position() for text in crowded])
    others = np.array([text.get_position() for text, _ in texts if text not in crowded and text.figure]).reshape(-1, 2)
    (left, right), span = panel.get_xlim(), np.ptp(panel.get_ylim())
    choices = [
        _side_places(spots, sides, (left, right), panel.get_ylim())
        for sides in itertools.product((0, 1), repeat=len(crowded))
    ]
    best = min(choices, key=lambda places: _disturbance(spots / span, places / span, others / span))
    for text, spot, place in zip(crowded, spots, best, strict=True):
        line = {"arrowstyle": "-", "color": GREY, "lw": 0.6, "shrinkA": 2, "shrinkB": 0}
        style: dict[str, Any] = {"ha": "left" if place[0] == left else "right", "va": "center", "size": 9, "color": INK}
        panel.annotate(text.get_text(), tuple(spot), tuple(place), arrowprops=line, **style)
        panel.plot(*spot[:, None], "o", ms=2, color=INK)
        text.remove()


def _side_places(
    spots: np.ndarray, sides: tuple[int, ...], edges: tuple[float, float], heights: tuple[float, float]
) -> np.ndarray:
    """Where each count goes when `sides` says left (0) or right (1); in a column, in the order of their regions."""
    places = np.empty_like(spots)
    for side in (0, 1):
        column = [i for i in np.argsort(-spots[:, 1], kind="stable") if sides[i] == side]
        for i, height in zip(column, _apart([spots[i, 1] for i in column], *heights), strict=True):
            places[i] = edges[side], height
    return places


def _disturbance(spots: np.ndarray, places: np.ndarray, others: np.ndarray) -> float:
    """Length of the lines, and a penalty wherever one touches another line, a dot, or a count in its region."""
    lines = [start + np.linspace(0, 1, 30)[:, None] * (end - start) for start, end in zip(spots, places, strict=True)]
    cost = float(np.hypot(*(spots - places).T).sum())
    for i, line in enumerate(lines):
        # a count is wider than high: what matters is how near the line passes above or below it
        marks = [(others, 0.05), (np.delete(spots, i, axis=0), 0.015), *((later, 0.012) for later in lines[i + 1 :])]
        for points, reach in marks:
            distance = np.hypot(*(line[:, None] - points[None]).transpose(2, 0, 1))
            cost += 0.5 * float((distance < reach).any(axis=0).sum() if points is others else (distance < reach).any())
    return cost


def _apart(heights: Sequence[float], bottom: float, top: float) -> list[float]:
    """Falling heights moved as little as needed to be a line of text apart and inside the panel."""
    step = 0.075 * (top - bottom)
    moved: list[float] = []
    for number, height in enumerate(heights):
        lowest = bottom + step * (len(heights) - number - 0.5)  # leaves room for those still to come
        highest = moved[-1] - step if moved else top - step / 2
        moved.append(min(max(height, lowest), highest))
    return moved


def _fits(panel: Axes, text: Text, outline: np.ndarray) -> bool:
    """Whether the region's outline stays outside the box of its count."""
    if not len(outline):
        return False
    box = text.get_window_extent().padded(1.5)
    x, y = panel.transData.transform(_dense(outline)).T
    return not bool(((x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)).any())


def _dense(outline: np.ndarray) -> np.ndarray:
    """The outline with points added along each side, so that no side passes unseen through a box."""
    steps = np.linspace(0, 1, 20)[:, None]
    return np.concatenate([a + steps * (b - a) for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True)])


@dataclass(frozen=True)
class Overlap:
    """How far two error sets agree, per trial: Jaccard index, and what two unrelated sets of these sizes give."""

    pair: str
    observed: Values
    expected: Values


@styled
def draw_overlap_bars(groups: Mapping[str, Sequence[Overlap]], label: str = "Jaccard index of errors") -> Figure:
    """Observed overlap (bar = mean, dots = trials) and overlap by chance (grey tick) per pair; a panel per test set."""
    pairs = union([overlap.pair for overlap in group] for group in groups.values())
    figure, axes = new_figure(1, max(len(groups), 1), 1.4 + 0.42 * len(pairs), sharex=True, sharey=True)
    for panel, (title, group) in zip(axes[0], groups.items(), strict=False):
        by_pair = {overlap.pair: overlap for overlap in group}
        for y, pair in enumerate(pairs):
            _draw_overlap(panel, y, by_pair.get(pair))
        panel.set_title(title)
        panel.set_xlabel(label)
        panel.grid(axis="x")
        panel.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(range(len(pairs)), pairs)
    axes[0, 0].set_ylim(max(len(pairs), 1) - 0.5, -0.5)
    axes[0, 0].set_xlim(left=0)
    one_trial = point_handles()[:1]
    chance = point_handles()[1:]
    chance[0].set(label="by chance", color=INK)
    legend_below(figure, [Patch(fc="#b9cde3", label="observed, mean"), *one_trial, *chance])
    return figure


def _draw_overlap(panel: Axes, y: int, overlap: Overlap | None) -> None:
    observed = np.asarray(overlap.observed if overlap else (), dtype=float)
    if overlap is None or not len(observed):
        place = panel.get_yaxis_transform()
        panel.text(0.02, y, "missing", color=GREY, style="italic", va="center", transform=place)
        return
    panel.barh([y], [observed.mean()], height=0.56, color="#b9cde3")
    panel.plot(observed, y + spread(len(observed), 0.17), "o", color="#1f5fa8", ms=4, alpha=0.75, mec="none")
    expected = np.asarray(overlap.expected, dtype=float)
    if len(expected):
        panel.plot([expected.mean()], [y], marker="|", color=INK, ms=17, mew=2.2)
