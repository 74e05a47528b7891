"""What a study would do: by hand where runs are finished, no less room than they take, and nothing is trained."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests import tiny

from distillbias.studies.execute import Left, execute
from distillbias.studies.plan import plan, plan_table
from distillbias.studies.store import Store
from distillbias.studies.study import Study

LONG = replace(tiny.ALONE, recipe=replace(tiny.RECIPE, epochs=4), trial=1)
CONV = replace(tiny.ALONE, model=tiny.CNN)
STUDY = Study("plan", "tiny", "?", {"MLP": (tiny.ALONE, LONG), "MLP → MLP": (tiny.STUDENT,), "CNN": (CONV,)})


def test_finished_runs_tell_the_time_of_their_kind(tmp_path: Path) -> None:
    store = tiny.trained(tmp_path, tiny.ALONE)
    took = store.record(tiny.ALONE).facts["seconds"]
    beside = took["preparing"] + took["evaluating"]
    planned = {each.run: each for each in plan(STUDY, store, None)}
    assert set(planned) == {LONG, tiny.STUDENT, CONV}
    assert planned[LONG].seconds == pytest.approx(4 * took["training"] + beside)
    assert planned[tiny.STUDENT].seconds == pytest.approx(took["training"] + beside)
    assert planned[LONG].known and planned[tiny.STUDENT].known and not planned[CONV].known
    assert planned[CONV].seconds > 0


def test_what_a_checkpoint_has_is_not_counted_again(tmp_path: Path) -> None:
    store = tiny.trained(tmp_path, tiny.ALONE)
    whole = next(each for each in plan(STUDY, store, None) if each.run == LONG)
    steps = iter(range(1, 100))
    with pytest.raises(Left):
        execute(LONG, store, None, leave=lambda: next(steps) == 30)  # of 40
    rest = next(each for each in plan(STUDY, store, None) if each.run == LONG)
    training = store.record(tiny.ALONE).facts["seconds"]["training"]
    assert whole.seconds - rest.seconds == pytest.approx(4 * training * 30 / 40)


def test_runs_take_no_more_room_than_was_said(tmp_path: Path) -> None:
    planned = plan(STUDY, Store(tmp_path), None)
    store = tiny.trained(tmp_path, tiny.ALONE, CONV)
    for each in planned:
        if store.done(each.run):
            files = [path for path in store.folder(each.run).iterdir() if path.suffix in (".safetensors", ".parquet")]
            used = sum(path.stat().st_size for path in files) / 1e6
            assert 0.3 * each.megabytes < used <= each.megabytes, each.run.label


def test_damaged_runs_are_counted_and_nothing_is_written(tmp_path: Path) -> None:
    store = tiny.trained(tmp_path, *STUDY.runs)
    assert plan(STUDY, store, None) == []
    (store.folder(CONV) / "weights.safetensors").write_bytes(b"gone")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    planned = plan(STUDY, store, None)
    table, summary = plan_table(STUDY, store, planned, workers=2)
    assert [each.run for each in planned] == [CONV] and table.title == "plan-tiny: 1 of 4 runs to train"
    assert summary.endswith("nothing was trained") and "on 2 workers" in summary
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_several_kinds_say_is_said_once(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("distillbias.studies.execute.precision_on", lambda device, asked: "float32")
    halved = replace(tiny.RECIPE, precision="bfloat16")
    runs = tuple(
        replace(tiny.ALONE, model=model, recipe=halved) for model in (tiny.MLP, replace(tiny.MLP, widths=(8,)))
    )
    assert len(plan(Study("small", "tiny", "?", {"MLP": runs}), Store(tmp_path), None)) == 2
    assert capsys.readouterr().out.count("products are made in float32") == 1
