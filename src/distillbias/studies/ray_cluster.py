"""Runs on a Ray cluster that is there already, one task a run; a node that dies costs only what it trained."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from distillbias.errors import InputError
from distillbias.models.output import Shares
from distillbias.studies.executor import Event
from distillbias.studies.processes import ALLOCATOR, HANG, Pulse
from distillbias.studies.ray_connection import AUTO, clear_errors, connected
from distillbias.studies.ray_worker import Beat, Code, Desk, train
from distillbias.studies.run import Run
from distillbias.studies.store import open_store
from distillbias.studies.worker import Place

LOOK = 1.0  # seconds from one look at the nodes to the next
LATE = 90.0  # seconds after which a network file system shows what another machine wrote
END = 10.0  # seconds that tasks have to end when they are cancelled


@dataclass
class _Try:
    """One try of one run: its Ray task, and the pulse of its worker, None while it waits in Ray's queue."""

    run: Run
    task: Any
    pulse: Pulse | None = None


class RayCluster:
    """An `Executor` of Ray tasks. It connects when it is first asked for events or given a run.

    `runs` are those that it may be given. At most `most` are trained at once, None: as many as the nodes have room for,
    counted again as they come and go; where shares differ, by the smallest: then some runs wait in Ray's queue, but no
    room stays empty. Ray tries nothing twice: that is the runner's matter.

    Raises:
        InputError: no Ray, no cluster, it is lost, or no node has room for a run, at first or for `hang` seconds.
    """

    def __init__(
        self, place: Place, runs: Sequence[Run], address: str = AUTO, most: int | None = None, hang: float = HANG
    ):
        if place.device not in ("cpu", "cuda"):
            raise InputError(f"device {place.device!r}; on a Ray cluster it is cpu or cuda, Ray chooses which GPU")
        self.place, self.runs, self.address, self.most, self.hang = place, runs, address, most, hang
        self.store = open_store(place.store)
        self.tries: dict[str, _Try] = {}
        self.late: list[tuple[Event, float]] = []  # done, by their word, but not yet seen here; and since when
        self.held = ExitStack()
        self.ray: Any = None
        self.slots = 0
        self.looked = self.fitted = float("-inf")

    def submit(self, run: Run) -> None:
        need, ticket = shares(run, self.place), f"{run.name}-{uuid4().hex}"
        with self._connected() as ray:
            ray.get(self.desk.give.remote(ticket))
            task = self.train.options(num_cpus=need.cpus, num_gpus=need.gpus)
            self.tries[ticket] = _Try(run, task.remote(self.desk, ticket, run, self.place, self.mark, self.code))

    def events(self, seconds: float) -> list[Event]:
        with self._connected() as ray:
            self._look()
            if not self.tries:
                time.sleep(seconds)
                return self._seen([])
            tickets = {each.task: ticket for ticket, each in self.tries.items()}
            ended, _ = ray.wait(list(tickets), timeout=seconds)
            found = [event for beat in ray.get(self.desk.read.remote()) for event in self._heard(beat)]
            found += [self._ended(tickets[task]) for task in ended]
            hang = [ticket for ticket, each in self.tries.items() if each.pulse and each.pulse.silent > self.hang]
            found += [self._hung(ticket) for ticket in hang]
        return self._seen(found)

    def leave(self) -> None:
        if self.tries:
            with self._connected() as ray:
                ray.get(self.desk.leave.remote())

    def close(self) -> None:
        ray, self.ray = self.ray, None
        tasks = [each.task for each in self.tries.values()]
        self.tries, self.late = {}, []
        if ray is None:
            return
        with suppress(ray.exceptions.RayError, ConnectionError), self.held:
            for task in tasks:
                ray.cancel(task, force=True)
            if tasks:
                ray.wait(tasks, num_returns=len(tasks), timeout=END)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        if self.ray is None:
            self.ray = self.held.enter_context(connected(self.address))
        with clear_errors(self.ray, self.address):
            if not hasattr(self, "desk"):
                self._begin()
            yield self.ray

    def _begin(self) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        self.desk = self.ray.remote(num_cpus=0, scheduling_strategy=here)(Desk).remote()
        self.held.callback(self.ray.kill, self.desk)
        self.store, self.code = open_store(self.place.store), Code.here()
        self.mark = self.held.enter_context(self.store.marked())
        variables = {name: os.environ.get(name, value) for name, value in ALLOCATOR.items()}
        variables["OMP_NUM_THREADS"] = str(self.place.threads)
        # a process keeps the GPU it began with, so on GPUs each run has a process of its own
        calls = 1 if self.place.device == "cuda" else 0
        options = self.ray.remote(max_retries=0, max_calls=calls, runtime_env={"env_vars": variables})
        self.train = options(train)

    def _look(self) -> None:
        """Count, now and then, what the nodes have room for."""
        now = time.monotonic()
        if now - self.looked < LOOK:
            return
        self.looked = now
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        needs = {shares(run, self.place) for run in self.runs}
        room = {need: sum(_fits(need, node["Resources"]) for node in nodes) for need in needs}
        self.slots = min(max(room.values(), default=0), self.most or sys.maxsize)
        if all(room.values()):
            self.fitted = now
        elif now - self.fitted > self.hang:
            waiting = [run for run in self.runs if not room[shares(run, self.place)] and not self.store.done(run)]
            if waiting:
                raise InputError(self._no_room(waiting[0], nodes))

    def _no_room(self, run: Run, nodes: list[dict[str, Any]]) -> str:
        need = shares(run, self.place)
        have = [f"{node['Resources'].get('CPU', 0):g} and {node['Resources'].get('GPU', 0):g}" for node in nodes]
        return (
            f"no node of the Ray cluster at {self.address} has room for {run.label}, which needs {need.cpus:g} CPUs "
            f"and {need.gpus:.2g} GPUs; the nodes have {', '.join(have) or 'all gone'}"
        )

    def _heard(self, beat: Beat) -> tuple[Event, ...]:
        each = self.tries.get(beat.ticket)
        if each is None:
            return ()
        each.pulse = each.pulse or Pulse()
        each.pulse.beat(beat.used)
        return beat.said

    def _ended(self, ticket: str) -> Event:
        each = self._taken(ticket)
        errors = self.ray.exceptions
        try:
            return self.ray.get(each.task)
        except errors.RayTaskError as error:  # errors of runs are events: this one is of the node
            last = str(error).strip().splitlines()[-1]
            return Event(each.run, "stop", {"why": f"a node cannot train: {last}; distillbias must be on all of them"})
        except errors.NodeDiedError:
            why = "its node died"
        except errors.WorkerCrashedError:
            why = "its worker died"
        except errors.OutOfMemoryError:
            why = "its node ran out of memory"
        except errors.RayError as error:
            why = f"Ray ended it: {' '.join(str(error).split())[:200] or type(error).__name__}"
        return Event(each.run, "lost", {"why": why})

    def _hung(self, ticket: str) -> Event:
        each = self._taken(ticket)
        self.ray.cancel(each.task, force=True)
        return Event(each.run, "lost", {"why": f"its worker did nothing for {self.hang:.0f} s"})

    def _taken(self, ticket: str) -> _Try:
        """This try is over, whatever its worker still does."""
        self.desk.take.remote(ticket)
        return self.tries.pop(ticket)

    def _seen(self, found: list[Event]) -> list[Event]:
        """What was found, but nothing as done before its files are seen here."""
        now = time.monotonic()
        waiting = self.late + [(event, now) for event in found if event.kind == "done"]
        seen = [since < now - LATE or self.store.arrived(event.run) for event, since in waiting]
        self.late = [each for each, ready in zip(waiting, seen, strict=True) if not ready]
        arrived = [event for (event, _), ready in zip(waiting, seen, strict=True) if ready]
        return [event for event in found if event.kind != "done"] + arrived


def shares(run: Run, place: Place) -> Shares:
    """What a run is to be given; no GPU if it does not train on one."""
    cpus, gpus = getattr(run.model, "shares", Shares())
    if cpus <= 0 or gpus < 0 or (gpus > 1 and gpus % 1):
        raise InputError(
            f"{run.model.name} has shares of {cpus:g} CPUs and {gpus:g} GPUs; above 0, and whole GPUs above 1"
        )
    return Shares(cpus * place.threads, gpus if place.device == "cuda" else 0.0)


def _fits(need: Shares, has: dict[str, float]) -> int:
    """How many such shares a node has; Ray counts in ten-thousandths."""
    pairs = [(need.cpus, has.get("CPU", 0.0)), (need.gpus, has.get("GPU", 0.0))]
    return min(round(there * 1e4) // round(share * 1e4) for share, there in pairs if share)
