"""Examples that all workers of a machine have in memory once: the first that needs them writes them, all map them."""

import json
import mmap
import os
from dataclasses import fields
from functools import lru_cache
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from distillbias.errors import InputError
from distillbias.studies.files import write_whole
from distillbias.studies.run import to_json
from distillbias.studies.store import Store
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Examples, Splits, Task

KINDS: dict[str, type[Examples]] = {kind.__name__: kind for kind in (Examples, NextWordExamples)}
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
            if not {type(examples) for examples in _sets(splits).values()} <= set(KINDS.values()):
                return splits  # of a task from outside the package
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
    """The arrays as they lie in memory, one after another, behind a JSON text of the rest that says where they are."""
    arrays: list[np.ndarray] = []
    sets = {name: _told(examples, arrays) for name, examples in _sets(splits).items()}
    places, end = [], 0
    for array in arrays:
        places.append(end)
        end = _aligned(end + array.nbytes)
    head = json.dumps({"sets": sets, "places": places, "vocabulary": splits.vocabulary}).encode()
    first = _aligned(8 + len(head))
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for start, array in zip(places, arrays, strict=True):
            file.seek(first + start)
            file.write(np.ascontiguousarray(array).data)
        file.truncate(first + end)


def mapped(path: Path) -> Splits:
    """What `write` wrote, in memory only where it is read; what a worker changes is its own."""
    with path.open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    length = int.from_bytes(whole[:8], "little")
    head = json.loads(bytes(whole[8 : 8 + length]))
    arrays = [whole[_aligned(8 + length) + start :] for start in head["places"]]
    train, validation, *tests = (_examples(told, arrays) for told in head["sets"].values())
    names = list(head["sets"])[2:]
    return Splits(train, validation, dict(zip(names, tests, strict=True)), tuple(head["vocabulary"]))


def _sets(splits: Splits) -> dict[str, Examples]:
    return {".train": splits.train, ".validation": splits.validation, **splits.tests}


def _told(examples: Examples, arrays: list[np.ndarray]) -> dict[str, Any]:
    """The fields of `examples`; an array goes to `arrays`, and in its place stands where, its type and its shape."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        arrays.append(value)
        return {"array": len(arrays) - 1, "type": value.dtype.str, "shape": value.shape}

    return {"kind": type(examples).__name__} | {
        each.name: plain(getattr(examples, each.name)) for each in fields(examples)
    }


def _examples(told: dict[str, Any], arrays: list[memoryview]) -> Examples:
    def made(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.keys() != {"array", "type", "shape"}:
            return {key: made(inner) for key, inner in value.items()}
        count = prod(value["shape"])
        return np.frombuffer(arrays[value["array"]], value["type"], count).reshape(value["shape"])

    return KINDS[told["kind"]](**{name: made(value) for name, value in told.items() if name != "kind"})


def _aligned(place: int) -> int:
    return -(-place // ALIGNED) * ALIGNED
