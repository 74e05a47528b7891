"""What words add to an LSTM's gates by the products with inputs that dropout lets through, beside those of all."""

import pytest
import torch
from torch import Tensor

from distillbias.models import compiled, recurrence
from distillbias.models.native import native, put_aside

GATES = 128  # in whole vectors
KEPT = [[3, 36], [], [0], [*range(1, 37, 4)], [*range(37)]]


@pytest.mark.parametrize(("time", "many"), [*((time, 37) for time in (1, 2, 3, 12, 13, 25, 51)), (4, 1200)])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 3e-7), (torch.bfloat16, 2**-8)])
def test_products_with_few_inputs(time: int, many: int, dtype: torch.dtype, apart: float) -> None:
    """Each of them is of numbers as they are rounded, its sum is rounded once. 51 words are never read at once; of
    1,200 inputs not all weights stay in a cache."""
    functions = native(torch.empty(0, dtype=dtype))
    assert functions is not None
    stream = torch.Generator().manual_seed(time)
    x = torch.randn(len(KEPT), time, many, generator=stream).to(dtype)
    weight = torch.randn(GATES, many, generator=stream)
    entering = torch.zeros(len(x), many)
    for row, kept in zip(entering, KEPT, strict=True):
        row[kept] = 5.0
    batch, gates = len(KEPT), GATES
    columns, found = x.new_empty(many, gates), x.new_empty(time, batch, gates)
    functions("enter", x, entering, weight, columns, found, batch, time, many, gates)
    chosen = (x * entering[:, None]).to(dtype).double()
    rounded = weight.to(dtype).double()
    assert torch.equal(columns.double(), rounded.T)
    assert_sums(found, (chosen @ rounded.T).transpose(0, 1), (chosen.abs() @ rounded.abs().T).transpose(0, 1), apart)

    slopes = torch.randn(found.shape, generator=stream).to(dtype)
    on_x, on_weight = torch.empty_like(x), torch.empty_like(weight)
    functions("enter_back", slopes, x, entering, columns, on_x, on_weight, batch, time, many, gates)
    mine, factors = slopes.double().transpose(0, 1), entering.double()[:, None]
    assert_sums(on_x, mine @ rounded * factors, mine.abs() @ rounded.abs() * factors, apart)
    of_weight, at_most = (a.flatten(0, 1).T @ b.flatten(0, 1) for a, b in ((mine, chosen), (mine.abs(), chosen.abs())))
    assert_sums(on_weight, of_weight, at_most, 1e-6)


def assert_sums(found: Tensor, right: Tensor, at_most: Tensor, apart: float) -> None:
    """`apart` of the sum where that is rounded, and what rounding in float32 can do to sums of numbers as large."""
    assert found.shape == right.shape and found.isfinite().all()
    assert ((found.double() - right).abs() <= apart * right.abs() + 1e-6 * at_most).all()


def test_where_few_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 wherever many are dropped out; where torch's products take longer, always, and in bf16 there alone."""
    x, rates = torch.randn(2, 3, 4), (0.0, 0.3, 0.5, 0.8)
    for width, amds, exact, rounded in (
        ("AVX2", True, "0011", "0000"),
        ("AVX512", False, "0011", "0000"),
        ("AVX512", True, "1111", "0011"),
    ):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda width=width: width)
        monkeypatch.setattr(compiled, "_is_amds", lambda amds=amds: amds)
        assert took(x, rates) == exact and took(x.bfloat16(), rates) == rounded
        with torch.autocast("cpu", torch.bfloat16):
            assert took(x, rates) == rounded
        assert took(x.double(), rates) == "0000"
        with put_aside():
            assert took(x, rates) == "0000"


def took(x: Tensor, rates: tuple[float, ...]) -> str:
    return "".join(str(int(recurrence.takes_few(x, rate))) for rate in rates)
