"""What reports say of runs: a student whose teacher was trained again is named."""

from pathlib import Path

import pytest
from tests import tiny

from distillbias.report.evidence import Evidence
from distillbias.report.runs import provenance_table
from distillbias.studies.files import write_json
from distillbias.studies.store import Store
from distillbias.studies.study import Study

STUDY = Study("vision", "tiny", "?", {"MLP": (tiny.ALONE,), "MLP → MLP": (tiny.STUDENT,)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny.trained(tmp_path, *STUDY.runs)


def told(store: Store) -> dict[str, str]:
    table = provenance_table(Evidence(STUDY, store, None), ("MLP",), "pixels")
    return {row: str(cells[0]) for row, cells in zip(table.rows, table.cells, strict=True)}


def test_a_student_of_a_teacher_that_was_trained_again_is_named(store: Store) -> None:
    assert not any("trained again" in row for row in told(store))
    facts = store.record(tiny.ALONE).facts
    write_json(store.folder(tiny.ALONE) / "record.json", facts | {"weights": "others"})
    (row,) = (row for row in told(store) if "trained again" in row)
    assert told(store)[row] == "MLP → MLP, trial 0"
    store.reopen(tiny.ALONE)
    assert not any("trained again" in row for row in told(store)), "a teacher that is missing is named elsewhere"
