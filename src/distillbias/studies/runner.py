"""All runs of a study: what is done stays, what is missing is trained, a student when its teacher is done."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distillbias.errors import InputError
from distillbias.studies.checkpoints import EVERY
from distillbias.studies.executor import Event, Executor, Watch
from distillbias.studies.processes import Processes
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.studies.worker import Place

TRIES = 3  # of a run whose worker dies: more often it is the run
GRACE = 30.0  # seconds that runs have to write a checkpoint after Ctrl-C


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
    every: float = EVERY,
    executor: Executor | None = None,
) -> list[Failure]:
    """Train what is missing. A run that fails takes its students with it, the others go on.

    A finished run whose files are damaged is trained again; one whose worker died goes on from its checkpoint, written
    each `every` seconds. On Ctrl-C, SIGTERM or SIGHUP the runs in training write one, then KeyboardInterrupt is raised.
    `executor` None: `workers` processes of this machine.
    """
    check_workers(workers)
    hurt, lacking = damaged(study, store), missing(study, store)
    if not hurt and not lacking:
        return []
    with store.alone():
        for run in hurt:
            store.reopen(run)
        store.sweep()  # a store at a URL puts there what was finished here and could not be put
        todo = missing(study, store)
        for run in dict.fromkeys([*hurt, *lacking]):
            if run not in todo:
                watch(Event(run, "done"))
        if not todo:
            return []
        todo[0].task.load(data)  # data that is missing or damaged is one clear line before anything starts
        place = Place(store.where, data, device, every=every)
        failures = _train(todo, store, executor or Processes(place, min(workers, len(todo))), watch)
        store.remove_litter()  # of workers that died
        return failures


def check_workers(workers: int) -> None:
    if workers < 1:
        raise InputError(f"{workers} workers; at least 1 is needed")


def missing(study: Study, store: Store) -> list[Run]:
    """What is to be trained: runs that are not done, and teachers of those that came without their weights."""
    students = [run for run in study.runs if not store.done(run)]
    needed = {run.teacher.name for run in students if run.teacher and not store.has_weights(run.teacher)}
    return [run for run in study.runs if not store.done(run) or run.name in needed]


def damaged(study: Study, store: Store) -> list[Run]:
    """Finished runs whose files are not what was written. Reads them all."""
    return [run for run in study.runs if store.done(run) and store.damaged(run)]


def _train(todo: list[Run], store: Store, executor: Executor, watch: Watch) -> list[Failure]:
    failures: list[Failure] = []
    running: dict[str, Run] = {}
    losses: Counter[str] = Counter()

    def fail(run: Run, why: str) -> None:
        failures.append(Failure(run, why))
        watch(Event(run, "failed", {"why": why}))

    with _asked_to_stop() as asked:
        try:
            while todo or running:
                if asked:
                    raise KeyboardInterrupt
                todo = _without_orphans(todo, failures, fail)
                while len(running) < executor.slots and (ready := _ready(todo, running, store)):
                    todo.remove(ready)
                    running[ready.name] = ready
                    executor.submit(ready)
                    watch(Event(ready, "started"))
                for event in executor.events(0.2):
                    run = event.run
                    if event.kind == "epoch":
                        watch(event)
                        continue
                    del running[run.name]
                    if event.kind == "stop":
                        raise InputError(event.said["why"])
                    if store.arrived(run):  # also if its worker died before it could say so
                        watch(Event(run, "done"))
                    elif event.kind == "failed":
                        fail(run, event.said["why"])
                    else:  # lost, or asked to leave by somebody else than us
                        losses[run.name] += 1
                        why = event.said.get("why", "its worker was asked to leave")
                        if losses[run.name] < TRIES:
                            todo.insert(0, run)
                            watch(Event(run, "lost", {"why": why}))
                        else:
                            fail(run, f"{why}, {TRIES} times")
        except KeyboardInterrupt:
            _leave(executor, running, watch)
            raise
        finally:
            executor.close()
    return failures


def _ready(todo: list[Run], running: dict[str, Run], store: Store) -> Run | None:
    """The first run whose teacher is done, and has said so: it may be marked a moment before."""
    told = (run for run in todo if run.teacher is None or run.teacher.name not in running)
    return next((run for run in told if run.teacher is None or store.has_weights(run.teacher)), None)


def _without_orphans(todo: list[Run], failures: list[Failure], fail: Callable[[Run, str], None]) -> list[Run]:
    """What is left without the students of a teacher that failed."""
    failed = {failure.run.name for failure in failures}
    left = []
    for run in todo:
        if run.teacher and run.teacher.name in failed:
            fail(run, f"its teacher {run.teacher.name} failed")
            failed.add(run.name)
        else:
            left.append(run)
    return left


def _leave(executor: Executor, running: dict[str, Run], watch: Watch) -> None:
    """Give the runs in training time for a checkpoint; a second Ctrl-C takes it away."""
    for run in running.values():
        watch(Event(run, "leaving"))
    executor.leave()
    until = time.monotonic() + GRACE
    while running and time.monotonic() < until:
        for event in executor.events(0.2):
            if event.kind != "epoch":
                running.pop(event.run.name, None)
            if event.kind in ("done", "left"):
                watch(event)


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """The signals that asked to: Ctrl-C, SIGTERM and SIGHUP, where nobody else handles them. A second one is
    KeyboardInterrupt at once; the first is none, because it could come in the middle of a message."""
    asked: list[int] = []

    def handle(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    main = threading.current_thread() is threading.main_thread()
    usual = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if main}
    ours = [each for each, how in usual.items() if how in (signal.SIG_DFL, signal.default_int_handler)]
    try:
        for each in ours:
            signal.signal(each, handle)
        yield asked
    finally:
        for each in ours:
            signal.signal(each, usual[each])


def check_device(device: str) -> None:
    """Refuse a device that is not there, before anything is trained."""
    import torch

    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # NotImplementedError, of "meta", is a RuntimeError
        count = torch.cuda.device_count()
        choices = ["cpu", *(f"cuda:{index}" for index in range(count))]
        raise InputError(f"device {device!r} cannot be used; here it is one of {', '.join(choices)}") from error
