"""Memory that recorded steps share: what is not wanted at the same time lies in the same place.

As torch's allocator would give it to each step anew, but planned once: for each tensor that a step makes it is known
which call writes it first and which reads it last.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

LARGEST = 2**27  # bytes of an arena
LINE = 64  # bytes, which a processor fetches together


class Arena:
    """One block for all recorded steps of a training. What no plan reaches takes no memory."""

    def __init__(self) -> None:
        self.most = LARGEST

    @cached_property
    def storage(self) -> torch.UntypedStorage:
        return torch.UntypedStorage(self.most)

    def holds(self, size: int) -> bool:
        """Whether there is room for so many bytes; none where the system does not give the block."""
        try:
            return size <= self.most and self.storage is not None
        except RuntimeError:
            self.most = -1
            return False


class Life(NamedTuple):
    """The first and the last call that want some memory, and how many bytes it has."""

    first: int
    last: int
    size: int


class Plan(NamedTuple):
    starts: list[int]  # where each begins, in bytes
    end: int  # where the last one ends


def planned(lives: Sequence[Life]) -> Plan:
    """No two of them overlap both in time and in place. Each gets, when its time comes, the smallest gap that holds it,
    which is the one that was last in the caches more often than not."""
    starts, end = [0] * len(lives), 0
    gaps: list[tuple[int, int]] = []  # (start, end) of what is free below the end, in order
    leaving = sorted(range(len(lives)), key=lambda number: lives[number].last)
    gone = 0
    for number in sorted(range(len(lives)), key=lambda number: lives[number].first):
        first, _, size = lives[number]
        while lives[leaving[gone]].last < first:
            left = leaving[gone]
            _give_back(gaps, starts[left], starts[left] + _whole(lives[left].size))
            gone += 1
        size = _whole(size)
        fits = [(stop - start, start, stop) for start, stop in gaps if stop - start >= size]
        if fits:
            _, start, stop = min(fits)
            gaps.remove((start, stop))
            if stop - start > size:
                insort(gaps, (start + size, stop))
        else:
            start = gaps.pop()[0] if gaps and gaps[-1][1] == end else end
            end = start + size
        starts[number] = start
    return Plan(starts, end)


def _whole(size: int) -> int:
    return -(-size // LINE) * LINE


def _give_back(gaps: list[tuple[int, int]], start: int, stop: int) -> None:
    """Gaps that touch become one."""
    if start == stop:
        return
    place = bisect_left(gaps, (start, stop))
    if place < len(gaps) and gaps[place][0] == stop:
        stop = gaps.pop(place)[1]
    if place and gaps[place - 1][1] == start:
        start = gaps.pop(place - 1)[0]
    insort(gaps, (start, stop))


@dataclass(frozen=True)
class View:
    """How a tensor looks at memory that a step makes: at which, from what value on, in what order."""

    memory: int
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def on(self, storage: torch.UntypedStorage, start: int) -> Tensor:
        """As a tensor on memory that begins at byte `start` of this one."""
        offset = start // self.dtype.itemsize + self.offset
        return torch.empty(0, dtype=self.dtype).set_(storage, offset, self.size, self.stride)


def view_of(tensor: Tensor, memory: int) -> View:
    return View(memory, tensor.dtype, int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())
