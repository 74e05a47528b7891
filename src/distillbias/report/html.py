"""One page for a reader: a self-contained HTML file (pictures inside, nothing loaded, no scripts), or Markdown.

All text is escaped: names that come from data can inject nothing.
"""

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.environment import TemplateModule

from distillbias.errors import InputError
from distillbias.report.tables import Cell, Table, escape_markdown, to_markdown


@dataclass(frozen=True)
class Picture:
    """A drawn figure: `name` is its file name without ending, `alt` what it shows in one sentence."""

    name: str
    title: str
    caption: str
    png: bytes
    alt: str = ""

    @property
    def data_uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the page: figures are drawn at 150 dots an inch and shown at 100."""
        if self.png[:8] != b"\x89PNG\r\n\x1a\n":
            raise InputError(f"picture {self.name!r} is not a PNG file")
        width, height = struct.unpack(">II", self.png[16:24])
        return round(width / 1.5), round(height / 1.5)


@dataclass(frozen=True)
class Section:
    """A part of the page; the order within it is text, tables, pictures."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole report. `lead` says the findings in sentences; `warnings` names the holes."""

    title: str
    question: str
    lead: tuple[str, ...] = ()
    headline: Table | None = None
    pictures: tuple[Picture, ...] = ()  # shown right under the headline table
    sections: tuple[Section, ...] = ()
    provenance: Table | None = None
    warnings: tuple[str, ...] = ()


@cache
def _template_module() -> TemplateModule:
    loader = PackageLoader("distillbias", "report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["cell"] = lambda entry: isinstance(entry, Cell)
    environment.tests["quantity"] = lambda entry: isinstance(entry, Cell | int | float)
    return environment.get_template("page.html").module


def to_html(table: Table) -> str:
    """The table as a `<figure>` with its caption, by the macro that pages use."""
    return str(_template_module().table(table))  # type: ignore[attr-defined]


def render(page: Page) -> str:
    """The page as one HTML file that can be read offline and printed."""
    return str(_template_module().page(page)).lstrip()  # type: ignore[attr-defined]


def _markdown_picture(picture: Picture, paths: Mapping[str, str]) -> str:
    if picture.name not in paths:
        raise InputError(f"no path for picture {picture.name!r}; paths are given for {', '.join(paths) or 'none'}")
    caption = escape_markdown(f"{picture.title}. {picture.caption}")
    return f"![{escape_markdown(picture.alt or picture.title)}](<{paths[picture.name]}>)\n\n*{caption}*\n"


def render_markdown(page: Page, figure_paths: Mapping[str, str]) -> str:
    """The page as Markdown; `figure_paths` gives each picture's path as the Markdown file should name it."""
    parts = [f"# {escape_markdown(page.title)}\n", f"**{escape_markdown(page.question)}**\n"]
    parts += [escape_markdown(sentence) + "\n" for sentence in page.lead]
    if page.warnings:
        parts += ["> **Not complete**\n>\n" + "".join(f"> - {escape_markdown(line)}\n" for line in page.warnings)]
    parts += [to_markdown(page.headline)] if page.headline else []
    parts += [_markdown_picture(picture, figure_paths) for picture in page.pictures]
    for section in page.sections:
        parts += [f"## {escape_markdown(section.title)}\n"]
        parts += [escape_markdown(paragraph) + "\n" for paragraph in section.paragraphs]
        parts += [to_markdown(table) for table in section.tables]
        parts += [_markdown_picture(picture, figure_paths) for picture in section.pictures]
    parts += ["## Provenance\n", to_markdown(page.provenance)] if page.provenance else []
    return "\n".join(parts)
