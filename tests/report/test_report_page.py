"""The page: self-contained, escaped, complete."""

import base64
import re

import pytest

from distillbias.errors import InputError
from distillbias.report.figures import draw_points, save
from distillbias.report.html import Page, Picture, Section, render, render_markdown
from distillbias.report.tables import Cell, Table
from distillbias.report.writing import Gallery, write_page

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    return save(draw_points({"MNIST": {"CNN": [0.99]}}), tmp_path_factory.mktemp("figures"), "points").png


@pytest.fixture(scope="module")
def page(png):
    table = Table("headline", "Accuracy", EVIL, ("MNIST",), (EVIL,), ((Cell((0.9, 0.8), expected=2),),))
    provenance = Table("provenance", "Provenance", "", ("value",), ("commit",), (("962f87e",),))
    picture = Picture("points", "Points", EVIL, png, EVIL)
    sections = (Section("First & last", (EVIL,), (table,), (picture,)), Section("Empty"))
    return Page(EVIL, "Why?", ("It does.", EVIL), table, (picture,), sections, provenance, (EVIL,))


def test_page_is_self_contained_and_escaped(page, png):
    text = render(page)
    assert text.startswith("<!DOCTYPE html>") and text.rstrip().endswith("</html>")
    assert "<script" not in text and "http" not in text and "@import" not in text
    assert len(re.findall(r"<img ", text)) == text.count('src="data:image/png;base64,') == 2
    assert base64.b64encode(png).decode() in text


def test_contents_lead_to_every_section(page):
    text = render(page)
    for anchor in ("section-1", "section-2", "provenance"):
        assert f'href="#{anchor}"' in text and f'id="{anchor}"' in text
    assert "First &amp; last" in text


def test_a_bare_page_renders():
    assert "<nav" not in render(Page("Title", "Question?"))
    assert render_markdown(Page("Title", "Question?"), {}) == "# Title\n\n**Question?**\n"


def test_pictures_are_shown_at_a_hundred_pixels_an_inch(png):
    assert Picture("points", "Points", "", png).size[0] == 1000  # 10 inches
    with pytest.raises(InputError, match="not a PNG"):
        _ = Picture("points", "Points", "", b"GIF89a").size


def test_markdown_names_the_pictures_and_escapes(page):
    text = render_markdown(page, {"points": "figures/points.png"})
    assert text.count("](<figures/points.png>)") == 2 and "<script" not in text
    assert "## First & last" in text.replace("&amp;", "&") and "0.8500 ± 0.0707" in text
    with pytest.raises(InputError, match="no path for picture 'points'"):
        render_markdown(page, {})


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/b", "", ".hidden", "a\0b", "a\nb", "x" * 200])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    shown = Table(name, "Title", "", ("c",), ("r",), (("text",),))
    with pytest.raises(InputError, match="cannot be the name of a file"):
        write_page(Page("Title", "Why?", headline=shown), Gallery(tmp_path / "out"), tmp_path / "out")
    with pytest.raises(InputError, match="cannot be the name of a file"):
        Gallery(tmp_path / "out").add(draw_points({"MNIST": {"CNN": [0.99]}}), name, "Title", "")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_half_a_character_is_written_as_its_escape(tmp_path):
    page = Page("Title", "Why?", ("half \ud800 of one",))
    write_page(page, Gallery(tmp_path), tmp_path)
    assert r"half \ud800 of one" in (tmp_path / "report.html").read_text(encoding="utf-8")
