"""Examples in memory once: what a worker maps is what was loaded, and nothing of it stays."""

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tests import tiny, words

from distillbias.studies.execute import load_splits
from distillbias.studies.processes import Processes
from distillbias.studies.shared import load_shared, new_name, remove, write
from distillbias.studies.store import Store
from distillbias.studies.worker import Place
from distillbias.tasks.task import Examples, Splits

NAMED = "fixed.1"


def arrays(splits: Splits) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, each in {"train": splits.train, "validation": splits.validation, **splits.tests}.items():
        if isinstance(each, Examples):
            found |= {f"{name} {part}": getattr(each, part) for part in ("inputs", "labels", "ids")}
            found |= {f"{name} {part}": column for part, column in each.columns.items()}
    return found


@pytest.fixture(params=["images", "words"])
def task(request):
    if request.param == "images":
        yield tiny.TASK
    else:
        with words.small_grammar():
            yield words.agreement_study().arms["LSTM"][0].task


def test_what_is_mapped_is_what_was_loaded(tmp_path: Path, task) -> None:
    store = Store(tmp_path)
    first = load_shared.__wrapped__(task, None, tmp_path, NAMED)
    with patch.object(type(task), "load", side_effect=AssertionError("the second worker reads the file")):
        second = load_shared.__wrapped__(task, None, tmp_path, NAMED)
    loaded = load_splits.__wrapped__(task, None)
    for found in (first, second):
        assert arrays(found).keys() == arrays(loaded).keys() and len(arrays(loaded)) > 5
        for name, array in arrays(loaded).items():
            np.testing.assert_array_equal(arrays(found)[name], array)
            assert arrays(found)[name].dtype == array.dtype
        assert [each.fingerprint for each in found.tests.values()] == [e.fingerprint for e in loaded.tests.values()]
        assert found.vocabulary == loaded.vocabulary
    assert len(list((tmp_path / "signals").glob(".*"))) == 1
    remove(store.root, NAMED)
    assert not list((tmp_path / "signals").glob(".*"))


def test_no_array_is_copied(tmp_path: Path) -> None:
    """Tensors of what is mapped lie in the map, and a change of one worker reaches no other."""
    splits = load_shared.__wrapped__(tiny.TASK, None, tmp_path, NAMED)
    (path,) = (tmp_path / "signals").glob(".*")
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(path.name)]
    (low, high) = (int(end, 16) for end in maps[-1][0].split("-"))
    for array in arrays(splits).values():
        assert array.size == 0 or low <= torch.as_tensor(array).data_ptr() < high
    before = path.read_bytes()
    splits.train.inputs[:] = 0
    assert path.read_bytes() == before


def test_a_full_disk_costs_memory_only(tmp_path: Path) -> None:
    with patch("distillbias.studies.shared.write", side_effect=OSError(28, "No space left on device")):
        splits = load_shared.__wrapped__(tiny.TASK, None, tmp_path, NAMED)
    assert len(splits.train) and not list((tmp_path / "signals").glob(".*"))


def test_what_a_killed_command_shared_is_swept(tmp_path: Path) -> None:
    store, splits = Store(tmp_path), load_splits(tiny.TASK, None)
    alive, dead = (tmp_path / "signals" / f".key.name.{pid}" for pid in (os.getpid(), 2**22 + 1))
    for path in (alive, dead):
        write(path, splits)
    store.sweep()
    assert alive.exists() and not dead.exists()


def test_workers_share_and_leave_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    executor = Processes(Place(store.where, None), 1)
    executor.submit(tiny.ALONE)
    while not any(event.kind == "done" for event in executor.events(0.2)):
        pass
    assert [path.name.endswith(executor.place.shared) for path in (tmp_path / "signals").glob(".*")] == [True]
    executor.close()
    assert store.done(tiny.ALONE) and not list((tmp_path / "signals").glob(".*"))
    assert new_name() != new_name()
