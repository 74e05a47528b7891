"""Which report belongs to which study, what a finished one hands back, and what there is to run."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.table import Table as RichTable

from distillbias.models.registry import MODELS
from distillbias.report import agreement, agreement_lm, vision
from distillbias.report.html import Page
from distillbias.report.tables import Table
from distillbias.report.writing import Gallery, write_page
from distillbias.studies.catalogue import SCALES, STUDIES
from distillbias.studies.run import PARTS
from distillbias.studies.store import Store, clear_errors
from distillbias.studies.study import Study

PAGES: dict[str, Callable[[Study, Store, Path | None, Gallery], Page]] = {
    "vision": vision.make_page,
    "agreement": agreement.make_page,
    "agreement-lm": agreement_lm.make_page,
}


class Written(NamedTuple):
    page: Path
    headline: RichTable


def write_report(study: Study, store: Store, data: Path | None, out: Path) -> Written:
    """Write the report of what is done to `out`, with the record of every run but its weights and predictions."""
    with clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    gallery = Gallery(out)
    page = PAGES[study.name](study, store, data, gallery)
    path = write_page(page, gallery, out)
    with clear_errors(out):
        _copy_records(study, store, out / "records")
    assert page.headline is not None
    return Written(path, rich_table(page.headline))


def _copy_records(study: Study, store: Store, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for run in study.runs:
        if store.done(run):
            shutil.copyfile(store.folder(run) / "record.json", folder / f"{run.name}.json")


def rich_table(table: Table) -> RichTable:
    """A table of a report for the terminal."""
    shown = RichTable(title=table.title, caption=table.note, row_styles=["", "dim"])
    shown.add_column(table.corner)
    for column in table.columns:
        shown.add_column(column, justify="right")
    for row, cells in zip(table.rows, table.cells, strict=True):
        shown.add_row(row, *("\n".join(table.lines(cell)) for cell in cells))
    return shown


def catalogue_tables() -> Iterator[RichTable]:
    """What `distillbias list` shows."""
    studies = RichTable("study", "question", "scales", title="studies")
    for name, entry in STUDIES.items():
        studies.add_row(name, entry.question, ", ".join(SCALES))
    models = RichTable("model", "what it is", title="models")
    for name, config in MODELS.items():
        models.add_row(name, (config.__doc__ or "").splitlines()[0])
    tasks = RichTable("task", "what it is", title="tasks")
    for part in PARTS.values():
        if hasattr(part, "load"):  # of all that a run is made of, only tasks load data
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", part.__name__).lower()
            tasks.add_row(name, (part.__doc__ or "").splitlines()[0])
    yield from (studies, models, tasks)
