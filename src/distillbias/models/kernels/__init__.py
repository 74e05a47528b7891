"""Kernels for GPUs, in Triton, which torch's builds for GPUs come with. `models/fused*.py` and `training/fused_step.py`
call them."""

from functools import cache
from typing import Any, NamedTuple

import torch

from distillbias.models.native import is_aside


class Kernels(NamedTuple):
    """The modules of them."""

    maps: Any
    rows: Any
    steps: Any
    words: Any


def ready(device: torch.device) -> bool:
    """Whether they can be called for tensors there: not where there is no Triton, as in torch's builds for CPUs, nor
    where it cannot compile, nor on another GPU than the current one, to which Triton sends all it launches.

    To call what it has compiled it needs a C compiler and the headers of Python. Without them a run's log says so.
    """
    if is_aside() or (device.type == "cuda" and device.index not in (None, torch.cuda.current_device())):
        return False
    return _found(device.type) is not None


def kernels(device: str) -> Kernels:
    """All of them, where they are `ready`."""
    found = _found(device)
    assert found is not None
    return found


@cache
def _found(device: str) -> Kernels | None:
    try:
        from distillbias.models.kernels import maps, rows, steps, words
    except ImportError:
        return None
    try:
        maps.add[1,](torch.ones(2, device=device), torch.empty(1, device=device), 2, block=2)
    except Exception as error:  # whatever went wrong there: a compiler's exit, a file, a driver
        why = (str(error).strip() or repr(error)).splitlines()[0]
        print(f"Triton cannot compile, torch's own operators take their place: {why}")
        return None
    return Kernels(maps, rows, steps, words)


def cdiv(number: int, by: int) -> int:
    """Rounded up."""
    return -(-number // by)


def next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()
