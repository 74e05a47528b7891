"""What a terminal shows of a table."""

from typing import NamedTuple

from rich.table import Table as RichTable

from distillbias.report.tables import Table

LONG_NAME = 26
MANY_ROWS = 10


class Headline(NamedTuple):
    """A table as text: names of rows are the first column."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def headline(table: Table) -> Headline:
    """A table of many rows without the published numbers, which the page has."""
    lines = 1 if len(table.rows) > MANY_ROWS else None
    rows = []
    for row, cells in zip(table.rows, table.cells, strict=True):
        name = row if len(row) <= LONG_NAME else row.replace(" → ", " →\n")
        rows.append((name, *("\n".join(table.lines(cell)[:lines]) for cell in cells)))
    return Headline(table.title, table.note, (table.corner, *table.columns), tuple(rows))


def rich_table(shown: Headline) -> RichTable:
    """Names stay whole and numbers wrap where a terminal is narrow: rich would take the names away first."""
    made = RichTable(title=shown.title, caption=shown.note, row_styles=["", "dim"])
    corner, *columns = shown.columns
    made.add_column(corner, no_wrap=True)
    for column in columns:
        made.add_column(column, justify="right")
    for row in shown.rows:
        made.add_row(*row)
    return made
