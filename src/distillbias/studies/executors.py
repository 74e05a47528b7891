"""Which executor a command asks for. A new one: a file beside `processes.py`, a name and a case here."""

import os
from collections.abc import Sequence
from math import inf
from pathlib import Path

from distillbias.errors import InputError
from distillbias.models.output import Shares
from distillbias.studies.executor import Executor
from distillbias.studies.processes import Processes
from distillbias.studies.run import Run
from distillbias.studies.runner import check_device, check_workers
from distillbias.studies.worker import Place

NAMES = ("processes", "ray")
# Bytes that a worker may need; the records of the laptop studies tell of 3.3 and, of language models, 9.0 GB.
MEMORY, LANGUAGE_MEMORY = 4e9, 9e9
QUOTA, MEMINFO = Path("/sys/fs/cgroup/cpu.max"), Path("/proc/meminfo")


def make_executor(
    name: str, place: Place, runs: Sequence[Run], workers: int | None = None, address: str | None = None
) -> Executor:
    """The executor of this name for `runs`: at most `workers` at once, on the cluster at `address` if it is one."""
    if name not in NAMES:
        raise InputError(f"executor {name!r}; it is one of {', '.join(NAMES)}")
    if torchrun_started():
        return _over_torchrun(name, place, workers)
    if workers is not None:
        check_workers(workers)
    if name == "ray":
        from distillbias.studies.ray_cluster import AUTO, RayCluster

        return RayCluster(place, runs, address or AUTO, workers)
    if address is not None:
        raise InputError(f"address {address!r}; only --executor ray has one")
    check_device(place.device)
    return Processes(place, at_once(runs, place.device) if workers is None else workers)


def at_once(runs: Sequence[Run], device: str) -> int:
    """How many processes train at once if nobody says: one for each core, as far as memory goes; on a GPU as many as
    leave each other the shares of it that their models declare."""
    language = any(run.task.spec.classes == run.task.spec.vocabulary for run in runs)
    most = int(min(cores(), memory() / (LANGUAGE_MEMORY if language else MEMORY)))
    if device != "cpu":
        share = max((getattr(run.model, "shares", Shares()).gpus for run in runs), default=1.0)
        most = min(most, int(1 / share)) if share else most
    return max(1, most)


def cores() -> int:
    """Those that this process may use; the quota of a container is no part of its affinity."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return max(1, min(there, int(quota) // int(period)))
    except (OSError, ValueError):  # there is none, or it is "max"
        return there


def memory() -> float:
    """Bytes that are free for new processes; without bound where the system does not say."""
    try:
        line = next(line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
        return 1024.0 * int(line.split()[1])
    except (OSError, StopIteration):
        return inf


def _over_torchrun(name: str, place: Place, workers: int | None) -> Executor:
    from distillbias.studies.torchrun import Torchrun

    if name != "processes":
        raise InputError(f"executor {name!r} under torchrun; there it is processes, those that torchrun started")
    if workers is not None:
        raise InputError(
            f"{workers} workers under torchrun; there one run at a time is trained, over all its processes"
        )
    return Torchrun(place)


def torchrun_started() -> bool:
    """Whether torchrun, or something that sets its environment, started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ and "MASTER_ADDR" in os.environ
