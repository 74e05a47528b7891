"""Penalties, clipping and steps in a launch each, beside torch's operators in double precision."""

import copy

import pytest
import torch
from torch import Tensor, nn

from distillbias.training import fused_step
from distillbias.training.adam import Adam, RAdam, rectified
from distillbias.training.recipe import add_penalty_gradient, clip_each, shape_gradients, weight_matrices

pytest.importorskip("triton")  # where torch has no builds for GPUs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BETAS, EPS = (0.9, 0.999), 1e-8
RATES = (1e-3, 5e-3, 0.0, 2e-2, 1e-3, 1e-4)


@pytest.fixture(autouse=True, params=[2, 32])
def few_together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_step, "TOGETHER", request.param)


def tensors(seed: int = 0) -> list[Tensor]:
    """One of several blocks, one with its channels last."""
    draws = torch.Generator().manual_seed(seed)
    shapes = (3, 1000), (7,), (1,), (4, 3, 2, 5), (1024,)
    found = [torch.randn(shape, generator=draws).to(DEVICE) for shape in shapes]
    found[3] = found[3].contiguous(memory_format=torch.channels_last)
    return found


def near(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(
        torch.allclose(one.double(), other, rtol=1e-5, atol=1e-7) for one, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("penalty", [(0.0, 0.0), (0.3, 0.0), (0.3, 0.02)])
@pytest.mark.parametrize("limit", [None, 20.0])
def test_gradients_are_shaped_as_by_torch(penalty: tuple[float, float], limit: float | None) -> None:
    weights, gradients = tensors(), tensors(1)
    weights[0][1, 3:50] = 0  # where the slope of |w| is none
    pairs = [nn.Parameter(weight.double()) for weight in weights]
    for weight, gradient in zip(pairs, gradients, strict=True):
        weight.grad = gradient.double()
    add_penalty_gradient(weight_matrices(pairs), *penalty)
    if limit is not None:
        clip_each(pairs, limit)
    l1, l2 = ([each * (weight.ndim > 1) for weight in weights] for each in penalty)
    fused_step.shape_gradients(weights, gradients, l1, l2, limit)
    assert near(gradients, [weight.grad for weight in pairs])  # type: ignore[misc]
    if limit is not None:
        norms = [gradient.norm().item() for gradient in gradients]
        assert norms[0] == pytest.approx(limit) and norms[1] < limit


def test_a_norm_that_is_no_number_is_not_hidden() -> None:
    weights, gradients = tensors(), tensors(1)
    gradients[0][2, 999] = torch.nan
    fused_step.shape_gradients(weights, gradients, [0.0] * 5, [0.0] * 5, 1.0)
    assert gradients[0].isnan().all() and not any(each.isnan().any() for each in gradients[1:])


def test_steps_are_those_of_torchs_adam() -> None:
    weights, means, squares = tensors(), *([torch.zeros_like(each) for each in tensors()] for _ in range(2))
    exact = [nn.Parameter(weight.double()) for weight in weights]
    theirs = torch.optim.Adam(exact, betas=BETAS, eps=EPS)
    for number, rate in enumerate(RATES, 1):
        gradients = tensors(number)
        for weight, gradient in zip(exact, gradients, strict=True):
            weight.grad = gradient.double()
        theirs.param_groups[0]["lr"] = rate
        theirs.step()
        counts = torch.full((len(weights),), float(number), device=DEVICE)
        held = torch.tensor(rate, device=DEVICE)
        fused_step.adapt(weights, gradients, means, squares, held, counts, BETAS, EPS)
    assert near(weights, [weight.detach() for weight in exact])
    assert near(squares, [theirs.state[weight]["exp_avg_sq"] for weight in exact])


def test_each_tensor_has_its_own_number_of_steps() -> None:
    """The first step of any: by its rate against the gradient's sign. At step 3 with nothing kept, by hand."""
    weights, gradients = tensors(), tensors(1)
    before = [weight.clone() for weight in weights]
    means, squares = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    counts = torch.tensor([1.0, 3.0, 1.0, 1.0, 3.0], device=DEVICE)
    fused_step.adapt(weights, gradients, means, squares, torch.tensor(0.5, device=DEVICE), counts, BETAS, 1e-12)
    third = 0.5 * (0.1 / (1 - 0.9**3)) / (0.001 / (1 - 0.999**3)) ** 0.5
    for weight, start, gradient, count in zip(weights, before, gradients, counts.tolist(), strict=True):
        size = 0.5 if count == 1 else third
        assert torch.allclose(start - weight, size * gradient.sign(), rtol=1e-4, atol=1e-5)


def test_steps_are_those_of_torchs_radam() -> None:
    weights, means, squares = tensors(), *([torch.zeros_like(each) for each in tensors()] for _ in range(2))
    exact = [nn.Parameter(weight.double()) for weight in weights]
    theirs = torch.optim.RAdam(exact, betas=BETAS, eps=EPS)
    for number in range(1, 10):  # the first five without the adaptive rate
        gradients, rate = tensors(number), RATES[number % len(RATES)]
        for weight, gradient in zip(exact, gradients, strict=True):
            weight.grad = gradient.double()
        theirs.param_groups[0]["lr"] = rate
        theirs.step()
        held = torch.tensor(rectified(number, rate, *BETAS), device=DEVICE)
        fused_step.adapt(weights, gradients, means, squares, held, None, BETAS, EPS)
    assert near(weights, [weight.detach() for weight in exact])


def test_only_dense_float32_on_a_gpu_in_one_order() -> None:
    weights = tensors()
    there = DEVICE == "cuda"
    assert fused_step.usable(weights, tensors(1)) == there
    assert not fused_step.usable([each.double() for each in weights])
    assert not fused_step.usable([weights[0][:, ::2]])
    assert not fused_step.usable(weights, [*tensors(1)[:3], weights[3].contiguous(), weights[4]])
    one_channel = torch.empty(4, 1, 3, 3)
    assert fused_step.alike(one_channel, one_channel.contiguous(memory_format=torch.channels_last))


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
@pytest.mark.parametrize("kind", [Adam, RAdam])
def test_on_a_gpu_steps_with_a_held_rate_go_this_way(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)).to(DEVICE).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(model).double()
    ours = kind(model.parameters(), lr=1e-3)
    theirs = getattr(torch.optim, kind.__name__)(exact.parameters(), lr=1e-3)
    ours.hold_rate()
    taken = []
    whole = fused_step.adapt
    monkeypatch.setattr(fused_step, "adapt", lambda *given: (taken.append(given), whole(*given)))
    for number in range(8):
        if number == 4:  # as after a checkpoint
            ours.load_state_dict(ours.state_dict())
            ours.hold_rate()
        ours.set_rate(1e-3)
        for each, optimizer in ((model, ours), (exact, theirs)):
            optimizer.zero_grad()
            x = torch.randn(5, 3, 7, 7, generator=torch.Generator().manual_seed(number)).to(DEVICE)
            each(x.to(next(each.parameters()).dtype)).square().mean().backward()
            shape_gradients(list(each.parameters()), 1e-3, 1e-3, 0.5)
            optimizer.step()
    assert len(taken) >= 6
    assert near(list(model.parameters()), [each.detach() for each in exact.parameters()])
