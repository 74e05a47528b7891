"""What a Transformer computes between its products, on a GPU: a launch or two each way for attention, and for what a
block adds with its dropout and the norm that follows.

In Triton, as `fused.py` is, and the same functions of the same draws: `tests/models/test_fused_words.py` compares them.
"""

from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distillbias.models.dropout import Dropout
from distillbias.models.kernels import cdiv, kernels, next_power_of_2, ready

TILE = 2048  # values that a program reads at once
PROGRAMS = 264  # that share a sum: two for each multiprocessor of a large GPU
WIDEST = 1024  # of a row
SHORTEST = 16  # side of a product that a kernel can take
LONGEST = 64  # words that attend to each other in one program
PARTS = (16, 32, 64)  # widths of a head


def usable(x: Tensor, added: Tensor) -> bool:
    """Whether `add_and_norm` can take the place of torch's operators."""
    return (
        x.is_cuda
        and torch.is_grad_enabled()
        and x.dtype == torch.float32
        and added.dtype in (torch.float32, torch.bfloat16)
        and x.shape[-1] <= WIDEST
        and ready(x.device)
    )


def add_and_norm(
    x: Float[Tensor, "*rows width"], added: Float[Tensor, "*rows width"], dropout: Dropout, norm: nn.LayerNorm
) -> tuple[Float[Tensor, "*rows width"], Float[Tensor, "*rows width"]]:
    """`x + dropout(added)`, and its norm in the type of what is added."""
    chosen = (dropout.draws(added.numel(), added.device), dropout.first_kept, dropout.scale)
    return _AddAndNorm.apply(x.contiguous(), added.contiguous(), norm.weight, norm.bias, norm.eps, chosen)


class _AddAndNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, added: Tensor, weight: Tensor, bias: Tensor, eps: float, chosen: Any
    ) -> tuple[Tensor, Tensor]:
        draws, first_kept, scale = chosen
        total, y, width = torch.empty_like(x), torch.empty_like(added), x.shape[-1]
        rows, block = x.numel() // width, next_power_of_2(width)
        statistics = x.new_empty(2, rows)
        cut = {"drop": draws is not None, "tile": max(1, TILE // block), "block": block}
        kernels(x.device.type).words.add_and_norm[cdiv(rows, cut["tile"]),](
            *(x, added, added if draws is None else draws, weight, bias, total, y, statistics),
            *(first_kept, scale, eps, rows, width),
            **cut,
        )
        ctx.save_for_backward(total, weight, statistics, draws)
        ctx.drop, ctx.cut, ctx.kind = (first_kept, scale), cut, added.dtype
        ctx.set_materialize_grads(False)
        return total, y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor | None, upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        total, weight, statistics, draws = ctx.saved_tensors
        upstream = torch.zeros_like(total, dtype=ctx.kind) if upstream is None else upstream.contiguous()
        over = upstream if above is None else above.contiguous()
        down, on_added = torch.empty_like(total), torch.empty_like(upstream)
        rows, width = statistics.shape[1], len(weight)
        tiles = cdiv(rows, ctx.cut["tile"])
        part = cdiv(tiles, PROGRAMS)
        programs = cdiv(tiles, part)
        sums = total.new_empty(2, programs, width)
        kernels(total.device.type).words.add_and_norm_back[programs,](
            *(over, upstream, total, weight, upstream if draws is None else draws, statistics, down, on_added, sums),
            *(*ctx.drop, rows, width, part),
            over=above is not None,
            **ctx.cut,
        )
        on_weight, on_bias = sums.sum(1)
        return down, on_added, on_weight, on_bias, None, None


def attend_usable(qkv: Tensor, heads: int) -> bool:
    """Whether `attend` can take the place of torch's operators."""
    return (
        qkv.is_cuda
        and torch.is_grad_enabled()
        and qkv.dtype in (torch.float32, torch.bfloat16)
        and qkv.shape[1] <= LONGEST
        and qkv.shape[2] // (3 * heads) in PARTS
        and ready(qkv.device)
    )


def attend(
    qkv: Float[Tensor, "batch time qkv"], hidden: Float[Tensor, "_ 1 _ time"], heads: int, dropout: Dropout
) -> Float[Tensor, "batch time width"]:
    """What each word gets from those it looks at: softmax of its query's products with their keys, / sqrt(width/heads),
    plus `hidden`, dropped out; by that the sum of their contents. Scores are float32 within."""
    draws = dropout.draws(len(qkv) * heads * qkv.shape[1] ** 2, qkv.device)
    return _Attend.apply(qkv.contiguous(), hidden.float().contiguous(), heads, draws, dropout)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, hidden: Tensor, heads: int, draws: Tensor | None, dropout: Dropout) -> Tensor:
        batch, time, width = len(qkv), qkv.shape[1], qkv.shape[2] // 3
        looked = qkv.new_empty(batch, time, width)
        # what all rows or all words share does not move on
        strides = (hidden.stride(0) if len(hidden) > 1 else 0, hidden.stride(2) if hidden.shape[2] > 1 else 0)
        ctx.numbers = (*strides, dropout.first_kept, dropout.scale, 1 / sqrt(width // heads), time, heads)
        size = max(SHORTEST, next_power_of_2(time))
        ctx.cut = {"drop": draws is not None, "size": size, "each": width // heads}
        ctx.save_for_backward(qkv, hidden, draws)
        kernels(qkv.device.type).words.attend[batch * heads,](
            *(qkv, hidden, qkv if draws is None else draws, looked), *ctx.numbers, **ctx.cut
        )
        return looked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        qkv, hidden, draws = ctx.saved_tensors
        down = torch.empty_like(qkv)
        kernels(qkv.device.type).words.attend_back[len(qkv) * ctx.numbers[-1],](
            *(upstream.contiguous(), qkv, hidden, qkv if draws is None else draws, down), *ctx.numbers, **ctx.cut
        )
        return down, None, None, None, None
