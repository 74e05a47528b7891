"""A study in a process of its own, and what can be done to it; afterwards, what must be true of its store."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import small

from distillbias.studies.record import RECORD
from distillbias.studies.store import CHECKPOINT, LOG, Store
from distillbias.studies.study import Study

RESULT = ("weights.safetensors", "predictions.parquet", "activations.safetensors")
STUDY: Study = small.study()


class Running:
    """The small study while it runs."""

    def __init__(self, store: Path, workers: int = 2):
        self.store = store
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.small", str(store), str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    @property
    def forked_from(self) -> list[int]:
        """The process that has loaded what workers need, once there is one."""
        return [pid for pid in children(self.process.pid) if b"forkserver" in command(pid)]

    @property
    def workers(self) -> list[int]:
        return [worker for pid in self.forked_from for worker in children(pid)]

    def said(self) -> str:
        """The next line it says; waits for it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ended(self, seconds: float = 120.0) -> tuple[int, str]:
        """Exit status and what it said."""
        out, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, out

    @property
    def left(self) -> list[int]:
        """Every process of its session that still runs, whoever started it."""
        return alive([pid for pid in processes() if session(pid) == self.process.pid])

    def kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pids: list[int]) -> list[int]:
    """Those that still run; a zombie does not."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def gone(running: Callable[[], list[int]], seconds: float = 10.0) -> bool:
    """Whether all processes that `running` tells of end in time."""
    until = time.monotonic() + seconds
    while running() and time.monotonic() < until:
        time.sleep(0.05)
    return not running()


def done_at(store: Store) -> dict[str, tuple[int, int]]:
    """{run that is done: (inode, time of writing) of its mark}: what is done again has others."""
    marks = {run.name: store.folder(run) / "done" for run in STUDY.runs if store.done(run)}
    return {name: (mark.stat().st_ino, mark.stat().st_mtime_ns) for name, mark in marks.items()}


def litter(root: Path) -> list[str]:
    """Files that nobody asked for: half-written ones, checkpoints and progress of what is done."""
    wanted = {*RESULT, RECORD, LOG, "done"}
    in_runs = [path for path in root.glob("runs/*/*") if path.name not in wanted]
    parts = [path for path in root.glob("*/.*")]
    return sorted(str(path.relative_to(root)) for path in (*in_runs, *parts))


def differences(store: Store, reference: Store) -> list[str]:
    """What of the study's results is not bit-equal to an undisturbed one's."""
    found = []
    for run in STUDY.runs:
        if not store.done(run):
            found.append(f"{run.name} is not done")
            continue
        found += [f"{run.name}/{file} is damaged" for file in store.damaged(run)]
        for file in RESULT:
            if (store.folder(run) / file).read_bytes() != (reference.folder(run) / file).read_bytes():
                found.append(f"{run.name}/{file} differs")
        ours, theirs = (json.loads((each.folder(run) / RECORD).read_text()) for each in (store, reference))
        found += [
            f"{run.name}: {fact} differs"
            for fact in ("losses", "scores", "weights", "teacher")
            if ours[fact] != theirs[fact]
        ]
    return found


def has_checkpoint(store: Path) -> bool:
    return any(store.glob(f"runs/*/{CHECKPOINT}*"))
