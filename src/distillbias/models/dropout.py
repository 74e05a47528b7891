"""Dropout from streams of a run's own, so that no run touches the global one."""

from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Int16, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distillbias.models.kernels import cdiv, kernels, ready
from distillbias.models.native import Native, heard, native

Draws = Int16[Tensor, " count"]
BLOCK = 1024  # values that a kernel's program reads
MOST = 2**31  # values that kernels can count
STATE_BYTES = 5056  # of a generator on the CPU, as native.c reads it


class Dropout(nn.Module):
    """Inverted dropout.

    `stream` is set by `give_stream`; without it training mode is an error, because a draw from the
    global stream would make a run depend on what ran before it. The rate is exact to 1/65536.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate
        self.stream: torch.Generator | None = None

    @property
    def first_kept(self) -> int:
        """The smallest draw that is kept: draws are uniform in -32768 .. 32767."""
        return round(self.rate * 65536) - 32768

    @property
    def scale(self) -> float:
        return 1 / (1 - self.rate)

    def forward(self, x: Tensor) -> Tensor:
        draws = self.draws(x.numel(), x.device)
        if draws is None:
            return x
        if dense(x) and (functions := native(x)):
            return _Drop.apply(x, functions, draws, self.first_kept, self.scale)
        if x.is_cuda and dense(x) and x.numel() < MOST and ready(x.device):
            return _DropOnGPU.apply(x, draws, self.first_kept, self.scale)
        return x * self._mask(x, draws)

    def draws(self, count: int, device: torch.device) -> Draws | None:
        """One for each element of a tensor, in its memory order; None where nothing is dropped.

        Four from one 64-bit word: `bernoulli_` takes 20 times as long on a CPU, a third of a whole training step of
        the CNN.
        """
        if not self.training or not self.rate:
            return None
        if self.stream is None:
            raise RuntimeError("dropout has no random stream: call give_stream(model, generator) before training")
        words = torch.empty((count + 3) // 4, dtype=torch.int64, device=device)
        return fill(words, self.stream).view(torch.int16)[:count]

    def _mask(self, x: Tensor, draws: Draws) -> Tensor:
        """0 or 1/(1 - rate) for each element of `x`, in its memory order."""
        mask = torch.empty(x.numel(), dtype=x.dtype, device=x.device)
        # straight into the type of x: by way of booleans it takes five times as long
        torch.ge(draws, self.first_kept, out=mask)
        mask.mul_(self.scale)
        return mask.as_strided(x.size(), x.stride()) if dense(x) else mask.view(x.shape)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class LockedDropout(Dropout):
    """One mask for all steps of a sequence [batch, time, width] (Gal & Ghahramani 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask(x) if self.training and self.rate else x

    def mask(self, x: Tensor) -> Tensor:
        """What all steps of each sequence are multiplied with, [batch, 1, width]."""
        return super().forward(torch.ones_like(x[:, :1]))


def fill(words: Int64[Tensor, " count"], stream: torch.Generator) -> Int64[Tensor, " count"]:
    """Random words from `stream`, all 64 bits of them, and `words` again.

    The native way draws what torch's own does, and leaves the stream as that would, in a sixth of the time.
    """
    functions = native(words, torch.float32, shared=False)
    if functions is None or not _draws_as_torch(functions):
        return words.random_(-(2**63), None, generator=stream)

    heard(partial(partial, _draw, functions, stream), words)
    return words


def _draw(functions: Native, stream: torch.Generator, words: Tensor) -> None:
    state = stream.get_state()
    functions("random_words", state, words, len(words))
    stream.set_state(state)


@cache
def _draws_as_torch(functions: Native) -> bool:
    """Whether native words are those of this torch: another version's `get_state` might hold something else."""
    stream = torch.Generator().manual_seed(20201)
    state, words = stream.get_state(), torch.empty(1000, dtype=torch.int64)
    if state.numel() != STATE_BYTES:
        return False
    functions("random_words", state, words, len(words))
    right = torch.empty_like(words).random_(-(2**63), None, generator=stream)
    return torch.equal(words, right) and torch.equal(state, stream.get_state())


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, functions: Native, draws: Tensor, first: int, scale: float) -> Tensor:
        ctx.save_for_backward(draws)
        ctx.functions, ctx.first, ctx.scale, ctx.strides = functions, first, scale, x.stride()
        y = torch.empty_like(x)
        functions("drop", x, draws, first, scale, y, x.numel())
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (draws,) = ctx.saved_tensors
        down = torch.empty_strided(upstream.shape, ctx.strides, dtype=upstream.dtype)
        if upstream.stride() != ctx.strides:
            upstream = torch.empty_like(down).copy_(upstream)
        ctx.functions("drop", upstream, draws, ctx.first, ctx.scale, down, down.numel())
        return down, None, None, None, None


class _DropOnGPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, draws: Tensor, first: int, scale: float) -> Tensor:
        ctx.save_for_backward(draws)
        ctx.numbers, ctx.strides = (first, scale), x.stride()
        return _dropped(x, draws, first, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if upstream.stride() != ctx.strides:
            upstream = upstream.new_empty_strided(upstream.shape, ctx.strides).copy_(upstream)
        return _dropped(upstream, *ctx.saved_tensors, *ctx.numbers), None, None, None


def _dropped(x: Tensor, draws: Tensor, first: int, scale: float) -> Tensor:
    y = torch.empty_like(x)
    kernels(x.device.type).words.drop[cdiv(x.numel(), BLOCK),](x, draws, y, first, scale, x.numel(), block=BLOCK)
    return y


def dense(x: Tensor) -> bool:
    """True if the elements of `x` fill one block of memory, in whatever order (channels-last, say)."""
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))


def give_stream(model: nn.Module, stream: torch.Generator) -> None:
    """Let every dropout layer of `model` draw from `stream`, in the order of the forward pass."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.stream = stream


def streams_of(model: nn.Module) -> list[torch.Generator]:
    """Each stream that a dropout layer of `model` draws from, once."""
    found = (layer.stream for layer in model.modules() if isinstance(layer, Dropout))
    return [*dict.fromkeys(stream for stream in found if stream is not None)]
