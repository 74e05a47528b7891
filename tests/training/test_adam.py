"""Our Adam is torch's, to the bit, whatever happens between two steps; with held rate it and RAdam are to the last
digits."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from distillbias.errors import InputError
from distillbias.models.native import listened
from distillbias.training.adam import Adam, RAdam, rectified

RATES = (1e-3, 5e-3, 0.0, 2e-2, 1e-3, 1e-4)


def models() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(7, 33), nn.ReLU(), nn.Linear(33, 3))
    return one, copy.deepcopy(one)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, rate: float, number: int, without: int | None) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    inputs = torch.randn(16, 7, generator=torch.Generator().manual_seed(number))
    model(inputs).square().mean().backward()
    if without is not None:
        list(model.parameters())[without].grad = None
    optimizer.step()


@pytest.mark.parametrize("missing", [{}, {0: 1}, {2: 3}, {2: 3, 3: 0}])
@pytest.mark.parametrize("reload_before", [None, 1, 3])
def test_it_takes_the_same_steps(missing: dict[int, int], reload_before: int | None) -> None:
    ours, theirs = models()
    torchs = torch.optim.Adam(theirs.parameters(), lr=1e-3, eps=1e-8, fused=True)
    pairs = [(ours, Adam(ours.parameters(), lr=1e-3, eps=1e-8)), (theirs, torchs)]
    for number, rate in enumerate(RATES):
        if number == reload_before:
            states = [copy.deepcopy(optimizer.state_dict()) for _, optimizer in pairs]
            for (_, optimizer), state in zip(pairs, states, strict=True):
                optimizer.load_state_dict(state)
        for model, optimizer in pairs:
            step(model, optimizer, rate, number, missing.get(number))
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(one, other)
    kept, expected = (optimizer.state_dict()["state"] for _, optimizer in pairs)
    for index, values in expected.items():
        assert kept[index].keys() == values.keys()
        assert all(torch.equal(kept[index][name], value) for name, value in values.items())


def test_a_group_that_comes_later_is_trained() -> None:
    ours, theirs = models()
    optimizers = []
    for model, make in ((ours, Adam), (theirs, partial(torch.optim.Adam, fused=True))):
        first, second = list(model[0].parameters()), list(model[2].parameters())
        optimizer = make(first, lr=1e-2)
        step(model, optimizer, 1e-2, 0, None)
        step(model, optimizer, 1e-2, 1, None)
        optimizer.add_param_group({"params": second, "betas": (0.8, 0.99), "weight_decay": 0.1})
        optimizers.append(optimizer)
        for number in (2, 3, 4):
            step(model, optimizer, 1e-2, number, None)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("hold_before", [0, 3, 9])
@pytest.mark.parametrize("reload_before", [None, 1, 7])
def test_radam_with_a_held_rate_takes_the_same_steps(hold_before: int, reload_before: int | None) -> None:
    """20 steps: five without the adaptive rate, whose variance is infinite there, then with it."""
    ours, theirs = (model.double() for model in models())
    mine, torchs = (
        make(model.parameters(), lr=1e-3, eps=1e-8) for make, model in zip(KINDS, (ours, theirs), strict=True)
    )
    for number in range(20):
        if number == reload_before:
            mine.load_state_dict(copy.deepcopy(mine.state_dict()))
        if number == hold_before:
            mine.hold_rate()
        rate = RATES[number % len(RATES)]
        for model, optimizer in ((ours, mine), (theirs, torchs)):
            if isinstance(optimizer, RAdam):
                optimizer.set_rate(rate)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            inputs = torch.randn(16, 7, generator=torch.Generator().manual_seed(number)).double()
            model(inputs).square().mean().backward()
            optimizer.step()
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(one, other, rtol=1e-6, atol=0)
    assert mine.state_dict()["state"][0]["step"] == torchs.state_dict()["state"][0]["step"] == 20


KINDS = (RAdam, torch.optim.RAdam)


def test_radam_leaves_what_is_frozen_and_refuses_what_thaws() -> None:
    ours, theirs = models()
    pairs = [(ours, RAdam(ours.parameters(), lr=1e-2)), (theirs, torch.optim.RAdam(theirs.parameters(), lr=1e-2))]
    pairs[0][1].hold_rate()
    for model, _ in pairs:
        model[0].weight.requires_grad_(False)
    for number in range(8):
        pairs[0][1].set_rate(1e-2)
        for model, optimizer in pairs:
            step(model, optimizer, 1e-2, number, None)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(ours[0].weight, models()[0][0].weight)
    ours[0].weight.requires_grad_(True)
    with pytest.raises(InputError, match=r"at their steps \[1, 9\]; those that learn must begin together"):
        pairs[0][1].set_rate(1e-2)


def test_radam_as_its_paper_has_it() -> None:
    """Liu et al. 2020, algorithm 2, worked by hand at betas .5 and .5: its rho is at most 3, so it never adapts."""
    assert rectified(1, 0.3, 0.5, 0.5) == (0.0, pytest.approx(0.6))
    # betas .9, .999, step 6: rho = 1999 - 12 * .999^6 / (1 - .999^6) = 5.994, r = .0258
    adaptive, plain = rectified(6, 1.0, 0.9, 0.999)
    power = 0.999**6
    rho = 1999 - 12 * power / (1 - power)
    r = ((rho - 4) * (rho - 2) * 1999 / (1995 * 1997 * rho)) ** 0.5
    assert plain == 0.0 and adaptive == pytest.approx(r * (1 - power) ** 0.5 / (1 - 0.9**6), rel=1e-9)
    assert rectified(5, 1.0, 0.9, 0.999)[0] == 0.0


def many() -> list[nn.Parameter]:
    """Of one more value than threads share, none of whole lanes; one with its channels last."""
    torch.manual_seed(1)
    found = [torch.randn(shape) for shape in ((3, 21846), (7,), (1,), (4, 3, 2, 5))]
    found[3] = found[3].contiguous(memory_format=torch.channels_last)
    return [nn.Parameter(each) for each in found]


def held_steps(kind: type[Adam | RAdam], parameters: list[nn.Parameter], reload_before: int | None = None) -> None:
    optimizer = kind(parameters, lr=1e-3)
    optimizer.hold_rate()
    for number in range(9):
        if number == reload_before:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = kind(parameters, lr=1e-3)
            optimizer.load_state_dict(state)
            optimizer.hold_rate()
        optimizer.set_rate(RATES[number % len(RATES)])
        give_gradients(parameters, number)
        optimizer.step()


def give_gradients(parameters: list[nn.Parameter], number: int) -> None:
    draws = torch.Generator().manual_seed(number)
    for each in parameters:
        gradient = torch.randn(each.shape, generator=draws) * 10.0 ** (number % 4 - 3)
        each.grad = torch.empty_like(each).copy_(gradient)


@pytest.mark.parametrize("kind", [Adam, RAdam])
def test_native_steps_are_those_of_double_precision(kind: type[Adam | RAdam]) -> None:
    ours = many()
    exact = [nn.Parameter(each.detach().double()) for each in ours]
    theirs = getattr(torch.optim, kind.__name__)(exact, lr=1e-3)
    for number in range(9):
        give_gradients(exact, number)
        theirs.param_groups[0]["lr"] = RATES[number % len(RATES)]
        theirs.step()
    heard: list[str] = []
    with listened(lambda bind, tensors: heard.append(bind.args[0].__name__)):  # type: ignore[attr-defined]
        held_steps(kind, ours)
    assert heard == ["adapt"] * len(heard) and len(heard) >= 8 * len(ours)
    for one, other, start in zip(ours, exact, many(), strict=True):
        moved = (other - start).abs()
        assert (moved > 1e-3).float().mean() > 0.5
        assert torch.allclose(one.double(), other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", [Adam, RAdam])
def test_native_steps_have_the_same_bits_on_any_threads_and_from_a_state(
    kind: type[Adam | RAdam], request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    found = []
    for threads, reload_before in ((1, None), (2, None), (1, 1), (2, 6)):
        torch.set_num_threads(threads)
        parameters = many()
        held_steps(kind, parameters, reload_before)
        found.append(parameters)
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))
