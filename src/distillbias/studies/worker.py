"""What a worker does with a run: train it, tell what happens, keep a log."""

import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from distillbias.errors import InputError, RunError
from distillbias.studies.checkpoints import EVERY
from distillbias.studies.executor import Event, Watch
from distillbias.studies.run import Run
from distillbias.studies.store import LOG, open_store, write_json


@dataclass(frozen=True)
class Place:
    """Where a worker finds what it needs, and how often it writes a checkpoint."""

    store: str  # a path, or a URL
    data: Path | None
    device: str = "cpu"
    threads: int = 1
    every: float = EVERY


def work(run: Run, place: Place, say: Watch, leave: Callable[[], bool] = lambda: False) -> Event:
    """Train one run. Whatever happens is an event; the last one is returned, the others are said."""
    from distillbias.studies.execute import Left, execute

    store = open_store(place.store)
    folder = store.folder(run)
    folder.mkdir(exist_ok=True)

    def report(said: dict[str, Any]) -> None:
        write_json(folder / "progress.json", said | {"at": time.time()})
        log(f"epoch {said['epoch']} of {said['epochs']}, loss {said['loss']:.6f}, {said['seconds']:.1f} s")
        say(Event(run, "epoch", said))

    with (folder / LOG).open("a") as file, _into(file):
        log(f"{run.label}, process {os.getpid()}")
        try:
            execute(run, store, place.data, place.device, report, place.every, leave)
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
            traceback.print_exc()
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            return Event(run, "failed", {"why": f"{why} (all of it in {folder / LOG})"})


def log(line: str) -> None:
    """To the run's log: what a worker prints goes there."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), line, flush=True)


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
