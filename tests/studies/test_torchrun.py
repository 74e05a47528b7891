"""Studies over two processes: stopped and gone on with, failing on one or on both, and started by torchrun itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from subprocess import PIPE
from typing import Any
from unittest.mock import patch

import pytest
import torch.distributed as dist
from tests import tiny
from tests.ranks import over
from tests.studies.launched import LONG, STUDENT, TEACHER

from distillbias.errors import InputError, RunError
from distillbias.studies import execute
from distillbias.studies.executor import Event, Executor
from distillbias.studies.executors import make_executor
from distillbias.studies.run import Run
from distillbias.studies.runner import run_study
from distillbias.studies.store import CHECKPOINT, LOG, Store
from distillbias.studies.study import Study
from distillbias.studies.torchrun import Torchrun, follow
from distillbias.studies.worker import Place
from distillbias.training.parallel import ALONE, LOOK, Ranks

DRY = replace(tiny.ALONE, model=replace(tiny.MLP, dropout=0.0), recipe=replace(tiny.RECIPE, rate=1e-3))
TAUGHT = replace(DRY, distillation=replace(tiny.STUDENT.distillation, teacher=DRY))
LIVE = replace(TAUGHT, distillation=replace(TAUGHT.distillation, teacher_mode="train"))
SHUFFLED = replace(TAUGHT, distillation=replace(TAUGHT.distillation, control="shuffled"))
ORPHAN = replace(TAUGHT, distillation=replace(TAUGHT.distillation, teacher=tiny.DIVERGING))
STUDY = Study("small", "tiny", "?", {"all": (DRY, tiny.DIVERGING, ORPHAN, TAUGHT, LIVE, SHUFFLED)})

LEAVING = replace(tiny.ALONE, recipe=replace(tiny.RECIPE, epochs=5))  # with dropout, 50 steps
LEAVING_LIVE = replace(LEAVING, distillation=replace(LIVE.distillation, teacher=LEAVING))

UNPREPARED, FULL, SOUND, BROKEN = (replace(DRY, trial=trial) for trial in range(5, 9))
RESULT = ("weights.safetensors", "predictions.parquet", "activations.safetensors")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def one(ranks: Ranks, place: Place, run: Run, leave: bool = False) -> Event:
    """How one run ends; asked to leave before it begins, or never."""
    executor = Torchrun(place, ranks)
    if leave:
        executor.leave()
    executor.submit(run)
    while True:
        for event in executor.events(0.2):
            if event.kind != "epoch":
                return event


def fail_in(ranks: Ranks) -> Any:
    """On rank 1 some runs fail before they begin, and one in the middle."""
    build, fit = execute.build, execute.fit

    def build_or_fail(run: Run, device: str) -> Any:
        if ranks.rank == 1 and run == UNPREPARED:
            raise RunError("no luck")
        if ranks.rank == 1 and run == FULL:
            raise MemoryError("full")
        return build(run, device)

    def fit_or_fail(run: Run, *given: Any, **named: Any) -> Any:
        if ranks.rank == 1 and run == BROKEN:
            raise ValueError("in the middle")
        return fit(run, *given, **named)

    return patch.multiple(execute, build=build_or_fail, fit=fit_or_fail)


def job(ranks: Ranks, root: Path) -> dict[str, Any]:
    """Rank 0 leads, the other follows, until one run breaks it."""
    with fail_in(ranks):
        if ranks.rank == 1:
            with pytest.raises(ValueError, match="in the middle"):
                follow(ranks)
            dist.destroy_process_group()  # as the end of its process would
            return {}
        whole, parts = (Place(str(root / name), None) for name in ("whole", "parts"))
        seen: dict[str, Any] = {
            "failures": run_study(STUDY, Store(root / "whole"), None, executor=Torchrun(whole, ranks))
        }
        for run in (LEAVING, LEAVING_LIVE):
            seen["kinds", run] = [one(ranks, whole, run).kind]
            for _ in range(2):
                seen["kinds", run].append(one(ranks, parts, run, leave=True).kind)
                newest = max(Store(root / "parts").folder(run).glob(f"{CHECKPOINT}*"))
                seen["kinds", run].append(int(newest.name.removeprefix(CHECKPOINT)))
            seen["kinds", run].append(one(ranks, parts, run).kind)
        assert one(ranks, Place(str(root / "left"), None), LEAVING, leave=True).kind == "left"
        for run in (UNPREPARED, FULL, SOUND, BROKEN):
            seen[run] = one(ranks, whole, run)
        return seen | {"in step": ranks.in_step}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def seen(root: Path) -> dict[str, Any]:
    """What rank 0 saw."""
    return over((2,), job, root)[2][0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny.trained(tmp_path_factory.mktemp("alone"), DRY, TAUGHT, LIVE, SHUFFLED)


def test_a_run_that_fails_on_all_costs_itself_and_its_students(seen, root: Path) -> None:
    failures = {failure.run: failure.why for failure in seen["failures"]}
    assert set(failures) == {tiny.DIVERGING, ORPHAN} and "the loss became" in failures[tiny.DIVERGING]
    assert all(Store(root / "whole").done(run) for run in (DRY, TAUGHT, LIVE, SHUFFLED))


@pytest.mark.parametrize("run", [DRY, TAUGHT, LIVE, SHUFFLED], ids=lambda run: run.label)
def test_records_are_those_of_one_process(seen, root: Path, alone: Store, run: Run) -> None:
    """Without dropout. In float32 the ten steps of this MLP drift apart, see test_parallel: by 1e-4 of a loss."""
    store = Store(root / "whole")
    one, two = alone.record(run).facts, store.record(run).facts
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
    assert (one["provenance"]["processes"], two["provenance"]["processes"]) == (1, 2)
    assert store.damaged(run) == [] and not list(store.folder(run).glob(f"{CHECKPOINT}*"))
    log = (store.folder(run) / LOG).read_text()
    assert log.count("epoch 1 of 1") == 1 and log.rstrip().endswith("done")


@pytest.mark.parametrize("run", [LEAVING, LEAVING_LIVE], ids=lambda run: run.label)
def test_leaving_and_going_on_changes_no_bit(seen, root: Path, run: Run) -> None:
    assert seen["kinds", run] == ["done", "left", LOOK, "left", 2 * LOOK, "done"]
    whole, parts = Store(root / "whole"), Store(root / "parts")
    for file in RESULT:
        assert (whole.folder(run) / file).read_bytes() == (parts.folder(run) / file).read_bytes(), file
    assert whole.record(run).facts["losses"] == parts.record(run).facts["losses"]


def test_what_one_process_cannot_prepare_fails_on_both_and_the_next_run_goes_on(seen) -> None:
    for run, what in ((UNPREPARED, "no luck"), (FULL, "MemoryError: full")):
        assert seen[run].kind == "failed" and seen[run].said["why"].startswith("process 1 on ")
        assert seen[run].said["why"].endswith(f": {what}")
    assert seen[SOUND].kind == "done"


def test_a_process_that_is_lost_in_the_middle_stops_the_study(seen) -> None:
    assert seen[BROKEN].kind == "stop" and "the processes lost each other" in seen[BROKEN].said["why"]
    assert not seen["in step"]


def test_a_checkpoint_of_two_processes_is_not_gone_on_from_by_one(seen, root: Path) -> None:
    """Its sums are others: the result would be neither that of one nor that of two."""
    store, steps = Store(root / "left"), count()
    assert [path.name for path in store.folder(LEAVING).glob(f"{CHECKPOINT}*")] == [f"{CHECKPOINT}{LOOK:09}"]
    execute.execute(LEAVING, store, None, leave=lambda: next(steps) < 0)
    assert next(steps) == 50


def test_what_has_no_meaning_under_torchrun_is_refused(monkeypatch, tmp_path: Path) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    place = Place(str(tmp_path), None)
    with pytest.raises(InputError, match="3 workers under torchrun; there one run at a time is trained"):
        make_executor("processes", place, [DRY], workers=3)
    with pytest.raises(InputError, match="executor 'ray' under torchrun; there it is processes"):
        make_executor("ray", place, [DRY])
    with pytest.raises(InputError, match="device 'cuda:1'; under torchrun it is cpu or cuda"):
        make_executor("processes", replace(place, device="cuda:1"), [DRY])


def test_it_is_an_executor() -> None:
    assert isinstance(Torchrun(Place("store", None), ALONE), Executor)


@contextmanager
def started(store: Path, study: str, *more: str) -> Iterator[subprocess.Popen]:
    words = [*TORCHRUN, "-m", "tests.studies.launched", "run", study, "--store", str(store), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with subprocess.Popen(
        words, env=environment, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()  # if it is still there: it ends its workers, too


def test_torchrun_trains_a_study(tmp_path: Path) -> None:
    with started(tmp_path, "vision") as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert [line.split("  ")[0] for line in out.splitlines()] == ["1/2 runs", "2/2 runs", "the report"]
    store = Store(tmp_path)
    assert [store.record(run).facts["provenance"]["processes"] for run in (TEACHER, STUDENT)] == [2, 2]


def test_ctrl_c_writes_a_checkpoint_and_ends_all(tmp_path: Path) -> None:
    """To torchrun alone: its workers are in sessions of their own."""
    log, until = Store(tmp_path).folder(LONG) / LOG, time.monotonic() + 120
    with started(tmp_path, "dial-vision") as process:
        while not (log.exists() and "epoch 3 of" in log.read_text()):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0 and "stopped; what is finished is kept" in err
    assert list(Store(tmp_path).folder(LONG).glob(f"{CHECKPOINT}*"))
    assert log.read_text().rstrip().endswith("left, with a checkpoint")
