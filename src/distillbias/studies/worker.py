"""What a worker does with a run: train it, tell what happens, keep a log."""

import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from distillbias.errors import InputError, RunError
from distillbias.studies.checkpoints import EVERY
from distillbias.studies.executor import Event, Watch
from distillbias.studies.files import write_json
from distillbias.studies.run import Run
from distillbias.studies.store import LOG, Store, open_store

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Place:
    """Where a worker finds what it needs, and how often it writes a checkpoint."""

    store: str  # a path, or a URL
    data: Path | None
    device: str = "cpu"
    threads: int = 1
    every: float = EVERY
    shared: str = ""  # workers of one name share their examples, see `studies.shared`


def work(run: Run, place: Place, say: Watch, leave: Callable[[], bool] = lambda: False) -> Event:
    """Train one run in this process; what it prints meanwhile goes to the run's log."""
    from distillbias.studies.execute import execute, load_splits
    from distillbias.studies.shared import load_shared

    store = open_store(place.store)
    load = partial(load_shared, root=store.root, name=place.shared) if place.shared else load_splits
    with log_of(run, store) as file, _into(file):
        train = lambda report: execute(  # noqa: E731
            run, store, place.data, place.device, report, place.every, leave, load=load
        )
        return attempt(run, store, file, say, train)


def log_of(run: Run, store: Store) -> TextIO:
    """The log of a run, to be gone on with."""
    folder = store.folder(run)
    folder.mkdir(exist_ok=True)
    return (folder / LOG).open("a")


def attempt(run: Run, store: Store, file: TextIO, say: Watch, train: Callable[[Report], None]) -> Event:
    """Let `train` train a run. Whatever happens is an event, and in `file`; the last is returned, the others said."""
    from distillbias.studies.execute import Left

    def log(line: str) -> None:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), line, file=file, flush=True)

    def report(said: dict[str, Any]) -> None:
        write_json(store.folder(run) / "progress.json", said | {"at": time.time()})
        log(f"epoch {said['epoch']} of {said['epochs']}, loss {said['loss']:.6f}, {said['seconds']:.1f} s")
        say(Event(run, "epoch", said))

    log(f"{run.label}, process {os.getpid()}")
    try:
        train(report)
        log("done")
        return Event(run, "done")
    except Left:
        log("left, with a checkpoint")
        return Event(run, "left")
    except RunError as error:
        log(f"failed: {error}")
        return Event(run, "failed", {"why": str(error)})
    except InputError as error:
        log(f"stopped: {error}")
        return Event(run, "stop", {"why": str(error)})
    except Exception as error:  # an error of the program ends its run, not the study
        traceback.print_exc(file=file)
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Event(run, "failed", {"why": f"{why} (all of it in {store.folder(run) / LOG})"})


@contextmanager
def _into(file: TextIO) -> Iterator[None]:
    """Everything this process prints goes to `file`, its last words when it crashes, too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in kept:
            os.dup2(file.fileno(), number)
        faulthandler.enable(file)
        with redirect_stdout(file), redirect_stderr(file):
            yield
    finally:
        file.flush()
        faulthandler.disable()
        for number, saved in kept:
            os.dup2(saved, number)
            os.close(saved)
