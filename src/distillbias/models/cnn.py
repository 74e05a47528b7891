"""The convolutional network of the vision case (paper, Appendix F; details from the authors' `vcnn_mnist7`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillbias.models import compiled
from distillbias.models.dropout import Dropout
from distillbias.models.hooks import hooked
from distillbias.models.output import Output, Shares, batch_norm
from distillbias.tasks.task import Spec


@dataclass(frozen=True)
class CNNConfig:
    """Three stages of convolution, maxout and pooling; the defaults have 112,586 trainable parameters.

    The paper's text names neither the second pooling nor batch norm, ReLU and dropout; the
    authors' code has them (paper-facts F4.3, T20), and so has this.
    """

    shares: ClassVar[Shares] = Shares(gpus=1 / 12)  # four keep a GPU busy, and MLPs still find gaps

    filters: tuple[int, ...] = (128, 64, 64)
    maxout: tuple[int, ...] = (128, 64, 16)
    pools: tuple[int, ...] = (1, 2, 2)
    dropout: float = 0.3

    @property
    def name(self) -> str:
        return "CNN"

    def build(self, spec: Spec) -> nn.Module:
        return CNN(spec, self)


class Maxout(nn.Module):
    """Maximum over groups of *consecutive* channels (Goodfellow et al. 2013)."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Float[Tensor, "batch before row col"]) -> Float[Tensor, "batch channels row col"]:
        if x.shape[1] == self.channels:
            return x
        # over the last axis of maps as they lie, channels-last, in which strides they then stay
        return x.permute(0, 2, 3, 1).unflatten(-1, (self.channels, -1)).amax(-1).permute(0, 3, 1, 2)


def one_channel(images: Float[Tensor, "batch row col"]) -> Float[Tensor, "batch 1 row col"]:
    """In strides channels-last, too: else a GPU makes channels-first of the first stage, and copies it."""
    return images[..., None].permute(0, 3, 1, 2)


PADDED = 16  # of the nine numbers of a patch: a GPU's bf16 products take numbers by the eight


def convolve(
    x: Float[Tensor, "batch before row col"], weight: Float[Tensor, "filters before side side"]
) -> Float[Tensor, "batch filters row_ col_"]:
    """`F.conv2d(x, weight)`; of one channel on a GPU a matrix product, in a third of the time of its convolutions."""
    if x.is_cuda and x.shape[1] == 1:
        return product(x, weight)
    found = compiled.convolve(x, weight, None)
    return F.conv2d(x, weight) if found is None else found


def product(
    x: Float[Tensor, "batch 1 row col"], weight: Float[Tensor, "filters 1 side side"]
) -> Float[Tensor, "batch filters row_ col_"]:
    """`F.conv2d(x, weight)`, in strides channels-last, of a matrix with a row for each patch."""
    side, device = weight.shape[2], x.device.type
    patches = x[:, 0].unfold(1, side, 1).unfold(2, side, 1)  # [batch, row_, col_, side, side]
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    width = -(-(side**2) // PADDED) * PADDED
    rows = torch.zeros(*patches.shape[:3], width, dtype=kind, device=x.device)
    rows[..., : side**2].unflatten(-1, (side, side)).copy_(patches)
    return F.linear(rows, F.pad(weight.flatten(1), (0, width - side**2))).permute(0, 3, 1, 2)


def unbiased(
    convolution: nn.Conv2d,
    norm: nn.Module,
    after: Callable[[Tensor], Tensor],
    x: Float[Tensor, "batch before row col"],
) -> Float[Tensor, "batch filters row_ col_"]:
    """`after(convolution(x))` in training, where `after` begins with `norm`: batch norm takes each channel's mean away
    and the bias with it.

    So the gradient of the bias is zero. To add it and to sum its gradient, rounding error of which Adam would make
    steps, takes 15 % of a step of the paper's CNN on a GPU.
    """
    bias, running = convolution.bias, norm.get_buffer("running_mean").data  # which autograd need not watch
    assert bias is not None
    running.sub_(bias.data)
    x = after(_Unfelt.apply(convolve(x, convolution.weight), bias))
    running.add_(bias.data)
    return x


class _Unfelt(torch.autograd.Function):
    """`x`, on which `bias` has no influence."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(bias)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, torch.zeros_like(*ctx.saved_tensors)


class Stage(nn.Module):
    """Convolution 3 x 3 without padding, maxout, batch norm, ReLU, max pooling, dropout."""

    def __init__(self, before: int, filters: int, maxout: int, pool: int, dropout: float):
        super().__init__()
        self.convolution = nn.Conv2d(before, filters, 3)
        self.maxout = Maxout(maxout)
        self.norm = batch_norm(nn.BatchNorm2d, maxout)
        self.pool = pool
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch before row col"]) -> Float[Tensor, "batch maxout row_ col_"]:
        if hooked(self.convolution):
            return self.finish(self.convolution(x))
        if self.training and self.convolution.out_channels == self.maxout.channels:
            return unbiased(self.convolution, self.norm, self.finish, x)
        found = compiled.convolve(x, self.convolution.weight, self.convolution.bias)
        return self.finish(self.convolution(x) if found is None else found)

    def finish(self, x: Float[Tensor, "batch filters row col"]) -> Float[Tensor, "batch maxout row_ col_"]:
        """What follows the convolution."""
        finished = None if hooked(self.maxout) else compiled.finish(x, self.norm, self.pool, self.dropout)
        if finished is not None:
            return finished
        x = self.norm(self.maxout(x))
        if self.pool > 1:
            x = F.max_pool2d(x, self.pool)
        return self.dropout(F.relu(x))  # after pooling: the same values from a quarter of the work


class CNN(nn.Module):
    """Stages, then the mean over all positions (16-d, `penultimate`), then a linear answer.

    Rows and columns at the paper's sizes: 28 - 26 - 24 - 12 - 10 - 5.
    """

    def __init__(self, spec: Spec, config: CNNConfig):
        super().__init__()
        before = (1, *config.maxout)
        self.stages = nn.ModuleList(
            Stage(*sizes, config.dropout)
            for sizes in zip(before, config.filters, config.maxout, config.pools, strict=False)
        )
        self.answer = nn.Linear(config.maxout[-1], spec.classes)

    def forward(self, images: Float[Tensor, "batch row col"]) -> Output:
        x = one_channel(images)
        hidden = {}
        for depth, stage in enumerate(self.stages):
            x = stage(x)
            hidden[f"stage{depth}"] = x
        pooled = x.mean((2, 3))  # [batch, maxout[-1]]
        return Output(self.answer(pooled), {**hidden, "penultimate": pooled})
