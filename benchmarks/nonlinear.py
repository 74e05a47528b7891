"""Time of the functions that this project has its own of on a CPU, beside torch's: python -m benchmarks.nonlinear

Forward and backward on one thread, medians of ROUNDS calls in turn: compiled (`models/native.c`), by this project from
torch's operators, and as torch's users write it. In bf16, where the processor multiplies it, and in float32.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillbias.models import compiled
from distillbias.models.cnn import CNNConfig, Stage, convolve
from distillbias.models.compiled import add_and_norm, feed_forward
from distillbias.models.dropout import Dropout, fill, give_stream
from distillbias.models.mlp import Layer
from distillbias.models.native import put_aside
from distillbias.models.nonlinear import gelu, softmax
from distillbias.models.recurrence import lstm
from distillbias.models.transformer import Block
from distillbias.studies.processes import keep_large_blocks
from distillbias.studies.provenance import provenance
from distillbias.studies.vision import LAPTOP_CNN
from distillbias.tasks.task import Spec
from distillbias.training.precision import has_bfloat16

ROUNDS = 50
DRAWS = 360_448  # 128 x 11 x 256
PIXELS = 784


def both_ways(function: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    upstream = torch.ones_like(x)
    return lambda: torch.autograd.grad(function(x), x, upstream)


def straight(draws: Tensor, dtype: torch.dtype) -> Tensor:
    mask = torch.empty(len(draws), dtype=dtype)
    torch.ge(draws, 0, out=mask)
    return mask


def layers(
    width: int, rate: float, words: int, dtype: torch.dtype, entering_rate: float = 0.0
) -> tuple[Callable[[], object], ...]:
    """A layer that spares itself what recurrent dropout empties, and torch's; weights are float32, as in training. With
    a rate of its own for inputs, of which then each sentence has a mask, it spares itself what that empties."""
    x = torch.randn(128, words, width).to(dtype).requires_grad_()
    weights = [(torch.randn(shape) / 16).requires_grad_() for shape in ((4 * width, width),) * 2 + ((4 * width,),)]
    mask, nothing = (torch.rand(width) >= rate) / (1 - rate), torch.zeros(4 * width)
    entering = (torch.rand(128, width) >= entering_rate) / (1 - entering_rate) if entering_rate else None

    def theirs(x: Tensor) -> Tensor:
        start = x.new_zeros(1, len(x), width)
        x = x if entering is None else x * entering[:, None]
        carrying = [weights[0], weights[1] * mask, weights[2], nothing]
        return torch.lstm(x, (start, start), carrying, True, 1, 0.0, True, False, True)[0]

    def trained(function: Callable[[Tensor], Tensor]) -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            said = function(x)
        return torch.autograd.grad(said, [x, *weights], torch.ones_like(said))

    return lambda: trained(lambda x: lstm(x, *weights, mask, entering)), lambda: trained(theirs)


def added(dtype: torch.dtype) -> tuple[Callable[[], object], ...]:
    """What a block adds to a residual stream in float32, and the norm of the sum."""
    norm, x = nn.LayerNorm(128), torch.randn(1_408, 128).requires_grad_()
    more, dropout = torch.randn(1_408, 128).to(dtype).requires_grad_(), drawing(0.4)
    bias = torch.zeros(128, requires_grad=True)
    upstream = [torch.ones(1_408, 128), torch.ones(1_408, 128, dtype=dtype)]

    def trained(function: Callable[[], tuple[Tensor, Tensor]]) -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            total, normed = function()
        return torch.autograd.grad([total, normed.to(dtype)], [x, more, bias, *norm.parameters()], upstream)

    def theirs() -> tuple[Tensor, Tensor]:
        total = x + F.dropout(more + bias.to(dtype), 0.4)
        return total, norm(total)

    return lambda: trained(lambda: add_and_norm(x, more, bias, dropout, norm)), lambda: trained(theirs)


def fed(rows: int, width: int, dtype: torch.dtype) -> tuple[Callable[[], object], ...]:
    """The feed-forward layers of a Transformer, less the last bias."""
    widen, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width, bias=False)
    biased = nn.Linear(4 * width, width)
    biased.weight = narrow.weight
    x = torch.randn(rows, width).to(dtype).requires_grad_()
    wanted, upstream = [x, *widen.parameters(), narrow.weight], torch.ones(rows, width, dtype=dtype)

    def trained(function: Callable[[Tensor], Tensor]) -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            said = function(x)
        return torch.autograd.grad(said, wanted, upstream)

    theirs = nn.Sequential(widen, nn.GELU("tanh"), narrow)
    return lambda: trained(lambda x: feed_forward(x, widen, biased)[0]), lambda: trained(theirs)


def hidden(before: int, after: int, dtype: torch.dtype, share: float = 1.0) -> tuple[Callable[[], object], ...]:
    """A layer of an MLP, of 128 examples, of whose inputs a share, anywhere, is not 0. `before` may be what nobody
    wants a gradient by, the images."""
    x = torch.randn(128, before) * (torch.rand(128, before) < share)
    own, x = Layer(before, after, 0.1), x.to(dtype).requires_grad_(before != PIXELS)
    give_stream(own, torch.Generator().manual_seed(0))
    theirs = nn.Sequential(*[*own][:3], nn.Dropout(0.1))
    wanted = [*own.parameters(), *([x] if x.requires_grad else [])]
    upstream = torch.ones(128, after, dtype=dtype)

    def as_in_an_mlp(x: Tensor) -> Tensor:
        made = compiled.layers(x, [own.parts])
        return own(x) if made is None else made[0]

    def trained(function: Callable[[Tensor], Tensor]) -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            said = function(x)
        return torch.autograd.grad(said, wanted, upstream)

    return lambda: trained(as_in_an_mlp), lambda: trained(theirs)


def stage(channels: int, group: int, side: int, pool: int, dtype: torch.dtype) -> tuple[Callable[[], object], ...]:
    """What follows a convolution of 128 images in a stage of the paper's CNN."""
    own = Stage(1, channels * group, channels, pool, 0.3)
    give_stream(own, torch.Generator().manual_seed(0))
    theirs = nn.Sequential(own.maxout, nn.BatchNorm2d(channels), nn.MaxPool2d(pool), nn.ReLU(), nn.Dropout(0.3))
    x = torch.randn(128, channels * group, side, side).to(dtype).contiguous(memory_format=torch.channels_last)
    upstream = torch.ones(128, channels, side // pool, side // pool, dtype=dtype)
    upstream = upstream.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()

    def trained(function: Callable[[Tensor], Tensor], norm: nn.Module) -> object:
        return torch.autograd.grad(function(x), [x, *norm.parameters()], upstream)

    return lambda: trained(own.finish, own.norm), lambda: trained(theirs, theirs[1])


def convolution(before: int, after: int, side: int, dtype: torch.dtype) -> str:
    """3 x 3, of 128 images by weights in float32: times, and distances from double precision."""
    shapes = (128, before, side, side), (after, before, 3, 3), (128, after, side - 2, side - 2)
    x, weight, upstream = (torch.randn(shape).to(memory_format=torch.channels_last) for shape in shapes)
    x, upstream = x.relu().to(dtype).requires_grad_(), upstream.to(dtype)
    weight.requires_grad_()

    def trained(function: Callable[[Tensor, Tensor], Tensor], *given: Tensor) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=given[0].dtype == torch.bfloat16):
            said = function(*given)
        return [said.detach(), *torch.autograd.grad(said, given, upstream.to(said.dtype))]

    right = trained(F.conv2d, x.double(), weight.double())
    told = []
    for function in (convolve, F.conv2d):
        found = trained(function, x, weight)
        apart = [float((one.double() - other).norm() / other.norm()) for one, other in zip(found, right, strict=True)]
        told.append(" ".join(f"{each:.1e}" for each in apart))
    times = milliseconds(lambda: trained(convolve, x, weight), lambda: trained(F.conv2d, x, weight))
    return f"{times[0]:.1f} {times[1]:.1f}; apart from double precision: {told[0]}, torch's {told[1]}"


def answering(config: CNNConfig) -> Callable[[], object]:
    """500 images in evaluation, in float32 as always there."""
    model = config.build(Spec((28, 28), 10)).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(500, 28, 28)

    def answer() -> object:
        with torch.no_grad():
            return model(images)

    return answer


def attention(words: int, dtype: torch.dtype) -> tuple[Callable[[], object], ...]:
    """Of 128 sentences, eight heads of 16, each word looking at those before it."""
    block = Block(128, 8, 0.6, 0.0)
    block.attention_dropout, block.qkv = drawing(0.6), nn.Identity()
    qkv = torch.randn(128, words, 3 * 128).to(dtype).requires_grad_()
    hidden = torch.full((1, 1, words, words), -1e4).triu(1)
    upstream = torch.ones(128, words, 128, dtype=dtype)
    sizes = torch.empty(128, words, 128)  # what `attend` would make of it, `qkv` is given
    block.qkv.forward = lambda _: qkv  # type: ignore[method-assign]

    def theirs() -> Tensor:
        query, key, value = qkv.view(128, words, 3, 8, -1).permute(2, 0, 3, 1, 4)
        return (
            F.scaled_dot_product_attention(query, key, value, dropout_p=0.6, is_causal=True).transpose(1, 2).flatten(2)
        )

    own = lambda: torch.autograd.grad(block.attend(sizes, hidden), qkv, upstream)  # noqa: E731
    return own, lambda: torch.autograd.grad(theirs(), qkv, upstream)


def drawing(rate: float) -> Dropout:
    dropout = Dropout(rate)
    give_stream(dropout, torch.Generator().manual_seed(0))
    return dropout


def aside(call: Callable[[], object]) -> Callable[[], object]:
    """The same without what is compiled."""

    def without() -> None:
        with put_aside():
            call()

    return without


def milliseconds(*calls: Callable[[], object]) -> list[float]:
    """Of each call, all of them in turn."""
    seen: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, seen, strict=True):
            began = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - began))
    return [median(times) for times in seen]


def main() -> None:
    torch.set_num_threads(1)
    keep_large_blocks()
    known = provenance("cpu")
    print(
        f"{known['device']}, one thread, torch {known['torch']}, commit {known['commit']}, ms: compiled, not, torch's"
    )
    filled, stream = torch.empty(DRAWS // 4, dtype=torch.int64), torch.Generator().manual_seed(0)
    drawn = milliseconds(lambda: fill(filled, stream), aside(lambda: fill(filled, stream)))
    print(f"random words of {DRAWS:,} draws: {drawn[0]:.3f} {drawn[1]:.3f}")
    draws = filled.view(torch.int16)
    for name, config in {"the paper's": CNNConfig(), "the laptop's": LAPTOP_CNN}.items():
        asked = answering(config)
        times = milliseconds(asked, aside(asked))
        print(f"answers of {name} CNN to 500 images: {times[0]:.0f} {times[1]:.0f}")
    for dtype in (torch.bfloat16, torch.float32) if has_bfloat16(torch.device("cpu")) else (torch.float32,):
        for sizes in ((128, 64, 26), (64, 64, 12)):
            before, after, side = sizes
            kind = str(dtype).removeprefix("torch.")
            print(f"convolution of {before} x {side} x {side} to {after}, {kind}: {convolution(*sizes, dtype)}")
        pairs = {
            "layer of an MLP, 784 to 512": hidden(PIXELS, 512, dtype),
            "layer of an MLP, 784 to 512, of which 19 % are not 0": hidden(PIXELS, 512, dtype, 0.19),
            "layer of an MLP, 512 to 128": hidden(512, 128, dtype),
            "after a convolution, 128 x 26 x 26": stage(128, 1, 26, 1, dtype),
            "after a convolution, 64 x 24 x 24, pooled": stage(64, 1, 24, 2, dtype),
            "after a convolution, 16 of 64 x 10 x 10, pooled": stage(16, 4, 10, 2, dtype),
            "dropout of 1,408 x 128, added and normed": added(dtype),
            "feed-forward of 1,408 x 128": fed(1_408, 128, dtype),
            "feed-forward of 1,408 x 256": fed(1_408, 256, dtype),
            "attention of 11 words": attention(11, dtype),
            "attention of 16 words": attention(16, dtype),
            "attention of 24 words": attention(24, dtype),
            "attention of 47 words": attention(47, dtype),
        }
        for width, rate, words in ((256, 0.8, 9), (512, 0.5, 30)):
            pairs[f"LSTM of {width}, {words} words, rate {rate}"] = layers(width, rate, words, dtype)
            few = layers(width, rate, words, dtype, rate)
            pairs[f"LSTM of {width}, {words} words, rate {rate}, of inputs, too"] = few
        for rows in (1_408, 4_096):
            wide = torch.randn(rows, 1_024).to(dtype).requires_grad_()
            theirs = both_ways(lambda x: F.gelu(x, approximate="tanh"), wide)
            pairs[f"GELU of {rows:,} x 1,024"] = both_ways(gelu, wide), theirs
        for words in (11, 24, 32, 47):
            scores = torch.randn(1_024, words, words).to(dtype).requires_grad_()
            theirs = both_ways(lambda x: x.softmax(-1), scores)
            pairs[f"softmax of 1,024 x {words} x {words}"] = both_ways(softmax, scores), theirs
        for name, (own, other) in pairs.items():
            found = milliseconds(own, aside(own), other)
            print(f"{name}, {str(dtype).removeprefix('torch.')}: {' '.join(f'{time:.2f}' for time in found)}")
        x = torch.randn(DRAWS).to(dtype)
        mask = milliseconds(lambda x=x: straight(draws, x.dtype), lambda x=x: (draws >= 0).to(x.dtype))
        print(f"mask of {DRAWS:,} draws, {str(dtype).removeprefix('torch.')}: {mask[0]:.2f} {mask[1]:.2f} by booleans")


if __name__ == "__main__":
    argparse.ArgumentParser("python -m benchmarks.nonlinear", description=__doc__.splitlines()[0]).parse_args()
    main()
