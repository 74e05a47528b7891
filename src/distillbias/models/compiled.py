"""What models compute by `native.c` on a CPU: the same functions as torch's operators, to rounding.

On a GPU `fused_words.py` has them. Each takes torch's own way where there is neither (`native.py` says where). Products
are in bf16 under autocast, what is computed here is float32 within. `benchmarks/nonlinear.py` has times, forward and
backward in bf16: attention of 128 sentences of 11 words 2.1 ms, our products 5.4, torch's 11.7, of 47 words 11.4, 18.4
and 65; what is added to a residual stream of 1,408 x 128, and the norm of the sum, .80 ms, by our dropout and torch's
norm 1.20, by torch's 3.07. What follows a convolution passes over maps that no cache holds: 128 x 26 x 26 of 128
images take 15.8 ms, 35.5 and 155. To convolve them to 64 channels takes 102 ms, by torch's 163. (All in one run, at
commit 6043530.) Where products are small, what is around them costs as much: layers of an MLP are made whole, and
neither weights nor their gradients are copied into bf16 and out of it. Where `_outruns_torch` says so, products of an
MLP and of a Transformer are made here, too, its feed-forward layers some rows at a time: 1,408 x 128 in 18.6 ms, 23.9
and 25.5, in float32 on AVX2 (commit dc98fdf). There a layer of 128 images, 784 to 512, takes 3.59 ms, 4.00 and 4.09,
and 2.89 where four in five pixels are 0 (commit 6dc11b6).
"""

from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import NamedTuple, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from distillbias.models import fused, fused_rows, fused_words, passes
from distillbias.models.dropout import Dropout
from distillbias.models.hooks import hooked
from distillbias.models.native import Native, native
from distillbias.models.nonlinear import gelu

Norm = TypeVar("Norm", nn.BatchNorm1d, nn.BatchNorm2d)
LANES = 16  # of native.c, on processors where they are most
LONGEST = 64  # words that attention is native for (MOST_WORDS); of more it was not tried


def embed(places: Int[Tensor, "*rows"], embedding: nn.Embedding) -> Float[Tensor, "*rows width"]:
    """`embedding(places)`. On a CPU its gradient is native, of the same bits: torch's is made elsewhere and, in a
    recorded step, copied to where it belongs."""
    weight = embedding.weight
    whole = embedding.padding_idx is None and embedding.max_norm is None
    plain = type(embedding) is nn.Embedding and not (embedding.scale_grad_by_freq or embedding.sparse)
    if hooked(embedding) or not (plain and whole and weight.dtype == torch.float32 and weight.is_contiguous()):
        return embedding(places)
    functions = native(weight)
    return embedding(places) if functions is None else passes.Embed.apply(places.long().contiguous(), weight, functions)


def linear(x: Float[Tensor, "*rows before"], layer: nn.Linear) -> Float[Tensor, "*rows after"]:
    """`layer(x)`, natively where that takes less time."""
    functions = _multiplies(x, layer)
    if functions is None:
        return layer(x)
    return passes.Linear.apply(x.to(multiplied(x)).contiguous(), layer.weight, layer.bias, functions)


def product(
    x: Float[Tensor, "*rows before"], layer: nn.Linear
) -> tuple[Float[Tensor, "*rows after"], Float[Tensor, " after"] | None]:
    """`layer(x)`; on a CPU without its bias, and the bias, which a native function adds: torch writes it to every row
    before it multiplies, and sums its gradient in a pass of its own."""
    if not (_plain(layer) and native(x, multiplied(x))):
        return layer(x), None
    functions = _multiplies(x, layer)
    if functions is None:
        return F.linear(x, layer.weight), layer.bias
    return passes.Linear.apply(x.to(multiplied(x)).contiguous(), layer.weight, None, functions), layer.bias


def feed_forward(
    x: Float[Tensor, "*rows width"], widen: nn.Linear, narrow: nn.Linear
) -> tuple[Float[Tensor, "*rows width"], Float[Tensor, " width"] | None]:
    """`product(gelu(widen(x)), narrow)`, the tanh approximation of GELU."""
    functions = _multiplies(x, widen, narrow)
    if functions is None:
        return product(gelu(*product(x, widen)), narrow)
    given = x.to(multiplied(x)).contiguous()
    return passes.Feed.apply(given, widen.weight, widen.bias, narrow.weight, functions), narrow.bias


def _plain(*layers: nn.Linear) -> bool:
    return not hooked(*layers) and all(
        type(each) is nn.Linear and each.bias is not None and each.weight.dtype == torch.float32 for each in layers
    )


def _multiplies(x: Tensor, *layers: nn.Linear) -> Native | None:
    """The functions that make products of rows, where they take less time than torch's."""
    kind = multiplied(x)
    fits = x.dtype in (torch.float32, kind) and _outruns_torch(kind) and _plain(*layers)
    return native(x, kind) if fits else None


def _outruns_torch(kind: torch.dtype) -> bool:
    """Whether native products take less time than torch's. In float32 these are MKL's: on registers of 32 bytes ours
    take, in turns, .81 to .91 of it. On those of 64 MKL gives AMD's processors products of 32: a step of the paper's
    MLP took .42 of its time on a Zen 5, of the Transformer .53, on an older one no less. In bf16 oneDNN's are as fast,
    but it writes code for each number of rows: a Transformer's first 35 steps took .85 of the time, later ones .99.
    On Intel's processors, of which some have units for whole matrices, nothing was measured."""
    return (torch.backends.cpu.get_cpu_capability() == "AVX2" and kind == torch.float32) or on_wide_amds()


def on_wide_amds() -> bool:
    """Whether this is one of AMD's processors with registers of 64 bytes."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and _is_amds()


@cache
def _is_amds() -> bool:
    """Where the system does not say who made the processor, nobody did."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def add_and_norm(
    x: Float[Tensor, "*rows width"],
    added: Float[Tensor, "*rows width"],
    bias: Float[Tensor, " width"] | None,
    dropout: Dropout,
    norm: nn.LayerNorm,
) -> tuple[Float[Tensor, "*rows width"], Float[Tensor, "*rows width"]]:
    """`x + dropout(added + bias)`, in the type of x, and its norm, in that of what is added."""
    called = hooked(dropout, norm)
    functions = native(added) if x.dtype == torch.float32 and x.shape[-1] % LANES == 0 and not called else None
    if functions is None and bias is not None:
        added = added + bias.to(added.dtype)
    if functions is None and not called and fused_words.usable(x, added):
        return fused_words.add_and_norm(x, added, dropout, norm)
    if functions is None:
        total = x + dropout(added)
        return total, norm(total).to(added.dtype)
    chosen = (dropout.draws(added.numel(), added.device), dropout.first_kept, dropout.scale)
    bias = torch.zeros_like(norm.bias) if bias is None else bias
    given = x.contiguous(), added.contiguous(), bias, norm.weight, norm.bias
    return passes.AddAndNorm.apply(*given, functions, norm.eps, chosen)


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
        and not hooked(*linears, *(each.norm for each in stack), *(each.dropout for each in stack))
        and all(_learns(each.norm, nn.BatchNorm1d) and each.norm.weight.dtype == torch.float32 for each in stack)
        and all(each.bias is not None and each.training and each.weight.dtype == torch.float32 for each in linears)
    ):
        return None
    kind = multiplied(x)
    functions = native(x, kind) if kind == torch.bfloat16 or _outruns_torch(kind) else None
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
    return [*passes.Layers.apply(x.to(kind).contiguous(), functions, norms, chosen, *parameters)]


def normalise(x: Float[Tensor, "batch before"], layer: Layer) -> Float[Tensor, "batch after"] | None:
    """The same of one layer, on a GPU."""
    if hooked(*layer) or not fused_rows.usable(x):
        return None
    if torch.is_grad_enabled() and len(x) > 1 and _learns(layer.norm, nn.BatchNorm1d):
        product = F.linear(x, layer.linear.weight)
        return fused_rows.normalise(product, layer.linear.bias, layer.norm, layer.dropout)
    return None


def finish(
    x: Float[Tensor, "batch before row col"], norm: nn.Module, pool: int, dropout: Dropout
) -> Float[Tensor, "batch channels row_ col_"] | None:
    """`dropout(relu(max_pool2d(norm(maxout(x)), pool)))`; in training, running statistics of `norm` follow.

    Maxout is over as many consecutive channels as `x` has for each of the norm's. Of equal largest values the first
    gets the gradient. What is bf16 is rounded once, at the end. None where torch's operators are the way: in evaluation
    with gradients, in training without, and of maps that are not channels-last or that windows do not fill.
    """
    batch, before, rows, columns = x.shape
    if not (
        rows % pool == columns % pool == 0
        and batch * rows * columns > 1
        and x.is_contiguous(memory_format=torch.channels_last)
        and not hooked(norm, dropout)
    ):
        return None
    if torch.is_grad_enabled() and _learns(norm, nn.BatchNorm2d):
        if fused.usable(x):
            return fused.finish(x, norm, pool, dropout)
    elif torch.is_grad_enabled() or dropout.training or not _knows(norm, nn.BatchNorm2d):
        return None
    functions = native(x) if norm.weight.dtype == torch.float32 else None
    if functions is None:
        return None
    channels = norm.num_features
    shape = batch, channels, rows // pool, columns // pool
    cut = shape, before // channels, pool
    if not norm.training:
        return passes.finish_known(x, norm, functions, cut)
    draws, scale = dropout.draws(prod(shape), x.device), dropout.scale
    chosen = (draws, dropout.first_kept, 1.0 if draws is None else scale)
    return passes.Finish.apply(x, norm.weight, norm.bias, functions, norm, cut, chosen)


def _learns(norm: nn.Module, kind: type[Norm]) -> TypeGuard[Norm]:
    """Whether it is a batch norm as torch has it, with weights, and about to learn its statistics from a batch."""
    return (
        type(norm) is kind
        and norm.training
        and "forward" not in vars(norm)  # it shares its statistics with other processes (training/parallel.py)
        and bool(norm.affine and norm.track_running_stats and norm.momentum is not None)
    )


def _knows(norm: nn.Module, kind: type[Norm]) -> TypeGuard[Norm]:
    """Whether it is a batch norm as torch has it, with weights, and norms by the statistics that it has."""
    return type(norm) is kind and not norm.training and bool(norm.affine and norm.track_running_stats)


def convolve(
    x: Float[Tensor, "batch before row col"],
    weight: Float[Tensor, "filters before side side"],
    bias: Float[Tensor, " filters"] | None,
) -> Float[Tensor, "batch filters row_ col_"] | None:
    """`F.conv2d(x, weight, bias)` by four ninths of its multiplications, in training and in evaluation.

    Winograd's way rounds twice more to bf16 than torch's: sums of 4 x 4 pixels, and of weights. In float32 it is as
    near to double precision as torch's. None where torch's operators are the way: where nothing is native, and of maps
    and weights that are not channels-last, whose channels do not fill lanes, or of an odd number of rows or columns.
    """
    filters, before, *sides = weight.shape
    if not (
        sides == [3, 3]
        and before % LANES == filters % LANES == 0
        and x.shape[2] % 2 == x.shape[3] % 2 == 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and weight.is_contiguous(memory_format=torch.channels_last)
    ):
        return None
    kind = multiplied(x)
    functions = native(x, kind) if weight.dtype == torch.float32 else None
    return None if functions is None else passes.Convolve.apply(x.to(kind), weight, bias, functions)


def multiplied(x: Tensor) -> torch.dtype:
    """The type of products with `x`."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


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
    return passes.Diverge.apply(student.contiguous(), teacher.contiguous(), temperature, factor, functions)


def attend(
    qkv: Float[Tensor, "batch time qkv"], hidden: Float[Tensor, "_ 1 _ time"], heads: int, dropout: Dropout
) -> Float[Tensor, "batch time width"] | None:
    """What each word gets from those it looks at: softmax of its query's products with their keys, / sqrt(width/heads),
    plus `hidden`, dropped out; by that the sum of their contents. None where torch's operators are the way.
    """
    batch, time, width = qkv.shape
    if hooked(dropout):
        return None
    functions = native(qkv) if time <= LONGEST and width // (3 * heads) % LANES == 0 else None
    if functions is None:
        return fused_words.attend(qkv, hidden, heads, dropout) if fused_words.attend_usable(qkv, heads) else None
    draws = dropout.draws(batch * heads * time * time, qkv.device)
    return passes.Attend.apply(qkv.contiguous(), functions, hidden.float().contiguous(), heads, draws, dropout)


def ask(
    x: Float[Tensor, "batch time width"],
    read: Int[Tensor, " batch"],
    qkv: nn.Linear,
    hidden: Float[Tensor, "_ 1 _ time"],
    heads: int,
    dropout: Dropout,
) -> Float[Tensor, "batch width"] | None:
    """`attend(qkv(x), hidden, heads, dropout)` of the word of each example that `read` has. None where torch's
    operators are the way.
    """
    batch, time, width = x.shape
    if hooked(dropout) or time > LONGEST or width % LANES or not _plain(qkv):
        return None
    kind = multiplied(x)
    if (functions := native(x, kind)) is None:
        return None
    chosen = dropout.draws(batch * heads * time, x.device), dropout.first_kept, dropout.scale
    given = functions, read.long().contiguous(), hidden.float().contiguous(), heads, chosen
    return passes.Ask.apply(x.to(kind).contiguous(), qkv.weight, qkv.bias, *given)
