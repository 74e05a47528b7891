"""What models compute by `native.c` on one thread of a CPU: the same functions as torch's operators, to rounding.

Each takes torch's own way where there is no native one (`native.py` says where that is). Under autocast what they give
is in its type, as the product that follows wants it; within, all is float32. `benchmarks/nonlinear.py` has
times: attention of 128 sentences of 11 words, forward and backward in bf16, 2.2 ms, our products 3.6, torch's 8.8.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distillbias.models.dropout import Dropout
from distillbias.models.native import Native, native

LANES = 16  # of native.c
LONGEST = 16  # words that attention is native for: a register full. Of more, bf16 products are as fast or faster


def layer_norm(x: Float[Tensor, "*rows width"], norm: nn.LayerNorm) -> Float[Tensor, "*rows width"]:
    """`norm(x)`."""
    functions = native(x, _working_type(x))
    if functions is None or x.dtype != torch.float32 or x.shape[-1] % LANES:
        return norm(x)
    return _LayerNorm.apply(x.contiguous(), norm.weight, norm.bias, functions, norm.eps, _working_type(x))


def add_dropped(x: Tensor, added: Tensor, dropout: Dropout) -> Tensor:
    """`x + dropout(added)`."""
    functions = native(added) if x.dtype == torch.float32 and x.is_contiguous() else None
    draws = dropout.draws(added.numel(), added.device) if functions else None
    if draws is None:
        return x + dropout(added)
    return _AddDropped.apply(x, added.contiguous(), functions, draws, dropout.first_kept, dropout.scale)


def attend(
    qkv: Float[Tensor, "batch time qkv"], hidden: Float[Tensor, "_ 1 _ time"], heads: int, dropout: Dropout
) -> Float[Tensor, "batch time width"] | None:
    """What each word gets from those it looks at: softmax of its query's products with their keys, / sqrt(width/heads),
    plus `hidden`, dropped out; by that the sum of their contents. None where there is no native way.
    """
    batch, time, width = qkv.shape
    functions = native(qkv) if time <= LONGEST and width // (3 * heads) % LANES == 0 else None
    if functions is None:
        return None
    draws = dropout.draws(batch * heads * time * time, qkv.device)
    return _Attend.apply(qkv.contiguous(), functions, hidden.float().contiguous(), heads, draws, dropout)


def _working_type(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, functions: Native, eps: float, kind: torch.dtype
    ) -> Tensor:
        width = x.shape[-1]
        rows = x.numel() // width
        y, statistics = torch.empty_like(x, dtype=kind), x.new_empty(2, rows)
        functions("layer_norm", x, weight, bias, eps, y, statistics, rows, width)
        ctx.save_for_backward(x, weight, statistics)
        ctx.functions = functions
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, statistics = ctx.saved_tensors
        down, (on_weight, on_bias) = torch.empty_like(x), (torch.empty_like(weight) for _ in range(2))
        ctx.functions(
            "layer_norm_back",
            *(upstream.contiguous(), x, weight, statistics, down, on_weight, on_bias),
            *(statistics.shape[1], len(weight)),
        )
        return down, on_weight, on_bias, None, None, None


class _AddDropped(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor, functions: Native, draws: Tensor, first: int, scale: float
    ) -> Tensor:
        y = torch.empty_like(x)
        functions("add_dropped", x, added, draws, first, scale, y, x.numel())
        ctx.save_for_backward(draws)
        ctx.functions, ctx.first, ctx.scale, ctx.kind = functions, first, scale, added.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (draws,) = ctx.saved_tensors
        upstream = upstream.contiguous()
        down = torch.empty_like(upstream, dtype=ctx.kind)
        ctx.functions("drop_down", upstream, draws, ctx.first, ctx.scale, down, down.numel())
        return upstream, down, None, None, None, None


class _Attend(torch.autograd.Function):
    """Keeps no scores: of a few words they are made again sooner than read again."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, functions: Native, hidden: Tensor, heads: int, draws: Tensor | None, dropout: Dropout
    ) -> Tensor:
        batch, time, width = len(qkv), qkv.shape[1], qkv.shape[2] // 3
        looked = qkv.new_empty(batch, time, width)
        totals = torch.empty(batch, heads, time) if ctx.needs_input_grad[0] else None
        # what all rows or all words share does not move on
        strides = (hidden.stride(0) if len(hidden) > 1 else 0, hidden.stride(2) if hidden.shape[2] > 1 else 0)
        ctx.drop, ctx.sizes = (draws, dropout.first_kept, dropout.scale), (batch, time, heads, width // heads)
        functions("attend", qkv, hidden, *strides, *ctx.drop, looked, totals, *ctx.sizes)
        ctx.save_for_backward(qkv, hidden, totals)
        ctx.functions, ctx.strides = functions, strides
        return looked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        qkv, hidden, totals = ctx.saved_tensors
        down = torch.empty_like(qkv)
        ctx.functions(
            "attend_back", upstream.contiguous(), qkv, hidden, *ctx.strides, totals, *ctx.drop, down, *ctx.sizes
        )
        return down, None, None, None, None, None
