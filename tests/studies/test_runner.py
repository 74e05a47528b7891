"""A study through real worker processes: nothing twice, nothing lost, and the same bits as in this process."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests import tiny

from distillbias.errors import InputError
from distillbias.studies.executor import Event
from distillbias.studies.processes import ALLOCATOR
from distillbias.studies.run import Distillation
from distillbias.studies.runner import check_device, run_study
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.tasks.vision import Vision

ALONE = tuple(replace(tiny.ALONE, trial=trial) for trial in (0, 1))
TAUGHT = tuple(replace(tiny.STUDENT, trial=run.trial, distillation=Distillation(run)) for run in ALONE)
ORPHAN = replace(tiny.STUDENT, distillation=Distillation(tiny.DIVERGING))
GRANDCHILD = replace(ORPHAN, trial=5, distillation=Distillation(ORPHAN))
GOOD = Study("good", "tiny", "?", {"MLP": ALONE, "MLP → MLP": TAUGHT})
MIXED = Study("mixed", "tiny", "?", {"wild": (tiny.DIVERGING,), "taught by it": (ORPHAN, GRANDCHILD), **GOOD.arms})


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory):
    """The mixed study after one call: its store, its failures, what was seen."""
    store, seen = Store(tmp_path_factory.mktemp("pool")), []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ALLOCATOR.items():
            patch.setenv(name, os.environ.get(name, value))  # the pool sets them for its workers: here, undone after
        failures = run_study(MIXED, store, None, workers=2, watch=seen.append)
    return store, failures, seen


def test_what_can_be_done_is_done(outcome) -> None:
    store, _, _ = outcome
    assert all(store.done(run) and store.damaged(run) == [] for run in GOOD.runs)
    assert not any(store.done(run) for run in (tiny.DIVERGING, ORPHAN, GRANDCHILD))


def test_a_failure_takes_its_students_with_it_and_says_why(outcome) -> None:
    _, failures, seen = outcome
    why = {failure.run.name: failure.why for failure in failures}
    assert set(why) == {tiny.DIVERGING.name, ORPHAN.name, GRANDCHILD.name} and len(failures) == 3
    assert why[tiny.DIVERGING.name].startswith("the loss became")
    assert why[ORPHAN.name] == f"its teacher {tiny.DIVERGING.name} failed"
    assert why[GRANDCHILD.name] == f"its teacher {ORPHAN.name} failed"
    assert {event.run.name: event.said["why"] for event in seen if event.kind == "failed"} == why


def test_events_tell_the_story_in_order(outcome) -> None:
    _, _, seen = outcome
    for run in GOOD.runs:
        kinds = [event.kind for event in seen if event.run == run]
        assert kinds in (["started", "epoch", "done"], ["started", "done"])  # a last epoch may be overtaken by done
    started = [event.run.name for event in seen if event.kind == "started"]
    ended = {event.run.name: place for place, event in enumerate(seen) if event.kind == "done"}
    for place, event in enumerate(seen):
        if event.kind == "started" and event.run.teacher:
            assert ended[event.run.teacher.name] < place
    assert len(started) == len(set(started)) == 5


def test_workers_give_the_bits_of_this_process(outcome, tmp_path: Path) -> None:
    store, _, _ = outcome
    here = tiny.trained(tmp_path, *GOOD.runs)
    for run in GOOD.runs:
        for file in ("weights.safetensors", "predictions.parquet", "activations.safetensors"):
            assert (store.folder(run) / file).read_bytes() == (here.folder(run) / file).read_bytes(), run.label
        assert store.record(run).facts["losses"] == here.record(run).facts["losses"]
        assert store.record(run).facts["provenance"]["threads"] == 1


def test_what_is_done_is_not_done_again(outcome) -> None:
    store, _, _ = outcome
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    seen: list[Event] = []
    assert run_study(GOOD, store, None, workers=2, watch=seen.append) == [] and seen == []
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


def test_nothing_starts_without_workers_or_data(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(InputError, match="0 workers; at least 1"):
        run_study(GOOD, store, None, workers=0)
    mnist = Study("mnist", "tiny", "?", {"MLP": (replace(tiny.ALONE, task=Vision("mnist")),)})
    seen: list[Event] = []
    with pytest.raises(InputError, match="no complete MNIST in .*nowhere"):
        run_study(mnist, store, tmp_path / "nowhere", watch=seen.append)
    assert seen == [] and list((store.root / "runs").iterdir()) == []


def test_only_one_command_trains_in_a_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.alone(), pytest.raises(InputError, match=f"process {os.getpid()} already trains"):
        run_study(GOOD, Store(tmp_path), None)


def test_devices_are_checked_at_the_door() -> None:
    check_device("cpu")
    for device in ("gpu", "cuda:99", ""):
        with pytest.raises(InputError, match=f"device '{device}' cannot be used; here it is one of cpu"):
            check_device(device)


def test_a_device_that_cannot_compute_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be used"):
        check_device("meta")
