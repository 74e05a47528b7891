"""The newest states of a run in training, on disk: two of them, so that damage costs one interval and not the run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from distillbias.studies.files import write_whole
from distillbias.studies.store import CHECKPOINT
from distillbias.training.checkpoint import Course, Streams, freeze, thaw, told_of
from distillbias.training.parallel import ALONE, Ranks

KEPT = 2
EVERY = 60.0  # seconds; one took .01 to .18 s to write at laptop scale, 3 to 43 MB, on a quiet core


class Checkpoints:
    """Those of one run in its folder. `facts` say what they are of; states of anything else are not gone on from.

    Of several `ranks` the first writes and reads, for all of them. `written` is called after each.
    """

    def __init__(
        self,
        folder: Path,
        facts: dict[str, Any],
        every: float = EVERY,
        ranks: Ranks = ALONE,
        written: Callable[[], None] = lambda: None,
    ):
        self.folder, self.facts, self.every, self.ranks = folder, ranks.from_first(lambda: facts), every, ranks
        self.written = written
        self.last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self.last >= self.every

    def write(self, course: Course, model: nn.Module, optimizer: torch.optim.Optimizer, streams: Streams) -> None:
        """Keep this state; the older of those that are there go once it is safe."""
        everyones = self.ranks.gather(streams)
        if self.ranks.rank > 0:
            return
        content = freeze(self.facts, course, model, optimizer, everyones)
        write_whole(self.folder / f"{CHECKPOINT}{course.done:09}", lambda part: part.write_bytes(content))
        for old in self._newest_first()[KEPT:]:
            old.unlink()
        self.written()
        self.last = time.monotonic()

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer, streams: Streams) -> Course:
        """The newest state that is whole and ours, put back; the beginning if there is none."""
        content = self.ranks.from_first(self._newest)
        if content is None:
            return Course()
        course = thaw(content, self.facts, model, optimizer, streams)
        assert course is not None, "it was looked at"
        return course

    def _newest(self) -> bytes | None:
        for path in self._newest_first():
            content = path.read_bytes()
            if told_of(content, self.facts) is not None:
                return content
            path.unlink()  # it must not pass for one of the newest
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob(f"{CHECKPOINT}*"), reverse=True)
