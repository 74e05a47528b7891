"""Runs in processes of this machine, one at a time in each worker; a worker that dies or hangs costs its run only."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from distillbias.studies.executor import Event
from distillbias.studies.mps import Service
from distillbias.studies.run import Run
from distillbias.studies.shared import new_name, remove
from distillbias.studies.store import open_store
from distillbias.studies.worker import Place, work

# Large blocks stay with the process: without this, first-touch page faults take up to 40 % of a training step. They
# are of huge pages where a system gives these to who asks (glibc 2.35 and later): an MLP's step finds most of its pages
# of 4 KiB anew.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # what glibc's mallopt calls the two
HANG = 600.0  # seconds in which a worker that trains must have used a second of processor time
# Where a system can, workers are forked from a process that has loaded all they need and done nothing else: each is
# there at once, and torch is in memory once. Elsewhere each loads it anew.
METHOD = "forkserver" if sys.platform == "linux" else "spawn"
NEEDED = "distillbias.studies.loaded"
TRIES = 3  # a worker is forked at most so often, where what it is forked from is killed meanwhile
LATER = (signal.SIGTERM, signal.SIGHUP)  # signals that wait until a worker has said what becomes of them


def keep_large_blocks() -> None:
    """That large blocks stay, as in processes that are started, for this one from now on; nothing where there is no
    glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, 2**30)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)


class Processes:
    """An `Executor` of worker processes.

    One thread a worker: two of them beat one with two threads on two cores, and since sums depend on the number of
    threads in their last bits, a run's result does not depend on the number of workers. On a GPU they train at the
    same time where NVIDIA's service for that can be had, else in turns.
    """

    def __init__(self, place: Place, workers: int, hang: float = HANG):
        self.place, self.slots, self.hang = replace(place, shared=new_name()), workers, hang
        os.environ |= {name: os.environ.get(name, value) for name, value in ALLOCATOR.items()}
        self.workers: list[_Worker] = []
        self.sharing: Service | None = None

    def submit(self, run: Run) -> None:
        worker = next((each for each in self.workers if each.run is None), None)
        if worker is None:
            self._share_the_gpu()
            worker = _Worker(self.place)
            self.workers.append(worker)
        worker.give(run)

    def _share_the_gpu(self) -> None:
        if self.sharing is not None or self.slots == 1 or not self.place.device.startswith("cuda"):
            return
        self.sharing = Service()
        if why := self.sharing.start():
            print(f"the {self.slots} workers use the GPU in turns, which is slower: {why}", file=sys.stderr)

    def events(self, seconds: float) -> list[Event]:
        busy = [worker for worker in self.workers if worker.run]
        if not busy:
            return []
        wait([each for worker in busy for each in (worker.pipe, worker.process.sentinel)], timeout=seconds)
        found = [event for worker in busy for event in worker.heard(self.hang)]
        # one that has died since with a run stays: the next look tells of its loss
        self.workers = [worker for worker in self.workers if worker.run or worker.process.is_alive()]
        return found

    def leave(self) -> None:
        for worker in self.workers:
            worker.process.terminate()

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers = []
        if self.sharing is not None:
            self.sharing.close()
        remove(open_store(self.place.store).root, self.place.shared)


def _start(process: BaseProcess) -> None:
    """Start it; before the first, or where it was killed, the process that workers are forked from."""
    if METHOD == "forkserver":
        multiprocessing.set_forkserver_preload([NEEDED])
    resource_tracker.ensure_running()  # which otherwise `start` does, and lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, LATER)  # inherited: what is sent to all does not end that process
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _worker(place: Place) -> tuple[Connection, BaseProcess]:
    """A process that serves, and the pipe to it; from a new one to fork from where that was killed as it was asked."""
    context: Any = multiprocessing.get_context(METHOD)
    for left in reversed(range(TRIES)):
        pipe, other = context.Pipe()
        process: BaseProcess = context.Process(target=_serve, args=(other, dict(os.environ), place), daemon=True)
        try:
            _start(process)
            break
        except (EOFError, ConnectionError):
            pipe.close()  # so that one that it had forked by then, unknown to us, leaves
            if not left:
                raise
            time.sleep(0.1)  # a moment ago it may still have been dying
        finally:
            other.close()
    return pipe, process


class _Worker:
    """A process, what it trains, and the last sign of life."""

    def __init__(self, place: Place):
        self.pipe, self.process = _worker(place)
        self.run: Run | None = None
        self.pulse = Pulse()

    def give(self, run: Run) -> None:
        self.run, self.pulse = run, Pulse()
        try:
            self.pipe.send(run)
        except OSError:
            pass  # it is dead, which the next look finds

    def heard(self, hang: float) -> list[Event]:
        run, events = self.run, []
        assert run is not None, "only a worker that trains is listened to"
        alive = self.process.is_alive()  # before reading: what it said last is read, too
        try:
            while self.run and self.pipe.poll():
                event = self.pipe.recv()
                events.append(event)
                if event.kind != "epoch":
                    self.run = None
        except (EOFError, OSError):
            alive = False
        if self.run and not alive:
            self.process.join(timeout=10)
            events.append(Event(run, "lost", {"why": f"its worker died ({_ending(self.process.exitcode)})"}))
            self.run = None
        elif self.run and self.pulse.beat(processor_seconds(self.process.pid)) > hang:
            self.process.kill()
            self.process.join(timeout=10)
            events.append(Event(run, "lost", {"why": f"its worker did nothing for {hang:.0f} s"}))
            self.run = None
        return events

    def end(self) -> None:
        self.pipe.close()  # an idle worker leaves by itself
        if self.run:
            self.process.kill()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Pulse:
    """A worker lives while it uses the processor: each second that it has used is a beat."""

    def __init__(self) -> None:
        self.used, self.seen = 0.0, time.monotonic()

    def beat(self, used: float | None) -> float:
        """Take note of what it has used so far (None: nobody knows, so it lives); the seconds since its last beat."""
        if used is None or used - self.used >= 1:
            self.used, self.seen = used or 0.0, time.monotonic()
        return self.silent

    @property
    def silent(self) -> float:
        return time.monotonic() - self.seen


def processor_seconds(pid: int | None, thread: int | None = None) -> float | None:
    """What a process, or one thread of it, has used of the processor; None where the system does not say (`/proc`)."""
    try:
        with open(f"/proc/{pid}/stat" if thread is None else f"/proc/{pid}/task/{thread}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code}, {signal.Signals(-code).name}"
    return f"exit status {code}"


def _serve(pipe: Connection, environment: dict[str, str], place: Place) -> None:
    """The worker's side: a run comes in, events go out, until the pipe is closed."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LATER)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    os.environ.clear()  # what it was forked from may be older than some of it
    os.environ.update(environment)
    from distillbias.studies.loaded import torch

    torch.set_num_threads(place.threads)
    try:
        while True:
            run: Any = pipe.recv()
            pipe.send(work(run, place, pipe.send, lambda: bool(asked)))
    except (EOFError, OSError):
        return


def _leave_with(forked_from: int) -> None:
    """A worker whose parent was killed would train on alone; one that is no more heard of when it ends, too."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is started by a study"
    while os.getppid() == forked_from and parent.is_alive():
        parent.join(timeout=1)
    os._exit(1)
