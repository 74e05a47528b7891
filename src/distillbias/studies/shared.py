"""Examples that all workers of a machine have in memory once: the first that needs them writes them, all map them."""

import json
import mmap
import os
import pickle
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from distillbias.errors import InputError
from distillbias.studies.run import to_json
from distillbias.studies.store import Store, write_whole
from distillbias.tasks.task import Splits, Task

ALIGNED = 64  # bytes, as NumPy's own arrays are


@lru_cache(maxsize=2)
def load_shared(task: Task, data: Path | None, root: Path, name: str) -> Splits:
    """`load_splits` over a file in the store at `root` that lives as long as the command of this `name`, see `remove`.

    A worker that cannot write it has examples of its own.
    """
    key = sha256(json.dumps([to_json(task), str(data)]).encode()).hexdigest()[:16]
    path, store = _folder(root) / f".{key}.{name}", Store(root)
    with store.lock("examples"):
        if not path.exists():
            splits = task.load(data)
            try:
                write_whole(path, lambda part: write(part, splits))
            except InputError:
                return splits
    return mapped(path)


def new_name() -> str:
    """A name for this command. Nobody can know it before, so nobody else's file is ever read by it."""
    return f"{uuid4().hex}.{os.getpid()}"


def remove(root: Path, name: str) -> None:
    """What workers wrote under this name. Of a killed command `Store.sweep` removes it: a name ends in its process."""
    for path in _folder(root).glob(f".*.{name}"):
        path.unlink(missing_ok=True)


def _folder(root: Path) -> Path:
    return root / "signals"


def write(path: Path, splits: Splits) -> None:
    """The arrays one after another behind a pickle of the rest, which says where they are."""
    arrays: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(splits, protocol=5, buffer_callback=arrays.append)
    places, end = [], 0
    for array in arrays:
        places.append((end, end + array.raw().nbytes))
        end = _aligned(places[-1][1])
    head = pickle.dumps((places, rest))
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for (start, _), array in zip(places, arrays, strict=True):
            file.seek(_aligned(8 + len(head)) + start)
            file.write(array.raw())
        file.truncate(_aligned(8 + len(head)) + end)


def mapped(path: Path) -> Splits:
    """What `write` wrote, in memory only where it is read; what a worker changes is its own."""
    with path.open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    length = int.from_bytes(whole[:8], "little")
    places, rest = pickle.loads(whole[8 : 8 + length])  # written by this very command, by nobody else
    first = _aligned(8 + length)
    return pickle.loads(rest, buffers=[whole[first + start : first + end] for start, end in places])


def _aligned(place: int) -> int:
    return -(-place // ALIGNED) * ALIGNED
