"""Forward and backward of what `compiled.py` offers by `native.c`: torch's autograd functions around native ones.

What they are given is as native functions want it: contiguous, in the types that these read.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distillbias.models.dropout import Dropout
from distillbias.models.native import Native


class AddAndNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        added: Tensor,
        more: Tensor,
        weight: Tensor,
        bias: Tensor,
        functions: Native,
        eps: float,
        chosen: Any,
    ) -> tuple[Tensor, Tensor]:
        total, y = torch.empty_like(x), torch.empty_like(added)
        width = x.shape[-1]
        rows = x.numel() // width
        statistics = x.new_empty(2, rows)
        functions("add_and_norm", x, added, more, *chosen, weight, bias, eps, total, y, statistics, rows, width)
        draws, *ctx.drop = chosen
        ctx.save_for_backward(total, weight, statistics, draws)
        ctx.functions, ctx.kind = functions, added.dtype
        ctx.set_materialize_grads(False)
        return total, y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor | None, upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        total, weight, statistics, draws = ctx.saved_tensors
        upstream = torch.zeros_like(total, dtype=ctx.kind) if upstream is None else upstream.contiguous()
        above = None if above is None else above.contiguous()
        down, on_added, slopes = torch.empty_like(total), torch.empty_like(upstream), weight.new_empty(3, len(weight))
        given = above, upstream, total, weight, statistics, draws, *ctx.drop
        ctx.functions("add_and_norm_back", *given, down, on_added, *slopes, statistics.shape[1], len(weight))
        return down, on_added, *slopes.unbind(), None, None, None


class Embed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, places: Tensor, weight: Tensor, functions: Native) -> Tensor:
        ctx.save_for_backward(places)
        ctx.functions, ctx.sizes = functions, weight.shape
        return F.embedding(places, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        on_weight = upstream.new_empty(ctx.sizes)
        ctx.functions("embed_back", upstream.contiguous(), places, on_weight, places.numel(), *ctx.sizes)
        return None, on_weight, None


class Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, functions: Native) -> Tensor:
        after, before = weight.shape
        y = x.new_empty(*x.shape[:-1], after)
        functions("linear", x, weight, bias, y, x.numel() // before, before, after)
        ctx.save_for_backward(x, weight)
        ctx.functions, ctx.biased = functions, bias is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        after, before = weight.shape
        down = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        on_weight, on_bias = torch.empty_like(weight), weight.new_empty(after) if ctx.biased else None
        given = upstream.contiguous(), x, weight, down, on_weight, on_bias
        ctx.functions("linear_back", *given, x.numel() // before, before, after)
        return down, on_weight, on_bias, None


class Feed(torch.autograd.Function):
    """Keeps what GELU made and its slopes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, widen: Tensor, bias: Tensor, narrow: Tensor, functions: Native) -> Tensor:
        many, width = widen.shape
        sizes = x.numel() // width, width, many
        y, found = torch.empty_like(x), x.new_empty(sizes[0], many)
        slopes = torch.empty_like(found) if any(ctx.needs_input_grad) else None
        functions("feed", x, widen, bias, narrow, found, slopes, y, *sizes)
        ctx.save_for_backward(x, found, slopes, widen, narrow)
        ctx.functions, ctx.sizes = functions, sizes
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, found, slopes, widen, narrow = ctx.saved_tensors
        down, on_widen, on_narrow = torch.empty_like(x), torch.empty_like(widen), torch.empty_like(narrow)
        on_bias = widen.new_empty(len(widen))
        given = upstream.contiguous(), x, found, slopes, widen, narrow, down, on_widen, on_bias, on_narrow
        ctx.functions("feed_back", *given, *ctx.sizes)
        return down, on_widen, on_bias, on_narrow, None


class Layers(torch.autograd.Function):
    """Of each layer what its ReLU let through is kept; the product itself is part of it, so that no weight and no
    weight's gradient is written in another type. All layers are one function, because a call takes longer than the
    smallest of them does."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, functions: Native, norms: list[Any], chosen: list[Any], *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        """`parameters`: of each layer weight, bias, gain and shift; then weight and bias of the answer, if any."""
        made: list[Tensor] = []
        kept = [x]
        rows = len(x)
        for place, (numbers, choice) in enumerate(zip(norms, chosen, strict=True)):
            weight, bias, gain, shift = parameters[4 * place : 4 * place + 4]
            after, before = weight.shape
            y = x.new_empty(rows, after)
            reached, statistics = weight.new_empty(rows, after), weight.new_empty(2, after)
            given = (x, weight, bias, gain, shift, *numbers, *choice)
            functions("layer", *given, y, reached, statistics, rows, before, after)
            kept += [weight, gain, reached, statistics, y]
            made.append(x := y)
        if len(parameters) > 4 * len(norms):
            weight, bias = parameters[-2:]
            after, before = weight.shape
            y = x.new_empty(rows, after)
            functions("linear", x, weight, bias, y, rows, before, after)
            kept.append(weight)
            made.append(y)
        ctx.save_for_backward(*kept)
        ctx.functions, ctx.chosen = functions, chosen
        ctx.set_materialize_grads(False)
        return (*made,)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstreams: Tensor | None) -> tuple[Tensor | None, ...]:
        kept, depth = ctx.saved_tensors, len(ctx.chosen)
        found: list[Tensor | None] = []  # by the parameters, the last ones first
        down: Tensor | None = None
        if len(upstreams) > depth:
            weight, x, upstream = kept[-1], kept[-2], upstreams[-1]
            if upstream is None:
                found = [None, None]
            else:
                down = torch.empty_like(x) if depth or ctx.needs_input_grad[0] else None
                on_weight, on_bias = torch.empty_like(weight), weight.new_empty(len(weight))
                sizes = len(x), *weight.shape[::-1]
                ctx.functions("linear_back", upstream.contiguous(), x, weight, down, on_weight, on_bias, *sizes)
                found = [on_bias, on_weight]
        for place in reversed(range(depth)):
            x, weight, gain, reached, statistics = kept[5 * place : 5 * place + 5]
            upstream = _both(upstreams[place], down)
            if upstream is None:
                found += 4 * [None]
                continue
            down = torch.empty_like(x) if place or ctx.needs_input_grad[0] else None
            on_weight, slopes = torch.empty_like(weight), weight.new_empty(3, len(weight))
            given = (upstream.contiguous(), x, weight, gain, *ctx.chosen[place], reached, statistics)
            ctx.functions("layer_back", *given, down, on_weight, slopes, len(x), *weight.shape[::-1])
            on_bias, on_gain, on_shift = slopes.unbind()
            found += [on_shift, on_gain, on_bias, on_weight]
        return down, None, None, None, *reversed(found)


def _both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


class Finish(torch.autograd.Function):
    """Where y is 0 nothing passed ReLU and dropout, so backward needs no draws; what was largest it finds again."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor,
        shift: Tensor,
        functions: Native,
        norm: nn.BatchNorm2d,
        cut: tuple[tuple[int, int, int, int], int, int],
        chosen: Any,
    ) -> Tensor:
        shape, group, pool = cut
        batch, channels, rows, columns = shape
        sizes = batch * rows, columns, channels, group, pool
        y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        statistics = gain.new_empty(2, channels)
        running = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        functions("finish", x, gain, shift, norm.eps, norm.momentum, *running, *chosen, y, statistics, *sizes)
        ctx.save_for_backward(x, y, gain, shift, statistics)
        ctx.functions, ctx.scale, ctx.sizes = functions, chosen[2], sizes
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, y, gain, shift, statistics = ctx.saved_tensors
        upstream = upstream.contiguous(memory_format=torch.channels_last)
        down, gradients = torch.empty_like(x), torch.empty_like(statistics)
        ctx.functions("finish_back", upstream, x, y, gain, shift, ctx.scale, statistics, down, gradients, *ctx.sizes)
        return down, gradients[0], gradients[1], None, None, None, None


def finish_known(
    x: Tensor, norm: nn.BatchNorm2d, functions: Native, cut: tuple[tuple[int, int, int, int], int, int]
) -> Tensor:
    """The same in evaluation, without gradients."""
    (batch, channels, rows, columns), group, pool = cut
    assert norm.running_mean is not None and norm.running_var is not None, "only what is known is asked for"
    y = torch.empty(cut[0], dtype=x.dtype, memory_format=torch.channels_last)
    statistics = torch.stack((norm.running_mean, (norm.running_var + norm.eps).rsqrt()))
    sizes = batch * rows, columns, channels, group, pool
    functions("finish_known", x, norm.weight, norm.bias, statistics, y, *sizes)
    return y


class Convolve(torch.autograd.Function):
    """Makes the sums of pixels again for backward: they are four times as many numbers as the pixels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, functions: Native) -> Tensor:
        batch, before, rows, columns = x.shape
        after = len(weight)
        y = x.new_empty(batch, rows - 2, columns - 2, after).permute(0, 3, 1, 2)
        sizes = batch, rows // 2 - 1, columns // 2 - 1, before, after
        functions("convolve", x, weight, bias, y, *sizes)
        ctx.save_for_backward(x, weight)
        ctx.functions, ctx.sizes, ctx.biased = functions, sizes, bias is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        upstream = upstream.contiguous(memory_format=torch.channels_last)
        down, on_weight, on_bias = torch.empty_like(x), torch.empty_like(weight), weight.new_empty(len(weight))
        ctx.functions("convolve_back", upstream, x, weight, down, on_weight, on_bias, *ctx.sizes)
        return down, on_weight, on_bias if ctx.biased else None, None


class Diverge(torch.autograd.Function):
    """The gradient is made with the loss; backward only scales it."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, temperature: float, factor: float, functions: Native
    ) -> Tensor:
        slopes, losses = torch.empty_like(student), student.new_empty(len(student))
        functions("kl_from_teacher", student, teacher, 1 / temperature, factor, slopes, losses, *student.shape)
        ctx.save_for_backward(slopes)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return slopes * upstream[:, None], None, None, None, None


class Attend(torch.autograd.Function):
    """Keeps no scores: of a few words they are made again sooner than read again."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, functions: Native, hidden: Tensor, heads: int, draws: Tensor | None, dropout: Dropout
    ) -> Tensor:
        batch, time, width = len(qkv), qkv.shape[1], qkv.shape[2] // 3
        looked = qkv.new_empty(batch, time, width)
        totals = torch.empty(batch, heads, time, 2) if ctx.needs_input_grad[0] else None
        strides = _strides(hidden)
        ctx.drop, ctx.sizes = (dropout.first_kept, dropout.scale), (batch, time, heads, width // heads)
        functions("attend", qkv, hidden, *strides, draws, *ctx.drop, looked, totals, *ctx.sizes)
        ctx.save_for_backward(qkv, hidden, totals, draws)
        ctx.functions, ctx.strides = functions, strides
        return looked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        qkv, hidden, totals, draws = ctx.saved_tensors
        down = torch.empty_like(qkv)
        given = upstream.contiguous(), qkv, hidden, *ctx.strides, totals, draws, *ctx.drop
        ctx.functions("attend_back", *given, down, *ctx.sizes)
        return down, None, None, None, None, None


class Ask(torch.autograd.Function):
    """Keeps what each head asked, and the mean of what it looked at."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        functions: Native,
        read: Tensor,
        hidden: Tensor,
        heads: int,
        chosen: Sequence[Any],
    ) -> Tensor:
        batch, time, width = x.shape
        sizes = batch, time, heads, width // heads
        query, found = x.new_empty(heads, batch, width // heads), x.new_empty(batch, width)
        asked, looked = (x.new_empty(heads, batch, width) for _ in range(2))
        shares, sums = torch.empty(batch, heads, time), torch.empty(heads, batch)
        kept = query, asked, looked, shares, sums
        functions("ask", x, read, weight, bias, hidden, *_strides(hidden), *chosen, *kept, found, *sizes)
        draws, *ctx.drop = chosen
        ctx.save_for_backward(x, read, weight, bias, draws, *kept)
        ctx.functions, ctx.sizes = functions, sizes
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, read, weight, bias, draws, *kept = ctx.saved_tensors
        on_x, on_weight, on_bias = (torch.empty_like(each) for each in (x, weight, bias))
        given = upstream.contiguous(), x, read, weight, bias, draws, *ctx.drop, *kept
        ctx.functions("ask_back", *given, on_x, on_weight, on_bias, *ctx.sizes)
        return on_x, on_weight, on_bias, None, None, None, None, None


def _strides(hidden: Tensor) -> tuple[int, int]:
    """Of [batch or 1, 1, time or 1, time], from example to example and from word to word: what all share stays."""
    return hidden.stride(0) if len(hidden) > 1 else 0, hidden.stride(2) if hidden.shape[2] > 1 else 0
