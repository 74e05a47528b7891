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

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from distillbias.data.records import read_json
from distillbias.errors import InputError
from distillbias.studies.run import Run, from_json
from distillbias.tasks.task import Examples

DONE = "done"
RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
ACTIVATIONS = "activations.safetensors"
WEIGHTS = "weights.safetensors"
RUNNING = ".running.lock"
VOCABULARY = "vocabulary.json"
CHECKPOINT = "checkpoint-"
LOG = "log.txt"


@contextmanager
def clear_errors(place: Path) -> Iterator[None]:
    """Turn what a disk can answer into one line: full, read-only, not a folder."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise InputError(
                f"the disk of {place} is full; what is finished is kept, make room and run again"
            ) from None
        raise InputError(f"cannot write to {place}: {error.strerror}; choose another place with --store") from None


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the place, flush, rename: a reader sees the whole file or none."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with clear_errors(path.parent):
            write(part)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_whole(path, lambda part: part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n"))


@dataclass(frozen=True)
class Predictions:
    """One row per example of a test set."""

    ids: np.ndarray  # [n]
    labels: np.ndarray  # [n]
    logits: np.ndarray  # [n, classes], float32
    tags: dict[str, str | int]
    columns: dict[str, np.ndarray]  # {column: [n] int32}, -1 where it is not known


class Record:
    """What a finished run left; files are read when asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def facts(self) -> dict[str, Any]:
        return read_json((self.folder / RECORD).read_bytes(), str(self.folder / RECORD))

    @cached_property
    def run(self) -> Run:
        return from_json(self.facts["run"])

    def score(self, test: str, metric: str) -> float:
        return self.facts["scores"][test][metric]

    def predictions(self, test: str) -> Predictions:
        path, wanted = self.folder / PREDICTIONS, [("test", "==", test)]
        facts = self.facts["tests"][test]
        columns = facts.get("columns", [])
        table = pq.read_table(path, columns=["id", "label", "logits", *columns], filters=wanted)
        logits = table["logits"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1).astype(np.float32)
        labels = table["label"].to_numpy().astype(np.int64)
        known = {column: table[column].to_numpy() for column in columns}
        return Predictions(table["id"].to_numpy(), labels, logits, facts["tags"], known)

    @cached_property
    def _activations(self) -> dict[str, np.ndarray]:
        return load_file(self.folder / ACTIVATIONS)

    def activations(self, test: str) -> np.ndarray:
        """Penultimate activations [sample, width] of the fixed sample, after training."""
        return self._activations[f"final/{test}"].astype(np.float32)

    def stages(self) -> np.ndarray:
        """Penultimate activations [stages, sample, width] along training, from the initial weights on."""
        return self._activations["stages"].astype(np.float32)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The word of each id; empty for a task without words."""
        path = self.folder / VOCABULARY
        return tuple(json.loads(path.read_text())) if path.exists() else ()

    def weights(self) -> dict[str, np.ndarray]:
        return load_file(self.folder / WEIGHTS)


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
        """Remove what killed processes left half-written; only for the one command that trains here."""
        for part in (*self.root.glob("*/.*.*"), *self.root.glob("runs/*/.*.*")):
            pid = part.name.rpartition(".")[2]
            if pid.isdigit() and not _alive(int(pid)):
                part.unlink(missing_ok=True)

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


def checksum(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def write_predictions(path: Path, tests: dict[str, Examples], logits: dict[str, np.ndarray]) -> None:
    """One row per example and test set; the tags are columns, so that any tool can slice by them."""
    tables = []
    for name, examples in tests.items():
        count, classes = logits[name].shape
        flat = pa.array(logits[name].reshape(-1), pa.float32())
        columns = {
            "test": pa.array([name] * count).dictionary_encode(),
            **{tag: pa.array([value] * count).dictionary_encode() for tag, value in examples.tags.items()},
            **{column: pa.array(values, pa.int32()) for column, values in examples.columns.items()},
            "id": pa.array(examples.ids, pa.int32()),
            "label": pa.array(examples.labels, pa.uint8()),
            "logits": pa.FixedSizeListArray.from_arrays(flat, classes),
        }
        tables.append(pa.table(columns))
    table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    write_whole(path, lambda part: pq.write_table(table, part, compression="zstd"))
