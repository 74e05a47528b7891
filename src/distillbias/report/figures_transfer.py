"""Figure of transfer coefficients: one row an arm, one panel a metric."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distillbias.analysis.transfer import Transfer
from distillbias.report.figures_style import (
    GREY,
    INK,
    legend_below,
    look,
    new_figure,
    point_handles,
    spread,
    styled,
)

ACROSS = 3  # panels in a row
LEAST, MOST = -0.5, 1.25  # drawn at least; intervals beyond twice this range end in an arrow


@styled
def draw_coefficients(found: Mapping[str, Mapping[str, Transfer]], arms: Sequence[str]) -> Figure:
    """Panels are {metric: {arm: its transfer}}, three beside one another; in each the rows are `arms`, top to bottom.

    Lines at 0 (nothing) and 1 (all).
    """
    columns = min(ACROSS, max(len(found), 1))
    rows = max(1, -(-len(found) // columns))
    figure, axes = new_figure(rows, columns, 0.5 + rows * (0.8 + 0.34 * len(arms)), sharey=True)
    for panel in axes.flat[len(found) :]:
        panel.set_visible(False)
    for panel, (title, by_arm) in zip(axes.flat, found.items(), strict=False):
        panel.axvline(0, color=GREY, lw=0.8)
        panel.axvline(1, color=INK, lw=0.8, ls=(0, (4.0, 3.0)))
        low, high = _limits(by_arm)
        panel.set_xlim(low, high)
        for y, arm in enumerate(arms):
            _draw_arm(panel, y, by_arm.get(arm), look(arm).colour, low, high)
        panel.set_title(title)
        panel.set_xlabel("transfer coefficient")
        panel.grid(axis="x")
        panel.tick_params(axis="y", length=0)
    axes[0, 0].set_yticks(range(len(arms)), arms)
    axes[0, 0].set_ylim(len(arms) - 0.5, -0.5)
    legend_below(figure, point_handles())
    return figure


def _limits(by_arm: Mapping[str, Transfer]) -> tuple[float, float]:
    """A common sense of 0 and 1 in every panel: far-off controls may not squeeze the students together."""
    defined = [one for one in by_arm.values() if not one.undefined]
    every = [one.coefficient for one in defined]
    return max(2 * LEAST, min([LEAST, *every]) - 0.1), min(2 * MOST, max([MOST, *every]) + 0.1)


def _draw_arm(panel: Axes, y: int, one: Transfer | None, colour: str, low: float, high: float) -> None:
    if one is None or one.undefined:
        told = "missing" if one is None else str(one.undefined)
        panel.text(0.02, y, told, color=GREY, style="italic", va="center", transform=panel.get_yaxis_transform())
        return
    dots = np.array([value for value in one.per_trial if np.isfinite(value)])
    ends = np.clip([one.low, one.high], low, high)
    panel.plot(ends, [y, y], color=colour, lw=2.2, alpha=0.55, solid_capstyle="butt")
    for end, bound, marker in ((one.low, low, "<"), (one.high, high, ">")):
        if (end < low) if marker == "<" else (end > high):
            panel.plot([bound], [y], marker, color=colour, ms=5, clip_on=False)
    inside = (dots >= low) & (dots <= high)
    panel.plot(dots[inside], y + spread(len(dots), 0.16)[inside], "o", color=colour, ms=4, alpha=0.6, mec="none")
    if low <= one.coefficient <= high:
        panel.plot([one.coefficient], [y], marker="|", color=colour, ms=15, mew=2.4)
        panel.annotate(
            f"{one.coefficient:.2f}".replace("-", "−"),
            (min(max(ends[1], dots.max(initial=-np.inf)), high), y),
            (6, 0),
            textcoords="offset points",
            size=8,
            color=INK,
            va="center",
            annotation_clip=False,
        )
    else:
        at, side = (low, "left") if one.coefficient < low else (high, "right")
        told = f"{one.coefficient:.1f}".replace("-", "−")
        panel.text(at, y, f" {told} ", ha=side, va="center", size=8, color=INK)
