"""All runs of a study: what is done stays, what is missing is trained, a student when its teacher is done."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from distillbias.errors import InputError, RunError
from distillbias.studies.run import Run
from distillbias.studies.store import Store, write_json
from distillbias.studies.study import Study

# One thread a worker: two of them beat one with two threads on two cores, and since sums depend on the number of
# threads in their last bits, a run's result does not depend on the number of workers.
THREADS = 1
# Large blocks stay with the process: without this, first-touch page faults take up to 40 % of a training step.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}


@dataclass(frozen=True)
class Event:
    """What a run said: `started`, `epoch` (with epoch, epochs, loss, seconds), `done`, `failed` (with why)."""

    run: Run
    kind: str
    said: dict[str, Any] = field(default_factory=dict)


Watch = Callable[[Event], None]


@dataclass(frozen=True)
class Failure:
    run: Run
    why: str


def run_study(
    study: Study,
    store: Store,
    data: Path | None,
    device: str = "cpu",
    workers: int = 2,
    watch: Watch = lambda event: None,
) -> list[Failure]:
    """Train what is missing. A run that fails takes its students with it, the others go on."""
    if workers < 1:
        raise InputError(f"{workers} workers; at least 1 is needed")
    todo = missing(study, store)
    if not todo:
        return []
    todo[0].task.load(data)  # data that is missing or damaged is one clear line before anything starts
    with store.alone():
        return _Pool(store, data, device, min(workers, len(todo)), watch).train(todo)


def missing(study: Study, store: Store) -> list[Run]:
    """What is to be trained: runs that are not done, and teachers of those that came without their weights."""
    students = [run for run in study.runs if not store.done(run)]
    needed = {run.teacher.name for run in students if run.teacher and not store.has_weights(run.teacher)}
    return [run for run in study.runs if not store.done(run) or run.name in needed]


class _Pool:
    """Worker processes, and the events they send."""

    def __init__(self, store: Store, data: Path | None, device: str, workers: int, watch: Watch):
        self.store, self.data, self.device, self.workers, self.watch = store, data, device, workers, watch
        context = multiprocessing.get_context("spawn")
        self.events = context.Queue()
        os.environ |= {name: os.environ.get(name, value) for name, value in ALLOCATOR.items()}
        self.executor = ProcessPoolExecutor(workers, context, _start_worker, (self.events, os.getpid(), THREADS))

    def train(self, todo: list[Run]) -> list[Failure]:
        failures: list[Failure] = []
        running: dict[Future, Run] = {}
        try:
            while todo or running:
                todo = self._drop_orphans(todo, failures)
                self._submit_ready(todo, running)
                for future in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    self._finish(running[future], future, failures)
                    del running[future]
                self._pass_on(running)
            self.executor.shutdown()
        except BrokenProcessPool:
            self._stop()
            labels = ", ".join(run.label for run in running.values())
            raise InputError(f"a worker died while training {labels}; run the same command again") from None
        except BaseException:
            self._stop()
            raise
        return failures

    def _submit_ready(self, todo: list[Run], running: dict[Future, Run]) -> None:
        while len(running) < self.workers:
            ready = next((run for run in todo if run.teacher is None or self.store.has_weights(run.teacher)), None)
            if ready is None:
                return
            todo.remove(ready)
            running[self.executor.submit(_work, ready, self.store.root, self.data, self.device)] = ready
            self.watch(Event(ready, "started"))

    def _drop_orphans(self, todo: list[Run], failures: list[Failure]) -> list[Run]:
        """Students of a teacher that failed."""
        failed = {failure.run.name for failure in failures}
        for run in todo:
            if run.teacher and run.teacher.name in failed:
                failures.append(Failure(run, f"its teacher {run.teacher.name} failed"))
                self.watch(Event(run, "failed", {"why": failures[-1].why}))
        return [run for run in todo if not (run.teacher and run.teacher.name in failed)]

    def _finish(self, run: Run, future: Future, failures: list[Failure]) -> None:
        try:
            future.result()
            self.watch(Event(run, "done"))
        except RunError as error:
            failures.append(Failure(run, str(error)))
            self.watch(Event(run, "failed", {"why": str(error)}))

    def _pass_on(self, running: dict[Future, Run]) -> None:
        by_name = {run.name: run for run in running.values()}
        while True:
            try:
                name, said = self.events.get_nowait()
            except Empty:
                return
            if name in by_name:
                self.watch(Event(by_name[name], "epoch", said))

    def _stop(self) -> None:
        """End the workers at once: what they had not finished is trained again next time."""
        processes = list((self.executor._processes or {}).values())
        self.executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
            process.join(timeout=10)


_events: Any = None


def _start_worker(events: Any, parent: int, threads: int) -> None:
    global _events
    _events = events
    import torch

    from distillbias.studies.execute import commit

    torch.set_num_threads(threads)
    commit()  # read now: the files may change while this process goes on with what it has loaded
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """A worker whose parent was killed would train on alone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _work(run: Run, root: Path, data: Path | None, device: str) -> None:
    from distillbias.studies.execute import execute

    store = Store(root)

    def report(said: dict[str, Any]) -> None:
        write_json(store.folder(run) / "progress.json", said | {"at": time.time()})
        _events.put((run.name, said))

    execute(run, store, data, device, report)


def check_device(device: str) -> None:
    """Refuse a device that is not there, before anything is trained."""
    import torch

    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # NotImplementedError, of "meta", is a RuntimeError
        count = torch.cuda.device_count()
        choices = ["cpu", *(f"cuda:{index}" for index in range(count))]
        raise InputError(f"device {device!r} cannot be used; here it is one of {', '.join(choices)}") from error
