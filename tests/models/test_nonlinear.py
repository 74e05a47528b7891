"""GELU and softmax are torch's own, but for the last bits of a type and of what it is computed with."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as some
from tests.ways import way  # noqa: F401
from torch import Tensor

from distillbias.models import nonlinear
from distillbias.models.nonlinear import REGISTER, gelu, softmax

LAST_BIT = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8, torch.float64: 2.0**-52}
BETWEEN = LAST_BIT | {torch.bfloat16: 2.0**-23}  # bf16 is computed with in float32


def theirs(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def both(function, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """What it says and what its backward says, in float64."""
    x = x.clone().requires_grad_()
    y = function(x)
    assert y.dtype == x.dtype and y.shape == x.shape and y.is_contiguous()
    return y.detach().double(), torch.autograd.grad(y, x, upstream)[0].double()


def drawn(*shape: int, scale: float = 3.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", LAST_BIT)
def test_gelu(dtype: torch.dtype) -> None:
    """The slope is a small difference of what may be large, x d(2u)/dx."""
    x, upstream = drawn(40, 50).to(dtype), drawn(40, 50, seed=1).to(dtype)
    value, gradient = both(gelu, x, upstream)
    right, right_gradient = both(theirs, x.double(), upstream.double())
    z, last, between = x.double(), LAST_BIT[dtype], BETWEEN[dtype]
    large = 1 + 1.6 * (z + 3 * 0.044715 * z**3).abs()
    assert ((value - right).abs() <= right.abs() * last + 4 * between * z.abs()).all()
    assert ((gradient - right_gradient).abs() <= upstream.double().abs() * (2 * last + 4 * between * large)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gelu_of_what_a_bias_is_added_to(dtype: torch.dtype) -> None:
    """A sigmoid of 2u is off by as many roundings of u as u is large: some, at the mean."""
    x, bias, upstream = drawn(2, 20, 50).to(dtype), drawn(50, seed=1).float(), drawn(2, 20, 50, seed=2).to(dtype)
    x.requires_grad_()
    bias.requires_grad_()
    said = gelu(x, bias)
    found = [said, *torch.autograd.grad(said, [x, bias], upstream)]
    exact = [each.detach().double().requires_grad_() for each in (x, bias)]
    right = theirs(exact[0] + exact[1])
    right = [right, *torch.autograd.grad(right, exact, upstream.double())]
    assert [each.dtype for each in found] == [dtype, dtype, torch.float32]
    for one, other in zip(found, right, strict=True):
        assert (one - other).norm() < 8 * LAST_BIT[dtype] * other.norm()


def test_gelu_far_out_is_x_or_nothing() -> None:
    far = torch.tensor([-1e6, -50.0, -0.0, 0.0, 50.0, 1e6])
    value, gradient = both(gelu, far, torch.ones(6))
    assert value.tolist() == [0, 0, 0, 0, 50, 1e6]
    assert gradient.tolist() == [0, 0, 0.5, 0.5, 1, 1]


@pytest.mark.parametrize("dtype", LAST_BIT)
@given(keys=some.integers(1, REGISTER), rows=some.integers(1, 5), seed=some.integers(0, 9))
def test_softmax_of_rows_of_every_length(dtype: torch.dtype, keys: int, rows: int, seed: int) -> None:
    scores, upstream = (drawn(2, rows, keys, seed=each).to(dtype) for each in (seed, seed + 10))
    scores[..., keys // 2 + 1 :] = -1e4  # words that are not seen
    value, gradient = both(softmax, scores, upstream)
    right, right_gradient = both(lambda x: x.softmax(-1), scores.double(), upstream.double())
    last, between = LAST_BIT[dtype], BETWEEN[dtype]
    below = scores.double().amax(-1, keepdim=True) - scores.double()
    assert ((value - right).abs() <= right * (2 * last + between * (4 + below))).all()
    steepest = upstream.double().abs().amax(-1, keepdim=True)
    assert ((gradient - right_gradient).abs() <= steepest * right * 2 * (2 * last + between * (4 + below)) + last).all()
    assert (value[..., keys // 2 + 1 :] == 0).all()


@pytest.mark.parametrize("dtype", LAST_BIT)
@pytest.mark.parametrize("piece", [64, 128, 256])  # whole registers, as PIECE is
@pytest.mark.parametrize("keys", [20, 40])
def test_in_pieces_the_bits_are_the_same(dtype: torch.dtype, piece: int, keys: int, monkeypatch) -> None:
    x, upstream = drawn(8, keys).to(dtype), drawn(8, keys, seed=1).to(dtype)
    whole = [both(function, x, upstream) for function in (gelu, softmax)]
    monkeypatch.setattr(nonlinear, "PIECE", piece)
    for function, expected in zip((gelu, softmax), whole, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(both(function, x, upstream), expected, strict=True))


def test_of_rows_in_any_memory_order() -> None:
    for scores in (drawn(3, 5, 7), drawn(20, 5, 7).bfloat16()):
        turned = scores.transpose(0, 2)
        assert torch.equal(softmax(turned), softmax(turned.contiguous()))
        assert torch.equal(gelu(turned), gelu(turned.contiguous()))


def test_gradients_are_those_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(gelu, drawn(4, 5).requires_grad_())
    assert torch.autograd.gradcheck(softmax, drawn(2, 3, 5).requires_grad_())
