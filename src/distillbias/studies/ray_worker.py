"""What of a Ray cluster runs beside a run in training: the desk of the driver, and the worker's line to it."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from distillbias import __version__
from distillbias.errors import InputError
from distillbias.studies.executor import Event
from distillbias.studies.processes import processor_seconds
from distillbias.studies.run import Run
from distillbias.studies.store import check_sees, open_store
from distillbias.studies.worker import Place, work

BEAT = 0.5  # seconds from one sign of life to the next
PATIENCE = 60.0  # seconds without an answer of the desk after which a worker takes itself for lost

Answer = Literal["go on", "leave", "end"]


@dataclass(frozen=True)
class Beat:
    """A sign of life of a worker: what it has used of the processor, and what its run said since the last one."""

    ticket: str
    used: float | None
    said: tuple[Event, ...]


class Desk:
    """Hears all workers and answers them; an actor on the driver's node, so that no other node's end is its own.

    A ticket is one try of one run. Who has none that counts is to end: its run was given to another, or to nobody.
    """

    def __init__(self) -> None:
        self.tickets: set[str] = set()
        self.heard: list[Beat] = []
        self.leaving = False

    def give(self, ticket: str) -> None:
        self.tickets.add(ticket)

    def take(self, ticket: str) -> None:
        self.tickets.discard(ticket)

    def leave(self) -> None:
        self.leaving = True

    def beat(self, beat: Beat) -> Answer:
        if beat.ticket not in self.tickets:
            return "end"
        self.heard.append(beat)
        return "leave" if self.leaving else "go on"

    def read(self) -> list[Beat]:
        """What was heard since the last call."""
        heard, self.heard = self.heard, []
        return heard


@dataclass(frozen=True)
class Code:
    """What must be the same on all nodes for results to be."""

    distillbias: str
    torch: str

    @classmethod
    def here(cls) -> "Code":
        import torch

        return cls(__version__, torch.__version__)

    def __str__(self) -> str:
        return f"distillbias {self.distillbias} with torch {self.torch}"


def train(desk: Any, ticket: str, run: Run, place: Place, mark: str, code: Code) -> Event:
    """The Ray task: one try of one run."""
    import torch

    from distillbias.studies.provenance import commit
    from distillbias.studies.runner import check_device

    torch.set_num_threads(place.threads)
    commit()  # read now: the files may change while this process goes on with what it has loaded
    with _Line(desk, ticket).open() as line:
        if line.leaving:
            return Event(run, "left")
        try:
            check_sees(open_store(place.store), mark)
            if (ours := Code.here()) != code:
                raise InputError(f"it has {ours}, the command {code}; all nodes must have the same")
            check_device(place.device)
        except InputError as error:
            event = Event(run, "stop", {"why": str(error)})
        else:
            event = work(run, place, line.say, lambda: line.leaving)
        if event.kind == "stop":
            event = replace(event, said={"why": f"on node {platform.node()}: {event.said['why']}"})
        return event


class _Line:
    """A worker's line to the desk: words of its run and signs of life go there, the wish that it leave comes back."""

    def __init__(self, desk: Any, ticket: str):
        self.desk, self.ticket = desk, ticket
        self.thread = threading.get_native_id()  # the one that trains: this line's own work is no sign of life
        self.said: list[Event] = []
        self.lock = threading.Lock()
        self.leaving = False

    def say(self, event: Event) -> None:
        with self.lock:
            self.said.append(event)

    @contextmanager
    def open(self) -> Iterator["_Line"]:
        self._call()
        closed = threading.Event()
        calls = threading.Thread(target=self._call_until, args=(closed,), daemon=True)
        calls.start()
        try:
            yield self
        finally:
            closed.set()
            calls.join()
            self._call()  # what was said last is at the desk before the task ends

    def _call_until(self, closed: threading.Event) -> None:
        while not closed.wait(BEAT):
            self._call()

    def _call(self) -> None:
        """A worker that nobody hears, or whose run is no longer its own, would train on alone."""
        import ray

        with self.lock:
            said, self.said = tuple(self.said), []
        beat = Beat(self.ticket, processor_seconds(os.getpid(), self.thread), said)
        try:
            answer = ray.get(self.desk.beat.remote(beat), timeout=PATIENCE)
        except ray.exceptions.RayError:
            os._exit(1)
        if answer == "end":
            os._exit(1)
        self.leaving = answer == "leave"
