"""Kills, signals, damage and hangs, injected into a real study with real workers: nothing lost, nothing done twice."""

import itertools
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests import tiny
from tests.faults import small
from tests.faults.injected import (
    STUDY,
    Running,
    alive,
    children,
    command,
    differences,
    done_at,
    gone,
    has_checkpoint,
    litter,
)
from tests.here import Here

from distillbias.studies.executor import Event
from distillbias.studies.processes import METHOD, Processes, _start
from distillbias.studies.runner import run_study
from distillbias.studies.store import CHECKPOINT, LOG, Store
from distillbias.studies.verify import verify
from distillbias.studies.worker import Place


def wait_for(what, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny.trained(tmp_path_factory.mktemp("undisturbed"), *STUDY.runs)


def finished(root: Path, reference: Store) -> None:
    """Run it to its end, in this process; the results are those of the undisturbed one."""
    store = Store(root)
    assert run_study(STUDY, store, None, every=small.EVERY, executor=Here(store)) == []
    assert differences(store, reference) == [] and litter(root) == []


def test_a_killed_study_goes_on_where_it_was(reference: Store, tmp_path: Path) -> None:
    killed = Running(tmp_path)
    wait_for(lambda: len(done_at(Store(tmp_path))) >= 1 and has_checkpoint(tmp_path))
    killed.kill(killed.process.pid)
    killed.ended()
    assert gone(lambda: killed.left), "orphans train on"
    before = done_at(Store(tmp_path))
    assert 1 <= len(before) < len(STUDY.runs)
    status, out = Running(tmp_path).ended()
    assert status == 0, out
    assert differences(Store(tmp_path), reference) == [] and litter(tmp_path) == []
    assert before.items() <= done_at(Store(tmp_path)).items()


def test_a_killed_worker_costs_its_run_only_and_a_second_command_says_who_works(
    reference: Store, tmp_path: Path
) -> None:
    running = Running(tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    os.kill(running.process.pid, signal.SIGSTOP)  # so that it is not done before the second command looks
    running.kill(running.workers[0])  # which is in the middle of a run; a moment later it might wait for the next
    status, out = Running(tmp_path).ended()
    os.kill(running.process.pid, signal.SIGCONT)
    assert status == 1 and f"process {running.process.pid} already trains in" in out
    status, out = running.ended()
    assert status == 0 and out.count("lost ") == 1 and "its worker died (signal 9, SIGKILL)" in out, out
    assert differences(Store(tmp_path), reference) == [] and litter(tmp_path) == []


def test_what_workers_are_forked_from_outlives_signals_and_is_replaced(reference: Store, tmp_path: Path) -> None:
    running = Running(tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    (loaded,), workers = running.forked_from, running.workers
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):  # as a terminal or a queue sends them to all
        os.kill(loaded, each)
    time.sleep(0.2)
    assert alive([loaded])
    running.kill(loaded)
    status, out = running.ended()
    assert status == 0 and out.count("its worker died") == out.count("lost ") > 0, out
    assert gone(lambda: alive(workers)), "two train the same run"
    assert differences(Store(tmp_path), reference) == [] and litter(tmp_path) == []


def test_what_workers_are_forked_from_is_killed_while_it_is_asked_for_one(tmp_path: Path) -> None:
    executor = Processes(Place(str(tmp_path), None, every=small.EVERY), 1)
    try:
        _start(multiprocessing.get_context(METHOD).Process(target=int))  # so that there is one
        (loaded,) = [pid for pid in children(os.getpid()) if b"forkserver" in command(pid)]
        os.kill(loaded, signal.SIGSTOP)
        killer = threading.Timer(0.5, os.kill, (loaded, signal.SIGKILL))
        killer.start()
        executor.submit(STUDY.runs[0])
        assert not killer.is_alive(), "it was answered by one that cannot answer"
        wait_for(lambda: any(event.kind == "done" for event in executor.events(1.0)))
    finally:
        executor.close()
    assert Store(tmp_path).done(STUDY.runs[0])


def test_a_signal_leaves_checkpoints_and_no_process(reference: Store, tmp_path: Path) -> None:
    running = Running(tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    os.kill(running.process.pid, signal.SIGTERM)
    status, out = running.ended(60)
    assert status == 130 and "leaving" in out and "left" in out, out
    assert gone(lambda: running.left) and not any(path.name.startswith(".") for path in tmp_path.glob("runs/*/*"))
    logs = [path.read_text() for path in tmp_path.glob(f"runs/*/{LOG}")]
    assert any("left, with a checkpoint" in text for text in logs)
    finished(tmp_path, reference)


def test_ctrl_c_twice_ends_at_once(reference: Store, tmp_path: Path) -> None:
    running = Running(tmp_path)
    wait_for(lambda: has_checkpoint(tmp_path))
    for pid in running.workers:
        os.kill(pid, signal.SIGSTOP)  # they cannot answer the first
    os.kill(running.process.pid, signal.SIGINT)
    while not running.said().startswith("leaving"):
        assert running.process.poll() is None
    os.kill(running.process.pid, signal.SIGINT)
    assert running.ended(20)[0] == 130 and gone(
        lambda: running.left
    )  # less than the 30 s it would wait for a checkpoint
    finished(tmp_path, reference)


def test_a_worker_that_hangs_is_replaced(reference: Store, tmp_path: Path) -> None:
    seen, stopped = [], []
    store = Store(tmp_path)

    class Stopping(Processes):
        """Stops its first worker once it has a checkpoint."""

        def events(self, seconds: float):
            if not stopped and has_checkpoint(tmp_path):
                stopped.append(self.workers[0].process.pid)
                os.kill(stopped[0], signal.SIGSTOP)
            for worker in self.workers:
                if worker.process.pid not in stopped:
                    worker.pulse.seen = time.monotonic()  # on a busy machine it could seem to hang, too
            return super().events(seconds)

    executor = Stopping(Place(str(tmp_path), None, every=small.EVERY), 2, hang=3.0)
    assert run_study(STUDY, store, None, watch=seen.append, executor=executor) == []
    assert [event.said["why"] for event in seen if event.kind == "lost"] == ["its worker did nothing for 3 s"]
    assert gone(lambda: alive(stopped)) and differences(store, reference) == []


def test_a_run_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    killed: list[int] = []

    class Deadly(Processes):
        def events(self, seconds: float):
            for worker in self.workers:
                if worker.run and worker.run == STUDY.runs[0]:
                    worker.process.kill()
                    killed.append(1)
            return super().events(seconds)

    executor = Deadly(Place(str(tmp_path), None, every=small.EVERY), 2)
    failures = run_study(STUDY, Store(tmp_path), None, executor=executor)
    why = {failure.run: failure.why for failure in failures}
    assert why.pop(STUDY.runs[0]) == "its worker died (signal 9, SIGKILL), 3 times"
    assert set(why.values()) == {f"its teacher {STUDY.runs[0].name} failed"} and len(why) == 2
    assert sum(map(Store(tmp_path).done, STUDY.runs)) == 2


@pytest.mark.parametrize("spoil", ["cut", "flip", "remove"])
def test_damage_is_found_and_mended_and_nothing_else_is_touched(reference: Store, tmp_path: Path, spoil: str) -> None:
    root = tmp_path / "store"
    shutil.copytree(reference.root, root, copy_function=shutil.copy2)
    store, victims = Store(root), (STUDY.runs[0], STUDY.runs[3])
    files = [store.folder(victims[0]) / "weights.safetensors", store.folder(victims[1]) / "record.json"]
    files.append(store.signal_path(STUDY.runs[1]))
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        if spoil == "remove":
            file.unlink()
        else:
            file.write_bytes(content if spoil == "flip" else content[: len(content) // 2])
    found = {damage.file for damage in verify(STUDY, store).damage}
    named = {str(file.relative_to(root)) for file in files}
    if spoil == "remove":  # a signal that is not there is no damage: it is made when needed
        named.remove(str(files[2].relative_to(root)))
    assert found == named
    before = {run: (store.folder(run) / "record.json").stat().st_mtime_ns for run in STUDY.runs if run not in victims}
    finished(root, reference)
    assert all((store.folder(run) / "record.json").stat().st_mtime_ns == at for run, at in before.items())
    assert verify(STUDY, store).damage == ()  # the signal, too: a student of its teacher was trained again


@pytest.mark.parametrize("spoil", [lambda mark: mark[: len(mark) // 2], lambda mark: b"{}", lambda mark: b"[" + mark])
def test_a_mark_that_is_damaged_is_damage(reference: Store, tmp_path: Path, spoil) -> None:
    root = tmp_path / "store"
    shutil.copytree(reference.root, root)
    mark = Store(root).folder(STUDY.runs[2]) / "done"
    mark.write_bytes(spoil(mark.read_bytes()))
    assert [damage.file for damage in verify(STUDY, Store(root)).damage] == [str(mark.relative_to(root))]


def test_a_disk_that_fills_up_is_one_line_and_nothing_is_lost(reference: Store, tmp_path: Path) -> None:
    """A limit on the size of files, as small as a record, stands for a full disk."""
    limited = subprocess.run(
        [sys.executable, "-m", "tests.faults.small", str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert limited.returncode == 1 and "Traceback" not in limited.stdout + limited.stderr, limited.stdout
    assert limited.stdout.strip().splitlines()[-1].startswith("error: cannot write to"), limited.stdout
    finished(tmp_path, reference)


def test_a_clock_that_jumps_changes_nothing(reference: Store, tmp_path: Path, monkeypatch) -> None:
    jumps = itertools.cycle((0.0, 4e9, -1e9, 1.0))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    tiny.trained(tmp_path, *STUDY.runs[:2])
    monkeypatch.undo()
    finished(tmp_path, reference)


def test_an_error_of_the_program_ends_its_run_and_is_in_its_log(tmp_path: Path, monkeypatch) -> None:
    from distillbias.studies import execute
    from distillbias.studies.worker import work

    monkeypatch.setattr(execute, "evaluate_run", lambda *asked: 1 / 0)
    event = work(STUDY.runs[0], Place(Store(tmp_path).where, None), lambda event: None)
    assert event.kind == "failed" and event.said["why"].startswith("ZeroDivisionError: division by zero (all of it in")
    log = (Store(tmp_path).folder(STUDY.runs[0]) / LOG).read_text()
    assert "Traceback" in log and "epoch 30 of 30" in log and not Store(tmp_path).done(STUDY.runs[0])


def test_dead_processes_litter_is_swept_and_that_of_the_living_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.start(STUDY.runs[0])
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for place in (folder, tmp_path / "signals"):
        (place / f".weights.safetensors.{dead.pid}").write_text("half")
        (place / f".weights.safetensors.{os.getpid()}").write_text("half")
    (folder / ".notes.txt").write_text("not ours")
    store.sweep()
    left = sorted(path.name for path in tmp_path.rglob(".*"))
    assert left == sorted([".notes.txt", *[f".weights.safetensors.{os.getpid()}"] * 2])


def test_a_worker_killed_between_its_mark_and_its_checkpoints_leaves_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    done, going = (store.start(run) for run in STUDY.runs[:2])
    for folder in (done, going):
        (folder / f"{CHECKPOINT}000000500").write_text("kept")
    (done / "done").write_text("{}")
    store.sweep()
    assert [path.parent for path in tmp_path.glob(f"runs/*/{CHECKPOINT}*")] == [going]


def test_what_a_dead_worker_left_half_written_is_gone_at_the_end(reference: Store, tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    half = tmp_path / "signals" / f".signal.sha256.{dead.pid}"
    store = Store(tmp_path)

    def worker_dies(event: Event) -> None:
        if event.kind == "done":
            half.write_text("half")

    assert run_study(STUDY, store, None, every=small.EVERY, watch=worker_dies, executor=Here(store)) == []
    assert differences(store, reference) == [] and litter(tmp_path) == []
