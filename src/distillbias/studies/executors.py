"""Which executor a command asks for. A new one: a file beside `processes.py`, a name and a case here."""

import os
from collections.abc import Sequence

from distillbias.errors import InputError
from distillbias.studies.executor import Executor
from distillbias.studies.processes import Processes
from distillbias.studies.run import Run
from distillbias.studies.runner import check_device, check_workers
from distillbias.studies.worker import Place

NAMES = ("processes", "ray")
WORKERS = 2  # processes, if nobody says how many


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
    return Processes(place, WORKERS if workers is None else workers)


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
