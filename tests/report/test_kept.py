"""A report is made once, and again when anything that it is made from, or of, has changed."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests import tiny

from distillbias.report import catalogue, kept
from distillbias.report.html import Page
from distillbias.report.kept import Written
from distillbias.report.tables import Cell, Table
from distillbias.report.writing import Gallery
from distillbias.studies.store import Store
from distillbias.studies.study import Study

STUDY = Study("vision", "tiny", "Does it?", {"MLP": (tiny.ALONE,), "MLP → MLP": (tiny.STUDENT,)})
CELLS = ((Cell((0.5, 0.7), expected=2),), (3,))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.trained(tmp_path_factory.mktemp("trained"), tiny.ALONE).root


class Reports:
    """Pages of one table, and how often one was made."""

    def __init__(self, root: Path, out: Path):
        self.root, self.out, self.made = root, out, 0

    def page(self, study: Study, store: Store, data: Path | None, gallery: Gallery) -> Page:
        self.made += 1
        table = Table("t", "Scores", "", ("a",), ("MLP", "x" * 30 + " → MLP"), CELLS, "arm")
        return Page(study.title, study.question, (), table)

    def __call__(self, *studies: Study, out: Path | None = None) -> Written:
        return catalogue.report_of(studies or (STUDY,), Store(self.root), None, out or self.out)


@pytest.fixture
def reports(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reports:
    shutil.copytree(trained, tmp_path / "store")
    made = Reports(tmp_path / "store", tmp_path / "out")
    monkeypatch.setitem(catalogue.PAGES, "vision", made.page)
    return made


def test_nothing_is_made_again_and_the_same_is_shown(reports: Reports) -> None:
    first = reports()
    before = {path: path.stat().st_mtime_ns for path in reports.out.rglob("*")}
    assert reports() == first and reports.made == 1
    assert {path: path.stat().st_mtime_ns for path in reports.out.rglob("*")} == before
    assert first.headlines[0].columns == ("arm", "a") and first.headlines[0].rows[0][0] == "MLP"


def test_it_is_made_again_when_a_run_is_done_or_trained_again(reports: Reports) -> None:
    reports()
    tiny.trained(reports.root, tiny.STUDENT)
    reports()
    assert reports.made == 2
    Store(reports.root).reopen(tiny.STUDENT)
    reports()
    assert reports.made == 3


@pytest.mark.parametrize("file", ["report.html", "tables/t.csv", "records"])
@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_it_is_made_again_when_what_was_written_is_not_there(reports: Reports, file: str, spoil: str) -> None:
    reports()
    path = reports.out / file
    if path.is_dir():
        path = next(path.iterdir())
    right = path.read_bytes()
    path.unlink() if spoil == "remove" else path.write_bytes(right[1:])
    reports()
    assert reports.made == 2 and path.read_bytes() == right


def test_it_is_made_again_by_other_code_for_another_study_and_in_another_place(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports()
    reports(out=tmp_path / "elsewhere")
    assert reports.made == 2
    reports(replace(STUDY, question="Really?"))
    assert reports.made == 3
    reports()
    assert reports.made == 4
    monkeypatch.setattr(kept, "source", lambda: "other code")
    reports()
    assert reports.made == 5
    monkeypatch.setattr(kept, "versions", lambda: ["other versions"])
    reports()
    assert reports.made == 6


def test_a_report_of_two_is_one_report(reports: Reports) -> None:
    both = STUDY, replace(STUDY, scale="other")
    assert reports(*both) == reports(*both) and reports.made == 2
    reports()
    assert reports.made == 3


@pytest.mark.parametrize("note", [b"", b"[1]", b'{"key": 1}', b'{"key": 1, "files": 2, "headlines": [[]]}', b"\xff"])
def test_a_note_that_is_damaged_is_no_note(reports: Reports, note: bytes) -> None:
    reports()
    next(reports.root.glob("analyses/report-*.json")).write_bytes(note)
    reports()
    assert reports.made == 2


def test_a_change_of_the_package_is_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "a.py").write_text("1")
    monkeypatch.setattr(kept, "__file__", str(tmp_path / "report" / "kept.py"))
    seen = set()
    for text in ("1", "2"):
        (tmp_path / "a.py").write_text(text)
        kept.source.cache_clear()
        seen.add(kept.source())
    (tmp_path / "b.html").write_text("2")
    kept.source.cache_clear()
    seen.add(kept.source())
    kept.source.cache_clear()
    assert len(seen) == 3
