"""What is between a module's inputs and outputs, computed again on the way back instead of kept (Chen et al. 2016)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from distillbias.models.dropout import streams_of


def recomputed(module: nn.Module, *given: Any) -> Any:
    """`module(*given)`, with the same gradients to the bit: its dropout draws again what it drew.

    The module is called twice, and so are its hooks. On the way back its random streams stand for a while where they
    stood before, which no recording of a step can hold (`training/replays.py`): such steps are taken as they come.
    """
    if not torch.is_grad_enabled():
        return module(*given)
    return checkpoint(_Twice(module), *given, use_reentrant=False, preserve_rng_state=False)


class _Twice:
    """Calls a module, and later again as from where its random streams stood then."""

    def __init__(self, module: nn.Module):
        self.module, self.streams = module, streams_of(module)
        self.before: list[Tensor] = []

    def __call__(self, *given: Any) -> Any:
        now = [stream.get_state() for stream in self.streams]
        if not self.before:
            self.before = now
            return self.module(*given)
        try:
            self._stand(self.before)
            return self.module(*given)
        finally:  # `checkpoint` leaves by an exception once it has what it needs
            self._stand(now)

    def _stand(self, states: list[Tensor]) -> None:
        for stream, state in zip(self.streams, states, strict=True):
            stream.set_state(state)
