"""Which report belongs to which study, and what a finished one hands back."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from distillbias.report import agreement, agreement_lm, dial, transfer, vision
from distillbias.report.html import Page
from distillbias.report.joined import join, prefix
from distillbias.report.kept import Kept, Written
from distillbias.report.terminal import Headline, headline
from distillbias.report.writing import Gallery, write_page
from distillbias.studies.files import clear_errors
from distillbias.studies.processes import keep_large_blocks
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


def report_of(studies: Sequence[Study], store: Store, data: Path | None, out: Path) -> Written:
    """The report of `studies` in `out`, one page of them all. It is written unless it is there as it would be."""
    kept = Kept(studies, store, data, out)
    if found := kept.found():
        return found
    keep_large_blocks()  # pairs of models are run through images at 21 points each: page faults add up
    written = write_joined(studies, store, data, out) if studies[1:] else write_report(studies[0], store, data, out)
    parts = [out / name for name in ("report.html", "report.md")]
    parts += [path for name in ("tables", "figures", "records") for path in (out / name).rglob("*") if path.is_file()]
    kept.keep(written, parts)
    return written


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


def _headlines(pages: Iterable[Page]) -> tuple[Headline, ...]:
    return tuple(headline(page.headline) for page in pages if page.headline)


def _copy_records(study: Study, store: Store, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for run in study.runs:
        if store.done(run):
            shutil.copyfile(store.record(run).folder / "record.json", folder / f"{run.name}.json")
