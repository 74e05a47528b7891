"""What is on disk: done means done, damage is found, and a disk that refuses is one clear line."""

import errno
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import tiny

from distillbias.errors import InputError
from distillbias.studies.files import write_json, write_whole
from distillbias.studies.record import write_predictions
from distillbias.studies.store import Store
from distillbias.training.teacher import cached_signal

RUN = tiny.ALONE
EXAMPLES = replace(tiny.examples(40), tags={"severity": 1})
NOISE = np.random.default_rng(0).normal(size=(40, 10)).astype(np.float32)


@pytest.fixture
def empty(tmp_path: Path) -> Store:
    return Store(tmp_path / "deep" / "store")


def finished(store: Store, run=RUN) -> Path:
    folder = store.start(run)
    write_json(folder / "record.json", {"label": "x"})
    (folder / "weights.safetensors").write_bytes(b"weights")
    store.finish(run)
    return folder


def test_a_run_is_done_when_it_says_so_last(empty: Store) -> None:
    assert not empty.done(RUN)
    folder = empty.start(RUN)
    write_json(folder / "record.json", {})
    assert not empty.done(RUN)
    with pytest.raises(InputError, match=f"{RUN.name} .MLP · trial 0. is not finished"):
        empty.record(RUN)
    empty.finish(RUN)
    assert empty.done(RUN) and empty.record(RUN).folder == folder
    assert Store(empty.root).done(RUN)  # known to whoever looks


def test_starting_again_wipes_what_was_left(empty: Store) -> None:
    (empty.start(RUN) / "weights.safetensors").write_bytes(b"half")
    assert list(empty.start(RUN).iterdir()) == []
    finished(empty)
    empty.start(RUN)
    assert not empty.done(RUN)


def test_damage_is_found(empty: Store) -> None:
    folder = finished(empty)
    assert empty.damaged(RUN) == []
    (folder / "weights.safetensors").write_bytes(b"weightz")
    assert empty.damaged(RUN) == ["weights.safetensors"]
    (folder / "record.json").unlink()
    assert sorted(empty.damaged(RUN)) == ["record.json", "weights.safetensors"]


def test_checksums_leave_progress_out(empty: Store) -> None:
    folder = empty.start(RUN)
    write_json(folder / "progress.json", {"epoch": 1})
    assert empty.progress(RUN) == {"epoch": 1}
    empty.finish(RUN)
    assert not (folder / "progress.json").exists() and empty.progress(RUN) is None
    assert json.loads((folder / "done").read_text()) == {}


def test_half_written_progress_is_none(empty: Store) -> None:
    (empty.start(RUN) / "progress.json").write_text('{"epoch": ')
    assert empty.progress(RUN) is None


def test_runs_are_found_by_the_beginning_of_their_names(empty: Store) -> None:
    with pytest.raises(InputError, match="0 runs begin with 'a' in .*; finished: none"):
        empty.find("a")
    for name in ("abc1", "abd2", "b003"):
        (empty.root / "runs" / name).mkdir()
        if name != "b003":
            (empty.root / "runs" / name / "done").write_text("{}")
    assert empty.find("abc").folder.name == "abc1"
    with pytest.raises(InputError, match="2 runs begin with 'ab'.*finished: abc1, abd2"):
        empty.find("ab")
    for unfinished_or_wrong in ("b0", "", "*", "../runs/abc1"):
        with pytest.raises(InputError, match="0 runs begin with"):
            empty.find(unfinished_or_wrong)


def test_a_writer_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, lambda part: part.write_text("old"))

    def half(part: Path) -> None:
        part.write_text("ne")
        raise KeyError("broken")

    with pytest.raises(KeyError):
        write_whole(path, half)
    assert [one.name for one in tmp_path.iterdir()] == ["file"] and path.read_text() == "old"


def test_the_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write(part: Path) -> None:
        part.write_text("half")
        assert not path.exists()
        part.write_text("whole")

    write_whole(path, write)
    assert path.read_text() == "whole"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk of .* is full; what is finished is kept"),
        (errno.EROFS, "cannot write to .*Read-only file system.*--store"),
        (errno.EACCES, "cannot write to .*Permission denied"),
    ],
)
def test_a_disk_that_refuses_is_one_line(empty: Store, monkeypatch, number: int, message: str) -> None:
    folder = empty.start(RUN)

    def refuse(path: Path, *rest, **named):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    for attempt in (
        lambda: write_json(folder / "record.json", {}),
        lambda: empty.finish(RUN),
        lambda: empty.start(RUN),
        lambda: Store(empty.root),
    ):
        with pytest.raises(InputError, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert not empty.done(RUN)


WRITERS = {
    "record": lambda path: write_json(path, list(range(999))),
    "predictions": lambda path: write_predictions(path, {"noise": EXAMPLES}, {"noise": NOISE}),
    "signal": lambda path: cached_signal(tiny.mlp(), EXAMPLES, path, write_whole),
}


@pytest.mark.parametrize("what", WRITERS)
def test_every_writer_meets_a_refusing_disk_with_one_line(tmp_path: Path, what: str) -> None:
    """Each library has its own way to say so. Here a limit on the size of files stands for a full disk."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, usual[1]))
    try:
        with pytest.raises(InputError, match="cannot write to .*File too large.*--store"):
            WRITERS[what](tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == []


def test_a_store_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(InputError, match="cannot write to .*; choose another place with --store") as caught:
            Store(place)
        assert "\n" not in str(caught.value)


def test_opening_a_store_leaves_nothing_but_its_folders(empty: Store) -> None:
    assert sorted(path.name for path in empty.root.iterdir()) == ["reports", "runs", "signals"]


def test_one_command_at_a_time_trains(empty: Store) -> None:
    with empty.alone(), pytest.raises(InputError, match=f"process {os.getpid()} already trains in .*--store"):
        with Store(empty.root).alone():
            pass
    with Store(empty.root).alone():  # free again
        pass


def test_the_lock_of_a_killed_process_is_free(empty: Store) -> None:
    """The name that it left behind misleads nobody."""
    code = f"""
import os, pathlib
from distillbias.studies.store import Store
with Store(pathlib.Path({str(empty.root)!r})).alone():
    os._exit(9)
"""
    dead = subprocess.run([sys.executable, "-c", code])
    assert dead.returncode == 9 and (empty.root / ".running.lock").read_text()
    with empty.alone():
        assert (empty.root / ".running.lock").read_text() == str(os.getpid())


def test_an_error_inside_the_lock_is_not_taken_for_one_of_the_lock(empty: Store) -> None:
    with pytest.raises(FileNotFoundError, match="elsewhere"), empty.alone():
        Path("/elsewhere/file").read_text()
