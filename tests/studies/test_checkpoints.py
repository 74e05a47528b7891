"""Runs that are interrupted, killed or damaged end with the bits of those that never were."""

import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests import tiny

from distillbias.studies.execute import Left, execute
from distillbias.studies.run import Run
from distillbias.studies.store import CHECKPOINT, Store
from distillbias.training import precision

LONG = replace(tiny.ALONE, recipe=replace(tiny.RECIPE, epochs=3))  # 30 steps
CONV = replace(LONG, model=tiny.CNN)
LIVE = replace(tiny.STUDENT, distillation=replace(tiny.STUDENT.distillation, teacher_mode="train"))
RUNS = {"MLP": LONG, "CNN": CONV, "student": tiny.STUDENT, "of a teacher in training mode": LIVE}
RESULT = ("weights.safetensors", "predictions.parquet", "activations.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every run, never interrupted."""
    return tiny.trained(tmp_path_factory.mktemp("whole"), tiny.ALONE, *RUNS.values())


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def left_at(run: Run, store: Store, step: int) -> None:
    """Train until it is asked to leave after `step` further steps."""
    steps = count(1)
    with pytest.raises(Left):
        execute(run, store, None, leave=lambda: next(steps) == step)


def same(run: Run, one: Store, other: Store) -> None:
    for file in RESULT:
        assert (one.folder(run) / file).read_bytes() == (other.folder(run) / file).read_bytes(), file
    assert one.record(run).facts["losses"] == other.record(run).facts["losses"]


@pytest.mark.parametrize("name", RUNS)
def test_leaving_and_going_on_changes_no_bit(whole: Store, tmp_path: Path, name: str) -> None:
    run = RUNS[name]
    store = tiny.trained(tmp_path, tiny.ALONE)
    for step in (1, 3, 5):
        left_at(run, store, step)
        assert not store.done(run) and len(list(store.folder(run).glob(f"{CHECKPOINT}*"))) <= 2
    execute(run, store, None)
    same(run, store, whole)
    assert not list(store.folder(run).glob(f"{CHECKPOINT}*")) and store.damaged(run) == []


def test_a_checkpoint_at_every_step_changes_no_bit(whole: Store, tmp_path: Path) -> None:
    store = Store(tmp_path)
    execute(LONG, store, None, every=0.0)
    same(LONG, store, whole)


def steps_trained(run: Run, store: Store) -> int:
    steps = count()
    execute(run, store, None, leave=lambda: next(steps) < 0)
    return next(steps)


def test_of_damaged_checkpoints_the_newest_good_one_is_taken(whole: Store, tmp_path: Path) -> None:
    for spoilt, remaining in ((0, 30 - 9), (1, 30 - 4), (2, 30)):
        store = Store(tmp_path / str(spoilt))
        left_at(LONG, store, 4)
        left_at(LONG, store, 5)
        kept = sorted(store.folder(LONG).glob(f"{CHECKPOINT}*"), reverse=True)
        assert [int(path.name.removeprefix(CHECKPOINT)) for path in kept] == [9, 4]
        for path in kept[:spoilt]:
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        assert steps_trained(LONG, store) == remaining
        same(LONG, store, whole)


def test_a_checkpoint_made_with_other_threads_is_not_gone_on_from(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left_at(LONG, store, 4)
    torch.set_num_threads(2)
    assert steps_trained(LONG, store) == 30


def test_a_checkpoint_in_another_precision_is_not_gone_on_from(
    whole: Store, tmp_path: Path, monkeypatch, capsys
) -> None:
    """Of a machine that multiplies bfloat16, on one that does not: there the run is that of a recipe in float32."""
    store, run = Store(tmp_path), replace(LONG, recipe=replace(LONG.recipe, precision="bfloat16"))
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    left_at(run, store, 4)
    assert not capsys.readouterr().out
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    assert steps_trained(run, store) == 30
    assert "made in float32: the device has no instructions for bfloat16" in capsys.readouterr().out
    assert store.record(run).facts["provenance"]["precision"] == "float32"
    assert (store.folder(run) / RESULT[0]).read_bytes() == (whole.folder(LONG) / RESULT[0]).read_bytes()


def test_a_checkpoint_under_another_teacher_is_not_gone_on_from(whole: Store, tmp_path: Path) -> None:
    """The teacher's weights changed in the meantime, under its own name."""
    store = tiny.trained(tmp_path, tiny.ALONE)
    left_at(tiny.STUDENT, store, 4)
    weights = store.folder(tiny.ALONE) / "weights.safetensors"
    known = load_file(weights)
    save_file(known | {"answer.weight": known["answer.weight"] * np.float32(1.5)}, weights)
    shutil.rmtree(tmp_path / "signals")
    (tmp_path / "signals").mkdir()
    assert steps_trained(tiny.STUDENT, store) == 10
    kept = (store.folder(tiny.STUDENT) / RESULT[0]).read_bytes()
    assert kept != (whole.folder(tiny.STUDENT) / RESULT[0]).read_bytes()


def test_time_in_training_is_that_of_all_sessions(tmp_path: Path) -> None:
    store = Store(tmp_path)
    left_at(LONG, store, 4)
    told: list[dict] = []
    left_at(LONG, store, 20)
    execute(LONG, store, None, report=told.append)
    assert [said["epoch"] for said in told] == [3] and store.record(LONG).facts["seconds"]["training"] > 0
    assert told[0]["seconds"] <= store.record(LONG).facts["seconds"]["training"]
