"""How a run is trained, apart from what it learns from: optimiser, schedule, length, batch, penalties, precision."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, inf, pi
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from distillbias.errors import InputError
from distillbias.training import fused_step
from distillbias.training.adam import Adam, Held, RAdam
from distillbias.training.precision import Precision


@runtime_checkable
class Schedule(Protocol):
    """The learning rate as a factor of the recipe's rate, at `step` (from 0) of `total` steps."""

    def factor(self, step: int, total: int) -> float: ...


@dataclass(frozen=True)
class ExponentialDecay:
    """Linear warm-up, a hold, then decay**(steps since / period), continuously (paper-facts F5, "Exp-warm-up")."""

    warmup: int = 0
    hold: int = 0
    period: int = 10_000
    decay: float = 0.96

    def factor(self, step: int, total: int) -> float:
        if step < self.warmup:
            return step / self.warmup
        return self.decay ** (max(0, step - self.warmup - self.hold) / self.period)


@dataclass(frozen=True)
class CosineRestarts:
    """Cosine from 1 to `floor` in `period` steps, then again, `longer` times as long and `lower` as high.

    Loshchilov & Hutter 2017 as TensorFlow's CosineDecayRestarts has it (paper-facts F5).
    """

    period: int = 200_000
    longer: float = 5.0
    lower: float = 0.2
    floor: float = 0.001

    def factor(self, step: int, total: int) -> float:
        length, height = float(self.period), 1.0
        while step >= length:
            step, length, height = int(step - length), length * self.longer, height * self.lower
        return (1 - self.floor) * height * (1 + cos(pi * step / length)) / 2 + self.floor


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up over a share of the run, then half a cosine down to zero at its end."""

    warmup: float = 0.1

    def factor(self, step: int, total: int) -> float:
        peak = max(1, round(self.warmup * total))
        if step < peak:
            return (step + 1) / peak
        return (1 + cos(pi * (step - peak) / max(1, total - peak))) / 2


@dataclass(frozen=True)
class Recipe:
    """`clip` bounds the gradient norm of each parameter tensor by itself, as Keras' clipnorm does (T17); `inf` bounds
    nothing.

    `l1`, `l2` weigh sum |w| and sum w**2 (no 1/2) over all weight matrices, biases and norms left out. `precision` is
    that of products, where a device has it (`precision_on`).
    """

    epochs: int
    batch: int
    rate: float
    schedule: Schedule
    optimizer: Literal["adam", "radam"] = "adam"
    clip: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"epochs is {self.epochs}; a run needs at least 1")
        if self.batch < 2:
            raise InputError(f"batch is {self.batch}; batch norm needs at least 2 examples")
        if not self.rate > 0:
            raise InputError(f"the learning rate is {self.rate}; it must be positive")

    def steps(self, examples: int) -> int:
        """Optimiser steps of the whole run: the examples left over by the last full batch of an epoch wait."""
        per_epoch = examples // self.batch
        if per_epoch == 0:
            raise InputError(f"a batch of {self.batch} is more than the {examples} training examples; make it smaller")
        return self.epochs * per_epoch


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Adam or RAdam with betas .9, .999 and epsilon 1e-8 (F5)."""
    parameters = list(model.parameters())
    make = RAdam if recipe.optimizer == "radam" else Adam
    return make(parameters, lr=recipe.rate, eps=1e-8)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of its next step."""
    if isinstance(optimizer, Held):
        optimizer.set_rate(rate)
        return
    for group in optimizer.param_groups:
        group["lr"] = rate


def weight_matrices(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Those that penalties apply to."""
    return [parameter for parameter in parameters if parameter.ndim > 1]


@torch.no_grad()
def shape_gradients(parameters: Sequence[nn.Parameter], l1: float, l2: float, limit: float) -> None:
    """Penalties of the weight matrices, then clipping: what is between the backward pass and a step."""
    if not (l1 or l2 or limit < inf):
        return
    gradients = [_gradient(parameter) for parameter in parameters]
    if fused_step.usable(parameters, gradients):
        matrix = [parameter.ndim > 1 for parameter in parameters]
        each_l1, each_l2 = ([float(is_one) * penalty for is_one in matrix] for penalty in (l1, l2))
        fused_step.shape_gradients(parameters, gradients, each_l1, each_l2, limit if limit < inf else None)
        return
    if functions := fused_step.natives(parameters, gradients):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            penalties = (l1, l2) if parameter.ndim > 1 else (0.0, 0.0)
            functions("shape_gradient", parameter, gradient, gradient.numel(), *penalties, limit)
        return
    if l1 or l2:
        add_penalty_gradient(weight_matrices(parameters), l1, l2)
    if limit < inf:
        clip_each(parameters, limit)


@torch.no_grad()
def add_penalty_gradient(matrices: Sequence[nn.Parameter], l1: float, l2: float) -> None:
    """Add the gradient of l1 * sum |w| + l2 * sum w**2 to the gradients, without a graph: l1 sign(w) + 2 l2 w."""
    gradients = [_gradient(matrix) for matrix in matrices]
    if l2:
        torch._foreach_add_(gradients, [matrix.detach() for matrix in matrices], alpha=2 * l2)
    if l1:
        torch._foreach_add_(gradients, torch._foreach_sign([matrix.detach() for matrix in matrices]), alpha=l1)


@torch.no_grad()
def clip_each(parameters: Sequence[nn.Parameter], limit: float) -> None:
    """Scale the gradient of each tensor down to norm `limit` if it is longer. Never waits for the device."""
    gradients = [_gradient(parameter) for parameter in parameters]
    norms = torch.stack(torch._foreach_norm(gradients))
    if norms.device.type == "cpu" and norms.max() <= limit:
        return  # to look costs less than to multiply everything by one
    scales = limit / norms.clamp(min=limit)
    torch._foreach_mul_(gradients, list(scales.unbind()))


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, "penalty and clipping come after backward"
    return parameter.grad
