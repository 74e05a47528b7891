"""One run at a time over all processes that torchrun started: rank 0 runs the study, the others do their part of it.

    rank 0   the command: store, progress, evaluation, report; and in a thread beside it its part of the training
    others   wait for a run, train their part of it, wait again, until rank 0 says that it is over

What is wrong before a training begins, and a loss that is not finite, is met by all ranks alike: the run fails, the
study goes on. An error of one rank in the middle of a training ends that process; torchrun then ends the others, and
the same command (or torchrun itself, with `--max-restarts`) goes on from the newest checkpoint.
"""

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import NamedTuple

import torch

from distillbias import __version__
from distillbias.errors import InputError, RunError
from distillbias.studies.execute import Left, assist, execute
from distillbias.studies.executor import Event
from distillbias.studies.executors import torchrun_started
from distillbias.studies.provenance import commit
from distillbias.studies.run import Run
from distillbias.studies.runner import check_device
from distillbias.studies.store import Store, check_sees, open_store
from distillbias.studies.worker import Place, Report, attempt, log_of
from distillbias.training.parallel import Ranks, disband, meet

TOGETHER = timedelta(seconds=60)  # in which all ranks are through with a run that rank 0 is through with

CODE = f"distillbias {__version__} with torch {torch.__version__}"


class Order(NamedTuple):
    """What rank 0 tells the others to train."""

    run: Run
    place: Place
    mark: str  # by which they know its store
    code: str = CODE

    @property
    def device(self) -> str:
        """Each process of a machine has a GPU of its own."""
        return f"cuda:{os.environ['LOCAL_RANK']}" if self.place.device == "cuda" else self.place.device

    def prepare(self) -> Store:
        """The store. Raises InputError if this process cannot train as rank 0 does."""
        if self.code != CODE:
            raise InputError(f"it has {CODE}, rank 0 {self.code}; all processes must have the same")
        store = open_store(self.place.store)
        check_sees(store, self.mark)
        check_device(self.device)
        torch.set_num_threads(self.place.threads)
        if self.place.device == "cuda":
            torch.cuda.set_device(self.device)
        return store


class Torchrun:
    """The `Executor` of rank 0. Once asked to leave it trains nothing more; what still trains when it is closed leaves
    as soon as it can, or ends with the process.
    """

    slots = 1

    def __init__(self, place: Place, ranks: Ranks | None = None):
        if place.device not in ("cpu", "cuda"):
            raise InputError(f"device {place.device!r}; under torchrun it is cpu or cuda, each process has its own GPU")
        commit()  # read now: the files may change while this process goes on with what it has loaded
        self.place, self.ranks = place, ranks or here()
        self.said: queue.Queue[Event] = queue.Queue()
        self.asked = threading.Event()

    def submit(self, run: Run) -> None:
        threading.Thread(target=self._lead, args=(run,), daemon=True).start()

    def events(self, seconds: float) -> list[Event]:
        found: list[Event] = []
        with suppress(queue.Empty):
            found.append(self.said.get(timeout=seconds))
            while True:
                found.append(self.said.get_nowait())
        return found

    def leave(self) -> None:
        self.asked.set()

    def close(self) -> None:
        self.asked.set()

    def _lead(self, run: Run) -> None:
        self.said.put(self._ended(run))

    def _ended(self, run: Run) -> Event:
        try:
            store = open_store(self.place.store)
            with store.marked() as mark, log_of(run, store) as file:
                order = Order(run, self.place, mark)
                self.ranks.in_step = False
                self.ranks.from_first(lambda: order)
                event = attempt(run, store, file, self.said.put, lambda report: self._train(order, report))
        except InputError as error:
            return Event(run, "stop", {"why": str(error)})
        try:
            self.ranks.assemble(TOGETHER)
        except RuntimeError as error:
            first = event.said.get("why", str(error).splitlines()[0])
            return Event(run, "stop", {"why": f"the processes lost each other in {run.label}; start again ({first})"})
        self.ranks.in_step = True
        return event

    def _train(self, order: Order, report: Report) -> None:
        with self.ranks.in_turn():
            store = order.prepare()
        place = order.place
        execute(order.run, store, place.data, order.device, report, place.every, self.asked.is_set, self.ranks)


def follow(ranks: Ranks) -> None:
    """What every rank but the first does: train its part of each run that rank 0 tells, until it says that it is over.

    Raises what only this rank has met: it must end then, for the others wait for it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # rank 0 hears them, too, and says when to leave
    hear: Callable[[], Order | None] = lambda: None  # noqa: E731
    while order := ranks.from_first(hear):
        try:
            with ranks.in_turn():
                store = order.prepare()
            assist(order.run, store, order.place.data, order.device, ranks)
        except (InputError, RunError, Left):
            pass  # rank 0 has met the same, and says it
        ranks.assemble()


@contextmanager
def led() -> Iterator[bool]:
    """Whether this process leads: rank 0 does, and any that torchrun did not start. The others follow in here, and have
    nothing to do inside; what they follow ends with the block of rank 0.
    """
    if not torchrun_started():
        yield True
    elif here().rank > 0:
        follow(here())
        disband()
        yield False
    else:
        try:
            yield True
        finally:
            if here().in_step:  # else they are ended by torchrun, when this process is
                here().from_first(lambda: None)
                disband()


@cache
def here() -> Ranks:
    """The place of this process among those that torchrun started; the first call meets them."""
    return meet()
