"""Tables as values, and their renderings: Markdown, CSV and LaTeX (HTML is in `html.py`).

A table holds entries: a `Cell` (one number per trial, beside the published one), a plain number, a text, or None for
an empty place. A missing run is a visible hole and never a smaller mean.
"""

import csv
import io
import re
import statistics
from dataclasses import dataclass

from distillbias.data.text import printable
from distillbias.errors import InputError
from distillbias.report.published import Published

HOLE = "missing"
NO_SPREAD = "–"


@dataclass(frozen=True)
class Cell:
    """The values of one quantity over trials. `expected` is how many trials the study declares, where known."""

    values: tuple[float, ...]
    published: Published | None = None
    digits: int = 4
    expected: int | None = None
    trials: tuple[int, ...] = ()  # which trial each value belongs to; empty: 0, 1, ... when none is missing

    def __post_init__(self) -> None:
        if self.trials and len(self.trials) != len(self.values):
            raise InputError(f"{len(self.values)} values cannot belong to {len(self.trials)} trials")
        if self.expected is not None and len(self.values) > self.expected:
            raise InputError(f"{len(self.values)} values, but only {self.expected} trials are expected")

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def complete(self) -> bool:
        return self.n > 0 and self.expected in (None, self.n)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation (n - 1 in the denominator); None below two values."""
        return statistics.stdev(self.values) if self.n > 1 else None

    @property
    def difference(self) -> float | None:
        """Ours minus the published mean."""
        if self.mean is None or self.published is None:
            return None
        return self.mean - self.published.mean

    @property
    def number(self) -> str:
        """Mean and spread as text, or the word for a hole."""
        if self.mean is None:
            return HOLE
        mean = f"{self.mean:.{self.digits}f}".replace("-", "−")
        return f"{mean} ± {NO_SPREAD if self.sd is None else f'{self.sd:.{self.digits}f}'}"

    @property
    def count(self) -> str:
        """How many trials stand behind the number: "n=4", or "n=3 of 4" when some are missing."""
        return f"n={self.n}" if self.expected in (None, self.n) else f"n={self.n} of {self.expected}"

    @property
    def against(self) -> str:
        """The published number and our signed difference from it, as text; empty where nothing is published."""
        if self.published is None:
            return ""
        source = "logs" if self.published.source == "logs" else "paper"
        return f"{source} {self.published}" + ("" if self.difference is None else f" ({self._signed()})")

    def _signed(self) -> str:
        assert self.difference is not None
        rounded = round(self.difference, self.digits) + 0.0  # + 0.0: never "-0.0000"
        return f"{rounded:+.{self.digits}f}".replace("-", "−")


Entry = Cell | str | int | float | None


def interval(low: float, high: float) -> str:
    """An interval as an entry of a table."""
    return f"[{low:+.4f}, {high:+.4f}]".replace("-", "−")


@dataclass(frozen=True)
class Table:
    """Entries in rows and columns. `corner` heads the column of row names; `cells[i][j]` is row i, column j."""

    name: str  # file name without ending
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Entry, ...], ...]
    corner: str = ""

    def __post_init__(self) -> None:
        if len(self.cells) != len(self.rows):
            raise InputError(f"table {self.name!r}: {len(self.cells)} rows of cells for {len(self.rows)} row names")
        for row, cells in zip(self.rows, self.cells, strict=True):
            if len(cells) != len(self.columns):
                message = f"{len(cells)} cells for {len(self.columns)} columns"
                raise InputError(f"table {self.name!r}, row {row!r}: {message}")

    @property
    def common_n(self) -> int | None:
        """The most frequent number of trials among complete `Cell`s: said once in the note, not in each cell."""
        cells = [entry for row in self.cells for entry in row if isinstance(entry, Cell)]
        counts = [cell.n for cell in cells if cell.complete]
        return max(counts, key=counts.count) if counts else None

    def _usual(self, cell: Cell) -> bool:
        return cell.complete and cell.n == self.common_n

    @property
    def note(self) -> str:
        """What ± means and over how many trials; empty for a table without `Cell`s."""
        cells = [entry for row in self.cells for entry in row if isinstance(entry, Cell)]
        if not cells:
            return ""
        if self.common_n is None:
            return "No quantity here is complete; ± is the sample standard deviation over trials."
        exceptions = "" if all(self._usual(cell) for cell in cells) else " unless a cell says otherwise"
        if self.common_n == 1:
            return f"One trial (n = 1){exceptions}, so no spread."
        return f"± is the sample standard deviation over trials, n = {self.common_n}{exceptions}."

    @property
    def aligns(self) -> tuple[str, ...]:
        """Per column "right" when it holds numbers only, otherwise "left"."""
        quantities = [all(not isinstance(entry, str) for entry in column) for column in zip(*self.cells, strict=True)]
        return tuple("right" if column else "left" for column in quantities or [True] * len(self.columns))

    @property
    def holes(self) -> tuple[str, ...]:
        """Every incomplete place in words, for the warnings of a page; a row once where all its cells lack as many."""
        found = []
        for row, entries in zip(self.rows, self.cells, strict=True):
            cells = [
                (column, cell) for column, cell in zip(self.columns, entries, strict=True) if isinstance(cell, Cell)
            ]
            lacks = [(column, cell.count if cell.n else HOLE) for column, cell in cells if not cell.complete]
            if len(lacks) == len(cells) > 1 and len({lack for _, lack in lacks}) == 1:
                found.append(f"{self.title}: {row}: {lacks[0][1]}")
            else:
                found += [f"{self.title}: {row}, {column}: {lack}" for column, lack in lacks]
        return tuple(found)

    def lines(self, entry: Entry) -> tuple[str, ...]:
        """The lines of text to show for an entry: the number first, then its n where needed, then the published."""
        if entry is None:
            return ("",)
        if isinstance(entry, int | float):
            return (format(entry, ".4g" if isinstance(entry, float) else "d").replace("-", "−"),)
        if not isinstance(entry, Cell):
            return (str(entry),)
        known = self._usual(entry) or not (entry.n or entry.expected)  # the note gives n, or there is none to give
        number = entry.number if known else f"{entry.number} ({entry.count})"
        return tuple(line for line in (number, entry.against) if line)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: on one line, without HTML, emphasis, links or table bars."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", text)


def to_markdown(table: Table) -> str:
    """A heading, a pipe table, the caption and the note."""
    head = [escape_markdown(text) for text in (table.corner, *table.columns)]
    body = [
        [escape_markdown(row), *("<br>".join(map(escape_markdown, table.lines(entry))) for entry in cells)]
        for row, cells in zip(table.rows, table.cells, strict=True)
    ]
    rule = ["---", *("---:" if align == "right" else "---" for align in table.aligns)]
    rows = ["| " + " | ".join(line) + " |" for line in (head, rule, *body)]
    text = [f"**{escape_markdown(table.title)}**", "\n".join(rows), escape_markdown(f"{table.caption} {table.note}")]
    return "\n\n".join(part for part in text if part) + "\n"


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # the wide forms begin one, too, in some languages

CSV_COLUMNS = (
    *("table", "row", "column", "kind", "trial", "value", "n", "expected", "mean", "sd"),
    *("published", "published_sd", "published_source", "difference", "text"),
)


_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def _csv_safe(text: str) -> str:
    """A spreadsheet runs a text that begins like a formula; a quote in front keeps it a text. A number stays one.

    On one line, because a bare carriage return would begin a new row, and with it perhaps a formula.
    """
    text = printable(text)
    return "'" + text if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def _csv_records(entry: Entry) -> list[dict[str, object]]:
    """One record for the entry, and for a `Cell` one more per trial."""
    if entry is None:
        return [{"kind": "empty"}]
    if isinstance(entry, str):
        return [{"kind": "text", "text": _csv_safe(entry)}]
    if not isinstance(entry, Cell):
        return [{"kind": "number", "value": entry}]
    record: dict[str, object] = {"kind": "cell", "n": entry.n, "expected": entry.expected}
    record |= {"mean": entry.mean, "sd": entry.sd, "difference": entry.difference}
    if not entry.n:
        record["text"] = HOLE
    if entry.published:
        record |= {"published": entry.published.mean, "published_sd": entry.published.sd}
        record["published_source"] = entry.published.source
    # with a hole and no names, nobody can tell which trial a value belongs to: leave it blank
    trials = entry.trials or (range(entry.n) if entry.complete else [None] * entry.n)
    return [record] + [
        {"kind": "trial", "trial": trial, "value": value} for trial, value in zip(trials, entry.values, strict=True)
    ]


def to_csv(table: Table) -> str:
    """Long form, full precision: one row per entry (kind cell, number, text or empty) and one per trial value."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row, cells in zip(table.rows, table.cells, strict=True):
        for column, entry in zip(table.columns, cells, strict=True):
            place = {"table": _csv_safe(table.name), "row": _csv_safe(row), "column": _csv_safe(column)}
            writer.writerows(place | record for record in _csv_records(entry))
    return out.getvalue()


_LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"→": r"$\rightarrow$", "←": r"$\leftarrow$", "±": r"$\pm$", "−": r"$-$", "×": r"$\times$"},
    **{"≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "∩": r"$\cap$", "∪": r"$\cup$", "²": "$^2$"},
    **{"λ": r"$\lambda$", "τ": r"$\tau$", "µ": r"$\mu$", "μ": r"$\mu$", "Δ": r"$\Delta$", "κ": r"$\kappa$"},
    **{"–": "--", "—": "---", "…": r"\ldots{}", "·": r"$\cdot$", "[": "{[}", "]": "{]}"},
}


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is. Brackets are braced: after \\\\ a bare one would be read as a length."""
    return "".join(_LATEX.get(character, character) for character in printable(text))


def to_latex(table: Table) -> str:
    r"""A floating table that needs only `\usepackage{booktabs}`."""

    def stacked(entry: Entry) -> str:
        lines = [escape_latex(line) for line in table.lines(entry)]
        return lines[0] if len(lines) == 1 else rf"\shortstack[r]{{{lines[0]}\\\scriptsize {lines[1]}}}"

    head = " & ".join(escape_latex(text) for text in (table.corner, *table.columns))
    body = [
        " & ".join([escape_latex(row), *map(stacked, cells)]) + r" \\"
        for row, cells in zip(table.rows, table.cells, strict=True)
    ]
    title = table.title.rstrip(".") + "."
    caption = escape_latex(f"{title} {table.caption} {table.note}")
    texts = [
        max((len(entry) for entry in column if isinstance(entry, str)), default=0)
        for column in zip(*table.cells, strict=True)
    ]
    columns = "l" + "".join(
        r"p{0.4\linewidth}" if align == "left" and length > 40 else align[0]  # long texts break into lines
        for align, length in zip(table.aligns, texts or [0] * len(table.columns), strict=True)
    )
    label = re.sub(r"[^A-Za-z0-9-]+", "-", table.name)
    return "\n".join(
        [
            *(r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", rf"\label{{tab:{label}}}"),
            *(rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head + r" \\", r"\midrule"),
            *(*body, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""),
        ]
    )
