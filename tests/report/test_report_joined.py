"""Two reports as one page: nothing is lost, and names of tables keep apart."""

from distillbias.report.html import Page, Section, render, render_markdown
from distillbias.report.joined import join
from distillbias.report.tables import Table

TABLE = Table("headline", "Scores", "", ("a",), ("row",), ((1,),))
PAGES = {
    "vision": Page("v", "Does it?", ("Lead.",), TABLE, sections=(Section("Errors", ("Text.",), (TABLE,)),)),
    "agreement": Page("a", "Does it too?", (), TABLE, provenance=TABLE, warnings=("a hole",)),
}


def test_a_joined_page_has_every_part_of_both() -> None:
    page = join(PAGES, "demo")
    titles = [section.title for section in page.sections]
    assert titles == ["Vision", "Agreement", "Vision: Errors", "Agreement: Provenance"]
    assert page.sections[0].paragraphs == ("Does it?", "Lead.") and page.warnings == ("agreement: a hole",)
    names = [table.name for section in page.sections for table in section.tables]
    assert names == ["vision-headline", "agreement-headline", "vision-headline", "agreement-headline"]
    for text in (render(page), render_markdown(page, {})):
        assert all(said in text for said in ("Does it too?", "Lead.", "Text.", "a hole", "distillbias: demo"))
