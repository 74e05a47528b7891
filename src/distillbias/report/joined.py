"""Several reports as one page: the headline of each, then all their sections in turn."""

from collections.abc import Mapping
from dataclasses import replace

from distillbias.report.html import Page, Section
from distillbias.report.tables import Table

QUESTION = "Does a teacher's inductive bias reach its student through distillation, or only its accuracy?"


def prefix(study: str) -> str:
    """What stands before the names of a study's figures and tables, so that those of two studies keep apart."""
    return f"{study}-"


def join(pages: Mapping[str, Page], title: str) -> Page:
    """{study: page} as one page. Pictures bring their prefixed names along; tables get theirs here."""
    sections: list[Section] = []
    for study, page in pages.items():
        headline = tuple(_named(table, study) for table in (page.headline,) if table)
        sections.append(Section(study.capitalize(), (page.question, *page.lead), headline, page.pictures))
    for study, page in pages.items():
        for section in page.sections:
            tables = tuple(_named(table, study) for table in section.tables)
            sections.append(replace(section, title=f"{study.capitalize()}: {section.title}", tables=tables))
        if page.provenance:
            title_of = f"{study.capitalize()}: Provenance"
            sections.append(Section(title_of, (), (_named(page.provenance, study),)))
    warnings = tuple(f"{study}: {warning}" for study, page in pages.items() for warning in page.warnings)
    return Page(title=f"distillbias: {title}", question=QUESTION, sections=tuple(sections), warnings=warnings)


def _named(table: Table, study: str) -> Table:
    return replace(table, name=prefix(study) + table.name)
