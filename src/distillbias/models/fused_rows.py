"""What a small classifier computes beside its products, of a row for each example, in one kernel each way on a GPU.

A GPU takes a step of a small MLP in the time that its launches take, one after another, and as torch's operators ReLU,
batch norm, dropout and the divergence from a teacher are most of them. In Triton, as `fused.py` is, and the same
functions: `tests/models/test_fused_rows.py` compares them, `results/benchmarks/gpu-h200.txt` has times.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distillbias.models.dropout import Dropout
from distillbias.models.kernels import cdiv, kernels, next_power_of_2, ready

MOST_ROWS = 512  # that a program holds whole, of BLOCK channels
BLOCK = 16
MOST_CLASSES = 256
TILE = 1024  # answers that a program reads at once


def usable(x: Tensor) -> bool:
    """Whether `normalise` can take the place of torch's operators for what a product makes of `x`."""
    return x.is_cuda and len(x) <= MOST_ROWS and ready(x.device)


def normalise(
    x: Float[Tensor, "batch channels"], added: Float[Tensor, " channels"], norm: nn.BatchNorm1d, dropout: Dropout
) -> Float[Tensor, "batch channels"]:
    """`dropout(norm(relu(x + added)))` in training mode; running statistics of `norm` follow.

    `added` is the bias of the product that made `x`: its gradient is summed here, too. What is bf16 is rounded once.
    """
    draws = dropout.draws(x.numel(), x.device)
    return _Normalise.apply(x, added, norm.weight, norm.bias, norm, draws, dropout.first_kept, dropout.scale)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        added: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm1d,
        draws: Tensor | None,
        first_kept: int,
        scale: float,
    ) -> Tensor:
        rows, channels = x.shape
        y, found = torch.empty_like(x), torch.empty(2, channels, dtype=torch.float32, device=x.device)
        cut = {"drop": draws is not None, "size": next_power_of_2(rows), "block": BLOCK}
        kernels(x.device.type).rows.normalise[cdiv(channels, BLOCK),](
            *(x, added, y, y if draws is None else draws, found, weight, bias),
            *(norm.running_mean, norm.running_var, norm.num_batches_tracked),
            *(first_kept, scale, rows, channels, norm.eps, norm.momentum),
            **cut,
        )
        ctx.save_for_backward(x, added, draws, found, weight)
        ctx.drop, ctx.cut = (first_kept, scale), cut
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, added, draws, found, weight = ctx.saved_tensors
        rows, channels = x.shape
        down, slopes = torch.empty_like(x), found.new_empty(3, channels)  # of the norm's bias and weight, of `added`
        kernels(x.device.type).rows.normalise_back[cdiv(channels, BLOCK),](
            *(x, added, upstream.contiguous(), x if draws is None else draws, found, weight, down, slopes),
            *(*ctx.drop, rows, channels),
            **ctx.cut,
        )
        return down, slopes[2], slopes[1], slopes[0], None, None, None, None


def divergence_usable(student: Tensor, teacher: Tensor) -> bool:
    """Whether `divergence` can take the place of torch's operators."""
    return (
        student.is_cuda
        and student.dtype == torch.float32
        and student.requires_grad
        and not teacher.requires_grad
        and student.shape[1] <= MOST_CLASSES
        and ready(student.device)
    )


def divergence(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: float, factor: float
) -> Float[Tensor, " batch"]:
    """`factor` times KL(teacher || student) of the answers softened by `temperature`, in nats; no gradient goes to the
    teacher."""
    return _Diverge.apply(student.contiguous(), teacher.contiguous(), temperature, factor)


class _Diverge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float, factor: float) -> Tensor:
        rows, classes = student.shape
        block = next_power_of_2(classes)
        cut = {"tile": max(1, TILE // block), "block": block}
        losses = torch.empty(rows, dtype=torch.float32, device=student.device)
        kernels(student.device.type).rows.diverge[cdiv(rows, cut["tile"]),](
            student, teacher, losses, temperature, factor, rows, classes, **cut
        )
        ctx.save_for_backward(student, teacher)
        ctx.temperature, ctx.factor, ctx.cut = temperature, factor, cut
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        student, teacher = ctx.saved_tensors
        rows, classes = student.shape
        down = torch.empty_like(student)
        kernels(student.device.type).rows.diverge_back[cdiv(rows, ctx.cut["tile"]),](
            *(student, teacher, upstream.contiguous(), down),
            *(ctx.temperature, ctx.factor, rows, classes),
            **ctx.cut,
        )
        return down, None, None, None
