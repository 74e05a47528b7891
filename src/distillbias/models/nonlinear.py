"""GELU and softmax for CPUs: the same functions as torch's own, to rounding, in four fifths and half of the time.

`benchmarks/nonlinear.py` measured, forward and backward, bf16, one thread of an AMD EPYC: GELU of 1,408 x 1,024 values
4.8 ms beside torch's 5.9, softmax of 1,024 x 11 x 11 scores 0.9 beside 2.1. On other devices torch's own are used.
"""

from math import pi, sqrt
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

REGISTER = 64  # bytes: torch's softmax takes shorter rows number by number


def gelu(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3): the tanh approximation of Hendrycks & Gimpel 2016.

    It is x sigmoid(2u), and a sigmoid costs a CPU much less than a tanh.
    """
    return _Gelu.apply(x) if x.device.type == "cpu" else F.gelu(x, approximate="tanh")


def softmax(scores: Float[Tensor, "*any keys"]) -> Float[Tensor, "*any keys"]:
    """Over the last axis. Short rows are turned on their side, so that a processor takes many of them at a time."""
    short = scores.shape[-1] * scores.element_size() < REGISTER
    return _ShortSoftmax.apply(scores) if short and scores.device.type == "cpu" else scores.softmax(-1)


class _Gelu(torch.autograd.Function):
    """Keeps the slope instead of x, because all it is made of is at hand in the forward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        first, third = 2 * sqrt(2 / pi), 0.044715  # 2u = first (x + third x^3)
        z = x.to(torch.promote_types(x.dtype, torch.float32))
        u2 = torch.addcmul(z, z * z, z, value=third).mul_(first)
        if not ctx.needs_input_grad[0]:
            return u2.sigmoid_().mul_(z).to(x.dtype)
        gate = u2.sigmoid()
        # the slope is gate + gate (1 - gate) x d(2u)/dx, and x d(2u)/dx = 3 (2u) - 2 first x
        slope = u2.add_(z, alpha=-2 * first / 3)
        slope.addcmul_(slope, gate, value=-1)
        ctx.save_for_backward(torch.addcmul(gate, gate, slope, value=3, out=slope).to(x.dtype))
        return gate.mul_(z).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return upstream * slope


class _ShortSoftmax(torch.autograd.Function):
    """Softmax down the columns of [keys, rows]."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        columns = _on_their_side(scores).softmax(0)
        ctx.save_for_backward(columns)
        return columns.t().contiguous().view(scores.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (columns,) = ctx.saved_tensors
        slopes = torch._softmax_backward_data(_on_their_side(upstream), columns, 0, columns.dtype)
        return slopes.t().contiguous().view(upstream.shape)


def _on_their_side(x: Float[Tensor, "*any keys"]) -> Float[Tensor, "keys rows"]:
    return x.reshape(-1, x.shape[-1]).t().contiguous()
