"""Schedules by hand, penalties against autograd, clipping against PyTorch's own, one tensor at a time."""

from collections.abc import Callable
from contextlib import nullcontext
from math import cos, inf, nan, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distillbias.errors import InputError
from distillbias.models.native import put_aside
from distillbias.training.adam import Adam, RAdam
from distillbias.training.recipe import (
    CosineRestarts,
    ExponentialDecay,
    Recipe,
    WarmupCosine,
    add_penalty_gradient,
    clip_each,
    make_optimizer,
    shape_gradients,
    weight_matrices,
)


def test_exponential_decay_of_the_vision_case_ends_at_half() -> None:
    schedule = ExponentialDecay(period=10_000, decay=0.96)
    assert schedule.factor(0, 0) == 1
    assert 1e-4 * schedule.factor(187_200, 187_200) == pytest.approx(4.7e-5, rel=0.01)  # F5.3


def test_exponential_decay_warms_up_and_holds() -> None:
    schedule = ExponentialDecay(warmup=5000, hold=1000, period=1000, decay=0.96)
    assert [schedule.factor(step, 0) for step in (0, 2500, 5000, 6000, 7000)] == pytest.approx([0, 0.5, 1, 1, 0.96])


def test_cosine_of_the_vision_case_never_restarts() -> None:
    schedule = CosineRestarts(period=200_000, longer=5.0, lower=0.2, floor=0.001)
    factors = [schedule.factor(step, 0) for step in range(0, 187_201, 1000)]
    assert factors == sorted(factors, reverse=True)
    assert 1e-4 * factors[-1] == pytest.approx(1e-6, rel=0.3)  # F5.3: ends at about 1e-6


def test_cosine_restarts_longer_and_lower() -> None:
    schedule = CosineRestarts(period=10, longer=2.0, lower=0.9, floor=0.0)
    assert schedule.factor(10, 0) == pytest.approx(0.9)
    assert schedule.factor(20, 0) == pytest.approx(0.9 * (1 + cos(pi / 2)) / 2)
    assert schedule.factor(30, 0) == pytest.approx(0.81)


@given(st.integers(1, 500))
def test_warmup_cosine_peaks_once_and_ends_near_zero(total: int) -> None:
    factors = [WarmupCosine(0.1).factor(step, total) for step in range(total)]
    assert max(factors) == pytest.approx(1)
    assert min(factors) > 0 and (total < 50 or factors[-1] < 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"epochs": -3}, "epochs is -3"), ({"batch": 1}, "batch is 1"), ({"rate": 0.0}, "learning rate is 0.0")],
)
def test_recipes_refuse_nonsense(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**({"epochs": 1, "batch": 8, "rate": 1e-3, "schedule": WarmupCosine()} | change))


def test_steps_leave_the_rest_of_an_epoch_out() -> None:
    recipe = Recipe(400, 128, 1e-4, WarmupCosine())
    assert recipe.steps(60_000) == 187_200  # F5.3
    with pytest.raises(InputError, match="batch of 128 is more than the 100"):
        recipe.steps(100)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()


def test_penalty_gradient_is_that_of_autograd() -> None:
    x, target = torch.randn(7, 5).double(), torch.randn(7, 3).double()
    model = network()
    matrices = weight_matrices(model.parameters())
    assert [tuple(matrix.shape) for matrix in matrices] == [(4, 5), (3, 4)]  # no biases, no norms
    loss = (model(x) - target).square().mean()
    penalty = sum(0.01 * w.abs().sum() + 0.02 * w.square().sum() for w in matrices)
    expected = torch.autograd.grad(loss + penalty, matrices)
    (model(x) - target).square().mean().backward()
    add_penalty_gradient(matrices, l1=0.01, l2=0.02)
    for matrix, gradient in zip(matrices, expected, strict=True):
        torch.testing.assert_close(matrix.grad, gradient)


def test_each_tensor_is_clipped_by_itself() -> None:
    model = network()
    for scale, parameter in zip((10.0, 0.01, 3.0, 0.5, 100.0, 1e-6), model.parameters(), strict=True):
        parameter.grad = torch.randn_like(parameter) * scale
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    for gradient in expected:
        gradient.mul_(min(1.0, 1.0 / gradient.norm().item()))
    clip_each(list(model.parameters()), 1.0)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


SHAPES = [(1,), (15,), (16, 1), (31, 33), (1024,), (3, 1024), (17, 257), (8, 4, 3, 3)]


@pytest.mark.parametrize("limit", [inf, 3.0, 1e-3])
@pytest.mark.parametrize("l1, l2", [(0.0, 0.0), (0.1, 0.0), (0.0, 0.2), (0.1, 0.2)])
@pytest.mark.parametrize("way", [nullcontext, put_aside])
def test_both_ways_shape_gradients_as_double_precision_does(way: Callable, l1: float, l2: float, limit: float) -> None:
    random = torch.Generator().manual_seed(1)
    parameters = [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]
    parameters[-1].data = parameters[-1].data.to(memory_format=torch.channels_last)
    parameters[3].data[0, :7] = 0.0  # which a sum of |w| does not push anywhere
    expected = []
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.randn_like(parameter) * 10.0 ** (number % 4 - 2)
        gradient, weight = parameter.grad.double(), parameter.detach().double()
        if parameter.ndim > 1:
            gradient = gradient + l1 * weight.sign() + 2 * l2 * weight
        expected.append(gradient * min(1.0, limit / gradient.norm().item()))
    with way():
        shape_gradients(parameters, l1, l2, limit)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad.double(), gradient, rtol=3e-6, atol=1e-7 * float(gradient.norm()))


@pytest.mark.parametrize("way", [nullcontext, put_aside])
@pytest.mark.parametrize("bad", [nan, inf])
def test_what_is_not_finite_stays_so(way: Callable, bad: float) -> None:
    """Or a training that has diverged would go on as if it had not."""
    for in_weight in (True, False):
        parameter = nn.Parameter(torch.ones(5, 300))
        parameter.grad = torch.ones(5, 300)
        (parameter.data if in_weight else parameter.grad)[2, 3] = bad
        with way():
            shape_gradients([parameter], 0.0, 0.1, 1.0)
        assert not parameter.grad.isfinite().all()


def test_optimizers_by_name() -> None:
    kinds = [type(make_optimizer(network(), Recipe(1, 8, 1e-3, WarmupCosine(), name))) for name in ("adam", "radam")]
    assert kinds == [Adam, RAdam]
