"""The layer that spares itself masked columns, beside torch's own with recurrent weights that are zero there."""

import pytest
import torch
from tests.ways import way  # noqa: F401
from torch import Tensor

from distillbias.models.recurrence import lstm
from distillbias.training.precision import has_bfloat16

WIDTH, INPUTS, BATCH = 12, 7, 5
MASKS = {
    "some": torch.tensor([0.0, 2.0, 0.0, 0.5] * 3),
    "five": torch.tensor([0.0, 2.0, 0.0, 0.5] * 2 + [5.0, 0.0, 0.0, 0.0]),
    "none": torch.zeros(WIDTH),
    "all": torch.full((WIDTH,), 1.25),
}


def given(time: int, dtype: torch.dtype, batch: int = BATCH) -> list[Tensor]:
    """x, weights, bias: each wants a gradient."""
    stream = torch.Generator().manual_seed(time)
    shapes = ((batch, time, INPUTS), (4 * WIDTH, INPUTS), (4 * WIDTH, WIDTH), (4 * WIDTH,))
    return [torch.randn(shape, generator=stream, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def theirs(x: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    start = x.new_zeros(1, len(x), WIDTH)
    weights = [weight_ih, weight_hh * mask.to(x.dtype), bias, torch.zeros_like(bias)]
    return torch.lstm(x, (start, start), weights, True, 1, 0.0, True, False, True)[0]


def both_ways(function, tensors: list[Tensor], mask: Tensor) -> list[Tensor]:
    """What it says, and the gradient of each of `tensors` below an upstream one."""
    said = function(*tensors, mask)
    upstream = torch.randn(said.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(said.dtype)
    return [said.detach(), *torch.autograd.grad(said, tensors, upstream)]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("time", [1, 2, 6])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_it_says_what_torchs_layer_says(mask: Tensor, time: int, dtype: torch.dtype, apart: float) -> None:
    tensors = given(time, dtype)
    for one, other in zip(both_ways(lstm, tensors, mask), both_ways(theirs, tensors, mask), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=apart, atol=apart)


def test_of_one_row() -> None:
    """Then time and rows lie in memory in either order: nothing may write to what the layer above hands down."""
    tensors = given(4, torch.float64, batch=1)
    said = lstm(*tensors, MASKS["some"])
    upstream = torch.ones_like(said)
    torch.autograd.grad(said, tensors, upstream)
    assert torch.equal(upstream, torch.ones_like(said))


def test_of_weights_that_lie_the_other_way() -> None:
    tensors = given(3, torch.float32)
    expected = both_ways(lstm, tensors, MASKS["five"])
    tensors[2] = tensors[2].detach().t().contiguous().t().requires_grad_()
    for one, other in zip(both_ways(lstm, tensors, MASKS["five"]), expected, strict=True):
        assert torch.equal(one, other)


def test_of_more_rows_than_are_multiplied_at_once() -> None:
    tensors = given(4, torch.float32, batch=331)
    for one, other in zip(
        both_ways(lstm, tensors, MASKS["five"]), both_ways(theirs, tensors, MASKS["five"]), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    tensors = given(3, torch.float64)
    assert torch.autograd.gradcheck(lambda *each: lstm(*each, MASKS["some"]), tensors)


def test_in_bf16_it_is_about_as_near_as_torchs() -> None:
    """Both round to 8 bits at each step; torch's keeps the sums of its gates in float32 until they are squashed."""
    exact = both_ways(theirs, given(8, torch.float64), MASKS["some"])
    errors = []
    # torch has no LSTM in bf16 for a processor that does not multiply it
    for function in (lstm, theirs) if has_bfloat16(torch.device("cpu")) else (lstm,):
        with torch.autocast("cpu", torch.bfloat16):
            found = both_ways(function, given(8, torch.float32), MASKS["some"])
        errors.append([float((one - right).norm() / right.norm()) for one, right in zip(found, exact, strict=True)])
    for ours, *torchs in zip(*errors, strict=True):
        assert ours < 0.02 and all(ours < 2 * each for each in torchs)


WIDE, MANY = 24, 37  # in whole vectors; inputs, an odd number of them
FEW = {"two": [3, 36], "none": [], "one": [0], "nine": [*range(1, 37, 4)], "all": [*range(MANY)]}


def narrow(time: int, dtype: torch.dtype) -> tuple[list[Tensor], Tensor, Tensor]:
    """x, weights, bias; the mask of units; factors of inputs: those of FEW, of more sentences random ones."""
    stream = torch.Generator().manual_seed(time)
    shapes = ((BATCH + 2, time, MANY), (4 * WIDE, MANY), (4 * WIDE, WIDE), (4 * WIDE,))
    tensors = [torch.randn(shape, generator=stream, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]
    entering = (torch.rand(BATCH + 2, MANY, generator=stream) > 0.8).float() * 5
    for row, kept in zip(entering, FEW.values(), strict=False):
        row.zero_()[kept] = 5.0
    return tensors, torch.tensor([0.0, 2.0, 0.0, 0.5] * (WIDE // 4)), entering


def said_of_all(tensors: list[Tensor], mask: Tensor, entering: Tensor) -> list[Tensor]:
    """The same of inputs that are multiplied before."""
    return both_ways(lambda x, *rest: lstm(x * entering[:, None].to(x.dtype), *rest), tensors, mask)


@pytest.mark.parametrize("time", [1, 2, 3, 7, 14, 27])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_of_few_inputs(time: int, dtype: torch.dtype, apart: float) -> None:
    tensors, mask, entering = narrow(time, dtype)
    found = both_ways(lambda *each: lstm(*each, entering), tensors, mask)
    for one, other in zip(found, said_of_all(tensors, mask, entering), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=apart, atol=apart)
    assert not found[1][entering[:, None].expand_as(found[1]) == 0].any()  # to the bit: nothing comes through


@pytest.mark.parametrize("factors", [torch.float32, torch.bfloat16])
def test_of_few_inputs_in_bf16(factors: torch.dtype) -> None:
    exact = said_of_all(*narrow(7, torch.float64))
    tensors, mask, entering = narrow(7, torch.float32)
    few = entering.to(factors)  # of the type of what comes in, as a layer of dropout makes them
    with torch.autocast("cpu", torch.bfloat16):
        found = both_ways(lambda *each: lstm(*each, few), tensors, mask), said_of_all(tensors, mask, entering)
    for right, *pair in zip(exact, *found, strict=True):
        few, all_of_them = (float((each - right).norm() / right.norm()) for each in pair)
        assert few < 0.03 and few < 1.5 * all_of_them
