"""What models compute by `native.c` on a CPU: the same functions as torch's operators, to rounding.

On a GPU `fused_words.py` has them. Each takes torch's own way where there is neither (`native.py` says where). Products
are in bf16 under autocast, what is computed here is float32 within. `benchmarks/nonlinear.py` has times, forward and
backward in bf16: attention of 128 sentences of 11 words 2.1 ms, our products 5.4, torch's 11.7, of 47 words 11.4, 18.4
and 65; what is added to a residual stream of 1,408 x 128, and the norm of the sum, .80 ms, by our dropout and torch's
norm 1.20, by torch's 3.07. Where products are small, what is around them costs as much: layers of an MLP are made
whole, and neither weights nor their gradients are copied into bf16 and out of it. Of 128 images 784 to 512 take 1.96
ms, by our dropout and torch's operators 2.01, by torch's alone 2.27. What follows a convolution passes over maps that
no cache holds: 128 x 26 x 26 of 128 images take 15.8 ms, 35.5 and 155. To convolve them to 64 channels takes 102 ms, by
torch's 163. (All in one run, at commit 6043530.)
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distillbias.models import fused, fused_rows, fused_words
from distillbias.models.dropout import Dropout
from distillbias.models.native import Native, native

Norm = TypeVar("Norm", nn.BatchNorm1d, nn.BatchNorm2d)
LANES = 16  # of native.c
LONGEST = 64  # words that attention is native for (MOST_WORDS); of more it was not tried


def product(
    x: Float[Tensor, "*rows before"], linear: nn.Linear
) -> tuple[Float[Tensor, "*rows after"], Float[Tensor, " after"] | None]:
    """`linear(x)`; on a CPU without its bias, and the bias, which a native function adds: torch writes it to every row
    before it multiplies, and sums its gradient in a pass of its own."""
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    plain = type(linear) is nn.Linear and linear.bias is not None and linear.weight.dtype == torch.float32
    return (F.linear(x, linear.weight), linear.bias) if plain and native(x, kind) else (linear(x), None)


def add_and_norm(
    x: Float[Tensor, "*rows width"],
    added: Float[Tensor, "*rows width"],
    bias: Float[Tensor, " width"] | None,
    dropout: Dropout,
    norm: nn.LayerNorm,
) -> tuple[Float[Tensor, "*rows width"], Float[Tensor, "*rows width"]]:
    """`x + dropout(added + bias)`, in the type of x, and its norm, in that of what is added."""
    functions = native(added) if x.dtype == torch.float32 and x.shape[-1] % LANES == 0 else None
    if functions is None and bias is not None:
        added = added + bias.to(added.dtype)
    if functions is None and fused_words.usable(x, added):
        return fused_words.add_and_norm(x, added, dropout, norm)
    if functions is None:
        total = x + dropout(added)
        return total, norm(total).to(added.dtype)
    chosen = (dropout.draws(added.numel(), added.device), dropout.first_kept, dropout.scale)
    bias = torch.zeros_like(norm.bias) if bias is None else bias
    given = x.contiguous(), added.contiguous(), bias, norm.weight, norm.bias
    return _AddAndNorm.apply(*given, functions, norm.eps, chosen)


class Layer(NamedTuple):
    """`dropout(norm(relu(linear(x))))`."""

    linear: nn.Linear
    norm: nn.Module
    dropout: Dropout


def layers(
    x: Float[Tensor, "batch before"], stack: Sequence[Layer], answer: nn.Linear | None = None
) -> list[Float[Tensor, "batch _"]] | None:
    """What each layer of the stack makes of what is below it, in training, and `answer` of the last. Running statistics
    of the norms follow. None where torch's operators are the way: they are in evaluation, and where processes share the
    statistics (training/parallel.py)."""
    linears = [each.linear for each in stack] + ([] if answer is None else [answer])
    if not (
        torch.is_grad_enabled()
        and (len(x) > 1 or not stack)
        and all(_learns(each.norm, nn.BatchNorm1d) and each.norm.weight.dtype == torch.float32 for each in stack)
        and all(each.bias is not None and each.training and each.weight.dtype == torch.float32 for each in linears)
    ):
        return None
    functions = _in_bf16(x)
    if functions is None:
        return None
    parameters, norms, chosen = [], [], []
    for linear, norm, dropout in stack:
        parameters += [linear.weight, linear.bias, norm.weight, norm.bias]
        norms.append((norm.eps, norm.momentum, norm.running_mean, norm.running_var, norm.num_batches_tracked))
        draws = dropout.draws(len(x) * linear.out_features, x.device)
        chosen.append((draws, dropout.first_kept, dropout.scale))
    if answer is not None:
        parameters += [answer.weight, answer.bias]
    return [*_Layers.apply(x.to(torch.bfloat16).contiguous(), functions, norms, chosen, *parameters)]


def normalise(x: Float[Tensor, "batch before"], layer: Layer) -> Float[Tensor, "batch after"] | None:
    """The same of one layer, on a GPU."""
    if torch.is_grad_enabled() and len(x) > 1 and _learns(layer.norm, nn.BatchNorm1d) and fused_rows.usable(x):
        product = F.linear(x, layer.linear.weight)
        return fused_rows.normalise(product, layer.linear.bias, layer.norm, layer.dropout)
    return None


def finish(
    x: Float[Tensor, "batch before row col"], norm: nn.Module, pool: int, dropout: Dropout
) -> Float[Tensor, "batch channels row_ col_"] | None:
    """`dropout(relu(max_pool2d(norm(maxout(x)), pool)))` in training; running statistics of `norm` follow.

    Maxout is over as many consecutive channels as `x` has for each of the norm's. Of equal largest values the first
    gets the gradient. What is bf16 is rounded once, at the end. None where torch's operators are the way: as above, and
    of maps that are not channels-last or that windows do not fill.
    """
    batch, before, rows, columns = x.shape
    if not (
        torch.is_grad_enabled()
        and _learns(norm, nn.BatchNorm2d)
        and rows % pool == columns % pool == 0
        and batch * rows * columns > 1
        and x.is_contiguous(memory_format=torch.channels_last)
    ):
        return None
    if fused.usable(x):
        return fused.finish(x, norm, pool, dropout)
    functions = native(x) if norm.weight.dtype == torch.float32 else None
    if functions is None:
        return None
    channels = norm.num_features
    shape = batch, channels, rows // pool, columns // pool
    draws, scale = dropout.draws(prod(shape), x.device), dropout.scale
    chosen = (draws, dropout.first_kept, 1.0 if draws is None else scale)
    return _Finish.apply(x, norm.weight, norm.bias, functions, norm, (shape, before // channels, pool), chosen)


def _learns(norm: nn.Module, kind: type[Norm]) -> TypeGuard[Norm]:
    """Whether it is a batch norm as torch has it, with weights, and about to learn its statistics from a batch."""
    return (
        type(norm) is kind
        and norm.training
        and "forward" not in vars(norm)  # it shares its statistics with other processes (training/parallel.py)
        and bool(norm.affine and norm.track_running_stats and norm.momentum is not None)
    )


def convolve(
    x: Float[Tensor, "batch before row col"],
    weight: Float[Tensor, "filters before side side"],
    bias: Float[Tensor, " filters"] | None,
) -> Float[Tensor, "batch filters row_ col_"] | None:
    """`F.conv2d(x, weight, bias)` by four ninths of its multiplications, for what gradients are wanted by.

    Winograd's way rounds twice more to bf16 than torch's: sums of 4 x 4 pixels, and of weights. None where torch's
    operators are the way: as above, and of maps and weights that are not channels-last, whose channels do not fill
    lanes, or of an odd number of rows or columns.
    """
    filters, before, *sides = weight.shape
    if not (
        sides == [3, 3]
        and torch.is_grad_enabled()
        and before % LANES == filters % LANES == 0
        and x.shape[2] % 2 == x.shape[3] % 2 == 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and weight.is_contiguous(memory_format=torch.channels_last)
    ):
        return None
    functions = _in_bf16(x) if weight.dtype == torch.float32 else None
    return None if functions is None else _Convolve.apply(x.to(torch.bfloat16), weight, bias, functions)


def _in_bf16(x: Tensor) -> Native | None:
    """What makes products in bf16. For those in float32 torch's are as fast."""
    if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return None
    return native(x, torch.bfloat16)


def divergence(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: float, factor: float
) -> Float[Tensor, " batch"] | None:
    """`factor` times KL(teacher || student) of the answers softened by `temperature`, in nats; no gradient goes to the
    teacher. None where torch's operators are the way."""
    if fused_rows.divergence_usable(student, teacher):
        return fused_rows.divergence(student, teacher, temperature, factor)
    precise = student.dtype == teacher.dtype == torch.float32
    functions = native(student) if precise and student.requires_grad and not teacher.requires_grad else None
    if functions is None:
        return None
    return _Diverge.apply(student.contiguous(), teacher.contiguous(), temperature, factor, functions)


def attend(
    qkv: Float[Tensor, "batch time qkv"], hidden: Float[Tensor, "_ 1 _ time"], heads: int, dropout: Dropout
) -> Float[Tensor, "batch time width"] | None:
    """What each word gets from those it looks at: softmax of its query's products with their keys, / sqrt(width/heads),
    plus `hidden`, dropped out; by that the sum of their contents. None where torch's operators are the way.
    """
    batch, time, width = qkv.shape
    functions = native(qkv) if time <= LONGEST and width // (3 * heads) % LANES == 0 else None
    if functions is None:
        return fused_words.attend(qkv, hidden, heads, dropout) if fused_words.attend_usable(qkv, heads) else None
    draws = dropout.draws(batch * heads * time * time, qkv.device)
    return _Attend.apply(qkv.contiguous(), functions, hidden.float().contiguous(), heads, draws, dropout)


class _AddAndNorm(torch.autograd.Function):
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
        ctx.save_for_backward(total, weight, statistics)
        ctx.functions, ctx.chosen, ctx.kind = functions, chosen, added.dtype
        ctx.set_materialize_grads(False)
        return total, y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor | None, upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        total, weight, statistics = ctx.saved_tensors
        upstream = torch.zeros_like(total, dtype=ctx.kind) if upstream is None else upstream.contiguous()
        above = None if above is None else above.contiguous()
        down, on_added, slopes = torch.empty_like(total), torch.empty_like(upstream), weight.new_empty(3, len(weight))
        given = above, upstream, total, weight, statistics, *ctx.chosen
        ctx.functions("add_and_norm_back", *given, down, on_added, *slopes, statistics.shape[1], len(weight))
        return down, on_added, *slopes.unbind(), None, None, None


class _Layers(torch.autograd.Function):
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


class _Finish(torch.autograd.Function):
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


class _Convolve(torch.autograd.Function):
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


class _Diverge(torch.autograd.Function):
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


class _Attend(torch.autograd.Function):
    """Keeps no scores: of a few words they are made again sooner than read again."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, functions: Native, hidden: Tensor, heads: int, draws: Tensor | None, dropout: Dropout
    ) -> Tensor:
        batch, time, width = len(qkv), qkv.shape[1], qkv.shape[2] // 3
        looked = qkv.new_empty(batch, time, width)
        totals = torch.empty(batch, heads, time, 2) if ctx.needs_input_grad[0] else None
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
