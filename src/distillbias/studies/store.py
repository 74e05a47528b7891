"""What is on disk. A run has a folder named by its hash; `done` is written last and names every file's checksum.

STORE/runs/<run>/record.json           the run, its scores, losses, seconds, provenance
                 predictions.parquet   one row per example and test set: id, tags, label, logits
                 activations.safetensors  penultimate activations of the fixed sample, and along training
                 weights.safetensors   final weights
                 vocabulary.json       the word of each id, for tasks with words
                 log.txt               what happened, with times; no part of the result
                 done                  {file: sha256}; a folder without it is unfinished
                 checkpoint-<steps>    of an unfinished run: where it goes on from
STORE/signals/<teacher>-<mode>.safetensors, and its .sha256
STORE/reports/<study>-<scale>/
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from distillbias.data.records import read_json
from distillbias.errors import InputError
from distillbias.studies.files import checksum, clear_errors, write_json, write_whole
from distillbias.studies.record import RECORD, WEIGHTS, Record
from distillbias.studies.run import Run

DONE = "done"
RUNNING = ".running.lock"
CHECKPOINT = "checkpoint-"
LOG = "log.txt"


class Store:
    """The folder that holds every record; studies share it, so they share teachers."""

    def __init__(self, root: Path):
        self.root, self.where = root, str(root.absolute())  # a worker may run in another folder
        with clear_errors(root):
            for part in ("runs", "signals", "reports"):
                (root / part).mkdir(parents=True, exist_ok=True)
            probe = root / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()

    @property
    def reports(self) -> Path:
        """Where reports go, if nobody says."""
        return self.root / "reports"

    def folder(self, run: Run) -> Path:
        return self.root / "runs" / run.name

    def done(self, run: Run) -> bool:
        return (self.folder(run) / DONE).exists()

    def arrived(self, run: Run) -> bool:
        """Whether a run that a worker, maybe on another machine, is through with is done."""
        return self.done(run)

    def record(self, run: Run) -> Record:
        if not self.done(run):
            raise InputError(f"run {run.name} ({run.label}) is not finished in {self.where}")
        return self._open(run.name)

    def find(self, name: str) -> Record:
        """The finished run whose name begins with `name`."""
        names = self.finished()
        found = [each for each in names if name and each.startswith(name)]
        if len(found) != 1:
            known = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise InputError(f"{len(found)} runs begin with {name!r} in {self.where}; finished: {known or 'none'}")
        return self._open(found[0])

    def finished(self) -> list[str]:
        """The names of all finished runs."""
        return sorted(path.parent.name for path in (self.root / "runs").glob(f"*/{DONE}"))

    def _open(self, name: str) -> Record:
        return Record(self.root / "runs" / name)

    def start(self, run: Run) -> Path:
        """A folder for a run; of what an unfinished try left only its checkpoints and its log stay."""
        folder = self.folder(run)
        with clear_errors(self.root):
            folder.mkdir(exist_ok=True)
            (folder / DONE).unlink(missing_ok=True)  # first: a run that is being wiped is not done
            for path in folder.iterdir():
                if path.name != LOG and not path.name.startswith(CHECKPOINT):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        return folder

    def finish(self, run: Run) -> None:
        """Mark a run as done: the last thing written. Its checkpoints go after it."""
        folder = self.folder(run)
        (folder / "progress.json").unlink(missing_ok=True)
        seal(folder)
        for path in folder.glob(f"{CHECKPOINT}*"):
            path.unlink()

    def keep_checkpoints(self, run: Run) -> None:
        """Called when a run has written a checkpoint: here it is where it should be."""

    def reopen(self, run: Run) -> None:
        """Mark a finished run as unfinished, to be trained again."""
        (self.folder(run) / DONE).unlink(missing_ok=True)

    def has_weights(self, run: Run) -> bool:
        """False for a finished run that came without them (`studies.packing`)."""
        return self.done(run) and (self.folder(run) / WEIGHTS).exists()

    def has(self, run: Run, file: str) -> bool:
        """Whether a finished run has this file, whole or not."""
        return (self.folder(run) / file).exists()

    def damaged(self, run: Run, far: bool = False) -> list[str]:
        """Files of a finished run that are missing or are not what was written.

        `far` also reads again what a store at a URL has there; a folder has all of it here.
        """
        folder = self.folder(run)
        try:
            sums = read_json((folder / DONE).read_bytes(), DONE)
        except (InputError, OSError):
            return [DONE]
        named = isinstance(sums, dict) and RECORD in sums and all(Path(name).name == name for name in sums)
        return self.damaged_files(folder, sums) if named else [DONE]

    @staticmethod
    def damaged_files(folder: Path, sums: dict[str, str]) -> list[str]:
        """Those whose bytes have another SHA-256 than `sums` say, or that are missing."""
        return [name for name, digest in sums.items() if not _same(folder / name, digest)]

    def progress(self, run: Run) -> dict[str, Any] | None:
        """What a run in progress last said of itself, or None."""
        try:
            return json.loads((self.folder(run) / "progress.json").read_text())
        except (OSError, ValueError):
            return None

    def signal_path(self, teacher: Run, state: str = "eval") -> Path:
        return self.root / "signals" / f"{teacher.name}-{state}.safetensors"

    def write_signal(self, path: Path, write: Callable[[Path], Any]) -> None:
        """Write a signal whole, and beside it its checksum."""
        write_whole(path, write)
        digest = checksum(path)
        write_whole(path.with_suffix(".sha256"), lambda part: part.write_text(digest))

    def sound(self, path: Path) -> bool:
        """Whether a signal is there and is what was written."""
        try:
            return checksum(path) == path.with_suffix(".sha256").read_text()
        except (OSError, ValueError):
            return False

    def sweep(self) -> None:
        """Make it tidy before anything trains; only for the one command that trains here."""
        self.remove_litter()

    def remove_litter(self) -> None:
        """Remove what killed processes left half-written, and checkpoints of runs that they had just marked as done.

        While no worker trains, which may be on another machine.
        """
        for part in (*self.root.glob("*/.*.*"), *self.root.glob("runs/*/.*.*")):
            pid = part.name.rpartition(".")[2]
            if pid.isdigit() and not _alive(int(pid)):
                part.unlink(missing_ok=True)
        for mark in self.root.glob(f"runs/*/{DONE}"):
            for checkpoint in mark.parent.glob(f"{CHECKPOINT}*"):
                checkpoint.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only command that trains in this store; the others are told who does."""
        with clear_errors(self.root):
            held = (self.root / RUNNING).open("a+")
        with held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.seek(0)
                who = held.read().strip()
                raise InputError(
                    f"process {who} already trains in {self.where}; wait, or choose another --store"
                ) from None
            held.truncate(0)
            held.write(str(os.getpid()))
            held.flush()
            yield

    @contextmanager
    def marked(self) -> Iterator[str]:
        """A name by which a worker on another machine knows this very store, see `check_sees`."""
        mark = f"runs/.mark.{uuid4().hex}.{os.getpid()}"  # `sweep` takes it away if we cannot
        with clear_errors(self.root):
            (self.root / mark).touch()
        try:
            yield mark
        finally:
            (self.root / mark).unlink(missing_ok=True)

    def sees(self, mark: str) -> bool:
        """Whether this is the store of that mark."""
        return (self.root / mark).exists()

    def busy(self) -> bool:
        """Whether some command trains in this store now."""
        try:
            with (self.root / RUNNING).open("r") as held:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Wait for the lock of this name; it goes with the process that holds it, however that ends."""
        with clear_errors(self.root):
            held = (self.root / f".{name}.lock").open("w")
        with held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


def check_sees(store: Store, mark: str) -> None:
    """Refuse a folder that is not the store of that mark: what a machine writes elsewhere nobody finds."""
    if not store.sees(mark):
        raise InputError(
            f"{store.where} is not the store that the command sees; --store must be a path that all machines see, "
            "or a URL"
        )


def open_store(where: str | Path) -> Store:
    """The store at a path, or at a URL such as s3://bucket/prefix."""
    if "://" not in str(where):
        return Store(Path(where))
    from distillbias.studies.remote import RemoteStore

    return RemoteStore(str(where))


def seal(folder: Path) -> None:
    """Mark a run's folder as whole: the checksum of every file of its result, written last."""
    kept = [path for path in sorted(folder.iterdir()) if path.name != LOG and not path.name.startswith(CHECKPOINT)]
    write_json(folder / DONE, {path.name: checksum(path) for path in kept})


def _same(path: Path, digest: str) -> bool:
    return path.is_file() and checksum(path) == digest


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
