"""Which report belongs to which study, what a finished one hands back, and what there is to run."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table as RichTable

from distillbias.models.registry import MODELS
from distillbias.report import agreement, agreement_lm, dial, transfer, vision
from distillbias.report.html import Page
from distillbias.report.joined import join, prefix
from distillbias.report.tables import Table
from distillbias.report.writing import Gallery, write_page
from distillbias.studies.catalogue import SCALES, STUDIES
from distillbias.studies.files import clear_errors
from distillbias.studies.run import PARTS
from distillbias.studies.store import Store
from distillbias.studies.study import Study

PAGES: dict[str, Callable[[Study, Store, Path | None, Gallery], Page]] = {
    "vision": vision.make_page,
    "agreement": agreement.make_page,
    "agreement-lm": agreement_lm.make_page,
    "transfer-vision": transfer.make_vision_page,
    "transfer-agreement": transfer.make_agreement_page,
    "dial-vision": dial.make_vision_page,
    "dial-agreement": dial.make_agreement_page,
}


LONG_NAME = 26
MANY_ROWS = 10


class Written(NamedTuple):
    page: Path
    headlines: tuple[RichTable, ...]


def write_report(study: Study, store: Store, data: Path | None, out: Path) -> Written:
    """Write the report of what is done to `out`, with the record of every run but its weights and predictions."""
    with clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    gallery = Gallery(out)
    page = PAGES[study.name](study, store, data, gallery)
    path = write_page(page, gallery, out)
    with clear_errors(out):
        _copy_records(study, store, out / "records")
    return Written(path, _headlines([page]))


def write_joined(studies: Sequence[Study], store: Store, data: Path | None, out: Path) -> Written:
    """One report of several studies, with the records of all."""
    with clear_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    gallery, pages = Gallery(out), {}
    for study in studies:
        own = Gallery(out, prefix(study.name))
        pages[study.name] = PAGES[study.name](study, store, data, own)
        gallery.paths |= own.paths
    path = write_page(join(pages, out.name), gallery, out)
    with clear_errors(out):
        for study in studies:
            _copy_records(study, store, out / "records" / study.name)
    return Written(path, _headlines(pages.values()))


def _headlines(pages: Iterable[Page]) -> tuple[RichTable, ...]:
    return tuple(rich_table(page.headline) for page in pages if page.headline)


def _copy_records(study: Study, store: Store, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for run in study.runs:
        if store.done(run):
            shutil.copyfile(store.record(run).folder / "record.json", folder / f"{run.name}.json")


def rich_table(table: Table) -> RichTable:
    """A table of a report for the terminal; one of many rows without the published numbers, which the page has."""
    lines = 1 if len(table.rows) > MANY_ROWS else None
    shown = RichTable(title=table.title, caption=table.note, row_styles=["", "dim"])
    # names stay whole and numbers wrap where a terminal is narrow: rich would take the names away first
    shown.add_column(table.corner, no_wrap=True)
    for column in table.columns:
        shown.add_column(column, justify="right")
    for row, cells in zip(table.rows, table.cells, strict=True):
        name = row if len(row) <= LONG_NAME else row.replace(" → ", " →\n")
        shown.add_row(name, *("\n".join(table.lines(cell)[:lines]) for cell in cells))
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
