"""What all figures share: the look of each arm, the page-wide style, making and saving a figure.

matplotlib is used through its objects only (no pyplot state), so any process or test may draw.
"""

import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Values = Sequence[float | int] | np.ndarray  # one number per trial
Rows = Sequence[Values] | np.ndarray  # one row per trial

WIDTH = 10.0  # inches; the page shows 100 pixels an inch, so 9 points are read at 12.5 pixels
INK, GREY, FAINT = "#222222", "#777777", "#c9c9c9"
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib and has → and λ
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,  # text stays text
}
styled = rc_context(STYLE)  # decorates every drawing: the style holds inside it and is undone after


@dataclass(frozen=True)
class Look:
    """How an arm is drawn: the student's family decides the hue, the teacher the marker and the line."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


LOOKS = {
    "CNN": Look("#1f5fa8", "o", "-"),
    "CNN → CNN": Look("#6aaede", "s", (0, (5.0, 2.0))),
    "MLP → CNN": Look("#12827c", "D", (0, (1.5, 1.5))),
    "MLP": Look("#d2691e", "o", "-"),
    "MLP, no penalty": Look("#d2691e", "o", (0, (5.0, 2.0))),
    "MLP → MLP": Look("#eba938", "D", (0, (1.5, 1.5))),
    "CNN → MLP": Look("#9c1746", "s", (0, (5.0, 2.0))),
}
# Agreement: the student's family is the colour, its teacher the marker and the line.
_FAMILIES = {
    "Transformer": ("#1f5fa8", "s", (0, (1.5, 1.5))),
    "Transformer-seq": ("#12827c", "D", (0, (4.0, 1.5, 1.0, 1.5))),
    "UniversalTransformer-seq": ("#d2791e", "^", (0, (3.0, 1.5))),
    "LSTM": ("#9c1746", "v", (0, (5.0, 2.0))),
    "Small Transformer": ("#6aaede", "D", (0, (4.0, 1.5, 1.0, 1.5))),
    "Small LSTM": ("#d8749a", "^", (0, (3.0, 1.5))),
}
LOOKS |= {family: Look(colour, "o", "-") for family, (colour, _, _) in _FAMILIES.items()}
LOOKS |= {
    f"{teacher} → {student}": Look(colour, marker, line)
    for student, (colour, _, _) in _FAMILIES.items()
    for teacher, (_, marker, line) in _FAMILIES.items()
}
_OTHERS = ("#6a51a3", "#3f7f3f", "#b0508f", "#555555", "#8c6d31", "#2f9fb0")


def look(arm: str) -> Look:
    """The look of an arm; arms that the paper does not have get one from their name, the same in every figure."""
    if arm in LOOKS:
        return LOOKS[arm]
    number = zlib.crc32(arm.encode())
    return Look(_OTHERS[number % len(_OTHERS)], "ov^Pp"[number % 5], "-")


def student_of(arm: str) -> str:
    """The student's name in "teacher → student"; an independent model is its own."""
    return arm.rpartition("→")[2].strip()


def new_figure(
    rows: int = 1, columns: int = 1, height: float = 3.2, width: float = WIDTH, **shared: object
) -> tuple[Figure, np.ndarray]:
    """A figure with its own canvas, and its axes as an array [rows, columns]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.set(w_pad=0.08, h_pad=0.08)  # type: ignore[call-arg]
    axes = figure.subplots(rows, columns, squeeze=False, **shared)  # type: ignore[call-overload]
    return figure, axes


def union(groups: Iterable[Iterable[str]]) -> list[str]:
    """The names in all groups, each once, in order of first appearance."""
    return list(dict.fromkeys(name for group in groups for name in group))


def arm_handles(arms: Iterable[str], *, line: bool = True) -> list[Artist]:
    """Legend entries of arms."""
    return [
        Line2D(
            [], [], color=look(arm).colour, ls=look(arm).line if line else "", marker=look(arm).marker, ms=5, label=arm
        )
        for arm in arms
    ]


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 6) -> None:
    """A legend outside the panels, where it can cover no data, in at most so many columns as the figure is wide for."""
    if handles:
        columns = min(columns, len(handles))
        while columns > 1 and _legend_inches(handles, columns) > figure.get_figwidth():
            columns -= 1
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)


def _legend_inches(handles: Sequence[Artist], columns: int) -> float:
    """About how wide a legend is: 0.077 inches a letter at 9 points, 0.65 for the handle and the gaps of a column."""
    longest = [max(len(str(handle.get_label())) for handle in part) for part in np.array_split(list(handles), columns)]
    return sum(0.65 + 0.077 * letters for letters in longest)


def as_rows(trials: Rows) -> list[np.ndarray]:
    """One float array per trial."""
    return [np.asarray(trial, dtype=float) for trial in trials]


def mean_row(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over trials at each position that every trial reached; empty without trials."""
    length = min((len(row) for row in rows), default=0)
    return np.mean([row[:length] for row in rows], axis=0) if length else np.empty(0)


@dataclass(frozen=True)
class Saved:
    """Where a figure lies, and its picture for a page."""

    png: bytes
    png_path: Path
    pdf_path: Path


def save(figure: Figure, folder: Path, name: str) -> Saved:
    """Write `name`.png (150 dots an inch) and `name`.pdf. Equal figures give equal bytes: no dates, no versions."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, document = io.BytesIO(), io.BytesIO()
    with rc_context(STYLE):  # some settings count only when the file is written
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        figure.set_layout_engine("none")  # it is laid out: anew for the document would take as long as to draw it
        figure.savefig(document, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    saved = Saved(picture.getvalue(), folder / f"{name}.png", folder / f"{name}.pdf")
    saved.png_path.write_bytes(saved.png)
    saved.pdf_path.write_bytes(document.getvalue())
    return saved


def spread(count: int, width: float) -> np.ndarray:
    """Fixed offsets that keep the dots of one group apart; no jitter, so equal input gives equal pictures."""
    return np.linspace(-width, width, count) if count > 1 else np.zeros(count)


PUBLISHED_LOOK: dict[str, Any] = {"marker": "D", "mfc": "none", "mec": INK, "mew": 1.1, "ms": 7.5, "ls": ""}


def published_handles(there: bool) -> list[Artist]:
    """The legend entry of published values, when there are any."""
    return [Line2D([], [], **PUBLISHED_LOOK, label="published")] if there else []


def point_handles() -> list[Artist]:
    """The legend entries of trials and their mean."""
    return [
        Line2D([], [], color=GREY, marker="o", ls="", ms=4, alpha=0.6, label="one trial"),
        Line2D([], [], color=GREY, marker="|", ls="", ms=12, mew=2.2, label="mean"),
    ]
