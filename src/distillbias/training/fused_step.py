"""Penalties, clipping, and the steps of Adam and RAdam, each in one launch for up to 32 tensors on a GPU; and whether
native functions serve on a CPU, which take one tensor after another.

Torch's operators over lists of tensors cut them into pieces of 65,536 values, so a matrix of the MLP, the largest,
keeps seven of a GPU's many processors busy; and clipping each by a norm of its own is a launch for each. Here each
block of 1,024 values has a program. The same sums, in an order that is the same each time:
`tests/training/test_fused_step.py` compares them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from distillbias.models.dropout import dense
from distillbias.models.kernels import cdiv, kernels, next_power_of_2, ready
from distillbias.models.native import Native, native

BLOCK = 1024
TOGETHER = 32  # tensors of a launch, whose addresses it carries

Tensors = Sequence[Tensor]


def usable(parameters: Tensors, *beside: Tensors) -> bool:
    """Whether all lie on a GPU, dense, in float32, and what is beside each parameter in the same order in memory."""
    return all(each.is_cuda for each in parameters) and ready(parameters[0].device) and plain(parameters, *beside)


def natives(parameters: Tensors, *beside: Tensors) -> Native | None:
    """Native functions, if on a CPU all lie so."""
    return native(parameters[0], torch.float32) if plain(parameters, *beside) else None


def plain(parameters: Tensors, *beside: Tensors) -> bool:
    return all(each.dtype == torch.float32 and dense(each) for each in parameters) and all(
        alike(each, other) for others in beside for each, other in zip(parameters, others, strict=True)
    )


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape have their values in the same order in memory."""
    return one.dtype == other.dtype and all(
        count == 1 or mine == its for count, mine, its in zip(one.shape, one.stride(), other.stride(), strict=True)
    )


class Cut(NamedTuple):
    """Of some tensors: the first program of each, its values; then how many programs there are, how many of one."""

    some: slice
    firsts: tuple[int, ...]
    sizes: tuple[int, ...]
    programs: int
    most: int


def cuts(tensors: Tensors) -> Iterator[Cut]:
    for start in range(0, len(tensors), TOGETHER):
        some = slice(start, start + TOGETHER)
        sizes = tuple(each.numel() for each in tensors[some])
        blocks = [cdiv(size, BLOCK) for size in sizes]
        firsts = tuple(sum(blocks[:place]) for place in range(len(blocks)))
        yield Cut(some, firsts, sizes, sum(blocks), max(blocks))


def shape_gradients(
    parameters: Tensors, gradients: Tensors, l1: Sequence[float], l2: Sequence[float], limit: float | None
) -> None:
    """Adds to each gradient that of l1 * sum |w| + l2 * sum w**2, by the tensor's own l1 and l2, and scales it down to
    norm `limit` if it is longer then."""
    for some, firsts, sizes, programs, most in cuts(parameters):
        sums = torch.empty(programs, dtype=torch.float32, device=parameters[0].device)
        weights, slopes = tuple(parameters[some]), tuple(gradients[some])
        kernels(parameters[0].device.type).steps.penalise[programs,](
            *(weights, slopes, firsts, sizes, tuple(l1[some]), tuple(l2[some]), sums), block=BLOCK
        )
        if limit is not None:
            kernels(parameters[0].device.type).steps.clip[programs,](
                slopes, firsts, sizes, sums, limit, block=BLOCK, most=next_power_of_2(most)
            )


def adapt(
    parameters: Tensors,
    gradients: Tensors,
    means: Tensors,
    squares: Tensors,
    numbers: Tensor,
    counts: Tensor | None,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """A step of Adam by the rate in `numbers`, of which `counts` has each tensor's number; without counts one of RAdam,
    by the (adaptive, plain) in `numbers`."""
    rests = 1 - betas[0], 1 - betas[1]
    for some, firsts, sizes, programs, _ in cuts(parameters):
        state = (tuple(each[some]) for each in (parameters, gradients, means, squares))
        kernels(parameters[0].device.type).steps.adapt[programs,](
            *(*state, firsts, sizes, numbers, numbers if counts is None else counts[some], *rests, eps),
            rectified=counts is None,
            block=BLOCK,
        )
