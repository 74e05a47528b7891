"""Numbers and escapes of tables, by hand."""

import csv
import io
import math
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from distillbias.data.text import printable
from distillbias.errors import InputError
from distillbias.report.html import to_html
from distillbias.report.published import Published
from distillbias.report.tables import Cell, Table, escape_latex, escape_markdown, to_csv, to_latex, to_markdown
from distillbias.report.terminal import headline, rich_table

PAPER = Published(0.904, 0.0073)
VALUES = (0.90, 0.92, 0.94, 0.96)  # mean 0.93; squares .0009+.0001+.0001+.0009 = .002, over 3, root: 0.02582
EVIL = '<script>alert("1")</script>'


def table(*cells, rows=("a",), columns=None):
    columns = columns or tuple(f"c{i}" for i in range(len(cells)))
    return Table("scores", "Scores", "Caption.", columns, rows, (cells,), "arm")


def records(shown):
    return list(csv.DictReader(io.StringIO(to_csv(shown))))


def test_cell_by_hand():
    cell = Cell(VALUES, PAPER, 4, 4)
    assert cell.n == 4 and cell.mean == pytest.approx(0.93)
    assert cell.sd == pytest.approx(math.sqrt(0.002 / 3))
    assert cell.difference == pytest.approx(0.026)
    assert cell.number == "0.9300 ± 0.0258"
    assert cell.against == "paper 0.904 ± 0.0073 (+0.0260)"


def test_negative_difference_and_logs():
    assert Cell((0.1,), Published(0.109, 0.0053, "logs", 4), 3).against == "logs 0.1090 ± 0.0053 (−0.009)"
    assert Cell((0.90399,), PAPER, 3).against.endswith("(+0.000)")  # not -0.000


def test_one_value_has_no_spread_and_no_value_is_a_hole():
    assert Cell((0.5,), digits=2).number == "0.50 ± –" and Cell((0.5,)).sd is None
    assert Cell(()).number == "missing" and Cell(()).mean is None and Cell((), PAPER).difference is None


def test_a_missing_trial_is_said_and_a_whole_cell_missing_too():
    shown = table(Cell(VALUES, None, 4, 4), Cell(VALUES[:3], None, 4, 4), Cell((), PAPER, 4, 4))
    assert shown.lines(shown.cells[0][0]) == ("0.9300 ± 0.0258",)
    assert shown.lines(shown.cells[0][1]) == ("0.9200 ± 0.0200 (n=3 of 4)",)
    assert shown.lines(shown.cells[0][2]) == ("missing (n=0 of 4)", "paper 0.904 ± 0.0073")
    assert shown.holes == ("Scores: a, c1: n=3 of 4", "Scores: a, c2: missing")
    assert "n = 4 unless a cell says otherwise" in shown.note


def test_a_row_that_lacks_the_same_everywhere_is_named_once():
    short, hole = Cell(VALUES[:3], None, 4, 4), Cell((), None, 4, 4)
    assert table(short, short, "text").holes == ("Scores: a: n=3 of 4",)
    assert table(hole, hole).holes == ("Scores: a: missing",)
    assert table(short, Cell(VALUES[:2], None, 4, 4)).holes == ("Scores: a, c0: n=3 of 4", "Scores: a, c1: n=2 of 4")


def test_note():
    assert table(Cell(VALUES), Cell(VALUES)).note == "± is the sample standard deviation over trials, n = 4."
    assert table(Cell((0.1,))).note == "One trial (n = 1), so no spread."
    assert table("text", 3).note == "" and table("text").holes == ()
    assert "No quantity here is complete" in table(Cell(())).note


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="2 cells for 1 columns"):
        table("x", "y", columns=("c",))
    with pytest.raises(InputError, match="1 rows of cells for 2 row names"):
        table("x", rows=("a", "b"))
    with pytest.raises(InputError, match="only 3 trials are expected"):
        Cell(VALUES, expected=3)
    with pytest.raises(InputError, match="cannot belong to 1 trials"):
        Cell(VALUES, trials=(0,))


def test_csv_round_trip():
    cell, *trials = records(table(Cell(VALUES, PAPER, 2, 4)))
    assert (cell["kind"], cell["n"], cell["expected"]) == ("cell", "4", "4")
    assert float(cell["mean"]) == pytest.approx(0.93) and float(cell["sd"]) == pytest.approx(math.sqrt(0.002 / 3))
    assert (cell["published"], cell["published_sd"], cell["published_source"]) == ("0.904", "0.0073", "Table 6")
    assert float(cell["difference"]) == pytest.approx(0.026)
    assert tuple(float(trial["value"]) for trial in trials) == VALUES  # full precision, whatever `digits`
    assert [trial["trial"] for trial in trials] == ["0", "1", "2", "3"]


def test_csv_never_guesses_which_trial_is_missing():
    assert [r["trial"] for r in records(table(Cell((0.1, 0.2), expected=4)))[1:]] == ["", ""]
    assert [r["trial"] for r in records(table(Cell((0.1, 0.2), expected=4, trials=(0, 3))))[1:]] == ["0", "3"]
    assert records(table(Cell((), expected=4)))[0]["text"] == "missing"


NASTY = (
    *(
        "=cmd|' /C calc'!A0",
        "+1+cmd",
        "-1+cmd",
        "@SUM(A1)",
        "\t=1+1",
        "\r=1+1",
        " =1+1",
        "a\r=1+1",
        'a\n=1+1,"',
        "＝1+1",
    ),
    *("<script>alert(1)</script>", '" onload="x', "{{ 7 * 7 }}", "{% raw %}", "</style><img src=x>", "a\0b", "\ud800"),
    *(r"\input{/etc/passwd}", r"\write18{id}", "$\\frac$", "% comment", "^^5cinput", "}{", "[-1cm]", "a & b \\\\"),
    *("[red]", "[/]", "[/red]", "[link=file:///]", "\x1b[31mred", "a\u202eb", "`id`", "$(id)", "; rm -rf x", "](x)"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def shown_everywhere(text: str) -> Table:
    return Table("t", text, text, (text,), (text,), ((text,),), text)


@pytest.mark.parametrize("text", NASTY)
def test_csv_holds_no_formulas(text):
    lines = to_csv(shown_everywhere(text)).split("\n")
    assert "\r" not in "".join(lines)
    (record,) = records(shown_everywhere(text))
    for value in (record["row"], record["column"], record["text"]):
        assert value == record["text"] and not value.startswith(FORMULA) and value.isprintable()
    assert record["text"].removeprefix("'") == printable(text)


@pytest.mark.parametrize("number", ["-0.12", "+0.0260", "-3", "-1e-05", "0.5"])
def test_a_text_that_is_a_number_stays_one_in_csv(number):
    assert records(table(number))[0]["text"] == number


@pytest.mark.parametrize("text", NASTY)
def test_html_shows_nasty_names_as_text(text):
    """A parser of HTML finds the elements of a harmless table, and the name as it was."""

    def parsed(name: str) -> tuple[list[object], str]:
        tags, words = [], []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))  # type: ignore[method-assign]
        parser.handle_data = words.append  # type: ignore[method-assign]
        parser.feed(to_html(shown_everywhere(name)))
        return tags, "".join(words)

    tags, words = parsed(text)
    assert tags == parsed("name")[0] and words.count(text) == 6


@pytest.mark.parametrize("text", NASTY)
def test_latex_holds_no_command_of_a_name(text):
    """Only commands that the table itself writes; braces in pairs; nothing that ends a line or a cell."""
    ours = r"begin|end|centering|caption|label|toprule|midrule|bottomrule|textbackslash|textasciitilde|textasciicircum"
    shown, plain = to_latex(shown_everywhere(text)), to_latex(shown_everywhere("name"))
    assert set(re.findall(r"\\([A-Za-z]+)", shown)) <= {
        *ours.split("|"),
        "linewidth",
        "textless",
        "textgreater",
        "textbar",
    }
    bare = re.sub(r"\\[^A-Za-z]", lambda found: r"\\" if found[0] == r"\\" else "", shown)
    assert bare.count("{") == bare.count("}") and bare.count(r"\\") == plain.count(r"\\")
    assert re.findall(r"[&%$#^~]", bare.replace("tab:t", "")) == re.findall(r"[&%$#^~]", plain)
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


@pytest.mark.parametrize("text", NASTY)
def test_markdown_holds_no_markup_of_a_name(text):
    shown, plain = to_markdown(shown_everywhere(text)), to_markdown(shown_everywhere("name"))
    bare = re.sub(r"\\[\\`*_\[\]|#~$]", "", shown)
    for mark in ("<", ">", "`", "[", "]", "|", "$", "\n"):
        assert bare.count(mark) == plain.count(mark), mark
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_csv_numbers_keep_their_sign():
    kinds = [(r["kind"], r["value"], r["text"]) for r in records(table(-3, -0.5, None, "a"))]
    assert kinds == [("number", "-3", ""), ("number", "-0.5", ""), ("empty", "", ""), ("text", "", "a")]


def test_latex_escapes():
    assert escape_latex("CNN → MLP & 50 % of $a_b$ #1 {x} ~ ^ \\") == (
        r"CNN $\rightarrow$ MLP \& 50 \% of \$a\_b\$ \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


def test_latex_table():
    text = to_latex(table(Cell(VALUES, PAPER), r"\input{x}", rows=("CNN → MLP",)))
    assert r"\begin{tabular}{lrl}" in text and r"\label{tab:scores}" in text
    assert r"arm & c0 & c1 \\" in text
    assert r"\shortstack[r]{0.9300 $\pm$ 0.0258\\\scriptsize paper 0.904 $\pm$ 0.0073 (+0.0260)}" in text
    assert r"\textbackslash{}input\{x\}" in text and r"\input" not in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_long_texts_break_into_lines_in_latex():
    assert r"{lp{0.4\linewidth}}" in to_latex(table("long " * 20))


def test_html_escapes_everything_that_comes_from_data():
    text = to_html(table(EVIL, Cell(VALUES), rows=(EVIL,), columns=(EVIL, "b")))
    assert "<script" not in text and text.count("&lt;script&gt;") == 3


def test_html_shows_numbers_and_marks_holes():
    text = to_html(table(Cell(VALUES, PAPER, 4, 4), Cell((), None, 4, 4)))
    assert "0.9300 ± 0.0258<small>paper 0.904 ± 0.0073 (+0.0260)</small>" in text
    assert 'class="number hole">missing (n=0 of 4)' in text


def test_markdown():
    text = to_markdown(table(Cell(VALUES, PAPER), "a|b_c\n<b>", rows=("CNN → MLP",)))
    assert "| arm | c0 | c1 |\n| --- | ---: | --- |\n" in text
    assert r"| CNN → MLP | 0.9300 ± 0.0258<br>paper 0.904 ± 0.0073 (+0.0260) | a\|b\_c &lt;b&gt; |" in text
    assert escape_markdown("[x](y) `z` *w* \\") == r"\[x\](y) \`z\` \*w\* \\"


@pytest.mark.parametrize("width", [80, 120])
def test_in_a_narrow_terminal_no_name_and_no_number_is_lost(width: int) -> None:
    rows = ("Transformer", "UniversalTransformer-seq → UniversalTransformer-seq", "Transformer, padding seen")
    cells = tuple(tuple(Cell((0.9 + row, 0.5), expected=3) for _ in range(4)) for row in range(3))
    console = Console(width=width, file=io.StringIO())
    console.print(
        rich_table(headline(Table("t", "Scores", "", ("µ", "D", "A", "accuracy on wiki"), rows, cells, "arm")))
    )
    shown = " ".join(re.sub(r"[│┃]", " ", console.file.getvalue()).split())
    for word in ("Transformer,", "padding", "seen", "UniversalTransformer-seq →"):
        assert word in shown
    assert "…" not in shown and all(shown.count(f"{(0.9 + row + 0.5) / 2:.4f}") == 4 for row in range(3))
