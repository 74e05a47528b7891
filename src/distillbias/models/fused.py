"""Maxout, batch norm, max pooling, ReLU and dropout, as they follow a convolution in training, in few kernels.

A GPU takes a step of a small CNN in the time that its memory takes. As torch's operators, what lies between two
convolutions reads or writes 24 times as much as the maps are, here 12 times, draws of dropout included. The kernels are
in Triton, which comes with torch's builds for GPUs. The same function of the same draws: `tests/models/test_fused.py`
compares them, on a machine without a GPU in Triton's interpreter. `results/benchmarks/gpu-h200.txt` has times.

Maps are channels-last: to a kernel a matrix with a row for each pixel, [pixels, channels], and what it writes has a row
for each window of the pooling. Sums are in float32, in an order that is the same each time.
"""

from math import prod
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distillbias.models.dropout import MOST, Dropout
from distillbias.models.kernels import cdiv, kernels, next_power_of_2, ready

TILE, SUMMED = 1024, 4096  # values that a program reads at once; where all that it does is to sum them
PROGRAMS = 528  # that share a sum: four for each multiprocessor of a large GPU


def usable(x: Tensor) -> bool:
    """Whether `finish` can take the place of torch's operators."""
    return x.is_cuda and x.numel() < MOST and ready(x.device)


def finish(
    x: Float[Tensor, "batch before row col"], norm: nn.BatchNorm2d, pool: int, dropout: Dropout
) -> Float[Tensor, "batch channels row_ col_"]:
    """`compiled.finish`, of maps that are channels-last."""
    sizes = Sizes.of(x, norm.num_features, pool)
    draws = dropout.draws(prod(sizes.shape), x.device)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return _Finish.apply(x, norm.weight, norm.bias, norm, sizes, draws, dropout.first_kept, dropout.scale)


class Sizes(NamedTuple):
    """Of maps and of how they are cut."""

    shape: tuple[int, int, int, int]  # of what is written
    group: int  # channels of which maxout takes the largest
    pool: int
    block: int  # channels, made a power of two
    pixels: "Rows"  # of what is read
    windows: "Rows"  # of what is written

    @classmethod
    def of(cls, x: Tensor, channels: int, pool: int) -> "Sizes":
        batch, before, rows, columns = x.shape
        shape = batch, channels, rows // pool, columns // pool
        block, group = next_power_of_2(channels), before // channels
        read = block * next_power_of_2(group * pool**2)  # values of a window
        pixels = Rows(batch * rows * columns, max(1, SUMMED // read))
        windows = Rows(batch * shape[2] * shape[3], max(1, TILE // read))
        return cls(shape, group, pool, block, pixels, windows)


class Rows(NamedTuple):
    """In tiles; a program that sums takes a part of some tiles."""

    total: int
    tile: int

    @property
    def tiles(self) -> int:
        return cdiv(self.total, self.tile)

    @property
    def part(self) -> int:
        return cdiv(self.tiles, PROGRAMS)

    @property
    def programs(self) -> int:
        return cdiv(self.tiles, self.part)


class _Finish(torch.autograd.Function):
    """Where y is 0 nothing passed ReLU and dropout, so backward needs no draws; what was largest it finds again."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm2d,
        sizes: Sizes,
        draws: Tensor | None,
        first_kept: int,
        scale: float,
    ) -> Tensor:
        channels, pixels, windows = sizes.shape[1], sizes.pixels, sizes.windows
        cut = {"group": sizes.group, "block": sizes.block}
        y = torch.empty(sizes.shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        sums = torch.empty(2, channels, pixels.programs, dtype=torch.float32, device=x.device)
        kernels(x.device.type).maps.sum_values[pixels.programs,](
            x, sums, pixels.total, channels, pixels.part, rows=pixels.tile, **cut
        )
        found = torch.empty(2, channels, dtype=torch.float32, device=x.device)  # mean, 1 / deviation
        kernels(x.device.type).maps.keep_statistics[channels,](
            sums,
            found,
            norm.running_mean,
            norm.running_var,
            pixels.total,
            pixels.part * pixels.tile,
            norm.eps,
            norm.momentum,
            pixels.programs,
            block=next_power_of_2(pixels.programs),
        )
        kernels(x.device.type).maps.finish[windows.tiles,](
            x,
            y,
            y if draws is None else draws,
            found,
            weight,
            bias,
            first_kept,
            scale,
            sizes.shape[3],
            windows.total,
            channels,
            drop=draws is not None,
            pool=sizes.pool,
            rows=windows.tile,
            **cut,
        )
        ctx.save_for_backward(x, y, found, weight, bias)
        ctx.sizes, ctx.scale = sizes, 1.0 if draws is None else scale
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, y, found, weight, bias = ctx.saved_tensors
        sizes: Sizes = ctx.sizes
        channels, windows = sizes.shape[1], sizes.windows
        cut = {"group": sizes.group, "pool": sizes.pool, "rows": windows.tile, "block": sizes.block}
        given = x, y, upstream.contiguous(memory_format=torch.channels_last), found, weight, bias
        places = sizes.shape[3], windows.total, channels
        sums = torch.empty(2, channels, windows.programs, dtype=torch.float32, device=x.device)
        kernels(x.device.type).maps.sum_slopes[windows.programs,](*given, sums, ctx.scale, *places, windows.part, **cut)
        slopes = torch.empty(2, channels, dtype=torch.float32, device=x.device)  # of bias and weight
        kernels(x.device.type).maps.add[2 * channels,](
            sums, slopes, windows.programs, block=next_power_of_2(windows.programs)
        )
        down = torch.empty_like(x)
        kernels(x.device.type).maps.pass_down[windows.tiles,](
            *given, slopes, down, ctx.scale, sizes.pixels.total, *places, **cut
        )
        return down, slopes[1], slopes[0], None, None, None, None, None
