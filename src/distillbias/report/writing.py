"""A page on disk: one HTML file, Markdown, every table as Markdown, CSV and LaTeX, every figure as PNG and PDF."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from distillbias.errors import InputError
from distillbias.report.figures import save
from distillbias.report.html import Page, Picture, render, render_markdown
from distillbias.report.tables import Table, to_csv, to_latex, to_markdown
from distillbias.studies.files import clear_errors, write_whole


@dataclass
class Gallery:
    """Saves figures as they are drawn, under their names with `prefix` before them."""

    folder: Path
    prefix: str = ""
    paths: dict[str, str] = field(default_factory=dict)  # picture -> its path in the Markdown file

    def add(self, figure: Figure, name: str, title: str, caption: str) -> Picture:
        name = file_name(self.prefix + name)
        with clear_errors(self.folder):
            saved = save(figure, self.folder / "figures", name)
        self.paths[name] = f"figures/{saved.png_path.name}"
        return Picture(name, title, caption, saved.png, f"{title}. {caption}")


def file_name(name: str) -> str:
    """`name`, if it names a file in the folder of a report and nowhere else; InputError otherwise."""
    if not re.fullmatch(r"\w[\w.+-]{0,99}", name):
        raise InputError(f"{name[:40]!r} cannot be the name of a file; letters, digits, _, ., + and - make one")
    return name


def write_page(page: Page, gallery: Gallery, out: Path) -> Path:
    """Write everything; the HTML last, so that a page that is there is whole."""
    tables = [table for section in page.sections for table in section.tables]
    tables += [table for table in (page.headline, page.provenance) if table]
    with clear_errors(out):
        (out / "tables").mkdir(parents=True, exist_ok=True)
        for table in tables:
            _write_table(table, out / "tables")
        _write_text(out / "report.md", render_markdown(page, gallery.paths))
        _write_text(out / "report.html", render(page))
    return out / "report.html"


def _write_table(table: Table, folder: Path) -> None:
    for ending, text in (("md", to_markdown(table)), ("csv", to_csv(table)), ("tex", to_latex(table))):
        _write_text(folder / f"{file_name(table.name)}.{ending}", text)


def _write_text(path: Path, text: str) -> None:
    """As UTF-8; half a character, which JSON can hold, as its escape."""
    write_whole(path, lambda part: part.write_bytes(text.encode("utf-8", "backslashreplace")))
