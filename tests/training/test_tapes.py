"""What a tape holds, plays, and does not take for a step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests import tiny
from torch import Tensor, nn

from distillbias.models.dropout import fill, give_stream
from distillbias.models.native import heard, put_aside
from distillbias.training import arena, tapes
from distillbias.training.arena import Arena
from distillbias.training.seeds import stream
from distillbias.training.tapes import Tape, recorder, replaced, within

Take = Callable[[], Tensor]


def test_it_plays_what_changes_what_is_new_and_what_several_operators_give() -> None:
    x, sums = torch.arange(4.0), torch.zeros(2)

    def step() -> Tensor:
        values, places = x.view(2, 2).max(1)
        sums.add_(values.to(torch.bfloat16).float() * 2)
        return sums.sum() + places.sum()

    tape = Tape()
    loss = tape.record(step)
    assert loss == 2 * (1 + 3) + 2 and tape.playable and tape.settle(Arena())
    x.copy_(torch.tensor([7.0, 6, 5, 4]))
    assert tape.play() == 8 + 2 * (7 + 5) + 0
    assert tape.play() == 8 + 4 * (7 + 5)


def test_draws_are_new_each_time_and_the_stream_is_where_it_would_be() -> None:
    fill(torch.empty(1, dtype=torch.int64), stream("others"))  # what is looked up once has been
    for native in (True, False):
        draws, words = (stream("draws") for _ in range(2)), torch.empty(3, 7, dtype=torch.int64)
        taped, plain = draws

        def step(taped: torch.Generator = taped, words: Tensor = words) -> Tensor:
            return fill(words[0], taped).clone()

        tape = Tape()
        with put_aside() if not native else torch.enable_grad():
            found = [tape.record(step).clone()]
            tape.settle(Arena())
            found += (tape.play().clone() for _ in range(3))
            wanted = [fill(words[1], plain).clone() for _ in range(4)]
        assert all(map(torch.equal, found, wanted))
        assert torch.equal(taped.get_state(), plain.get_state())


def test_gradients_are_taken_over_and_not_copied() -> None:
    """Autograd copies one that somebody else has, too, at each step again."""
    weight = nn.Parameter(torch.ones(3, 5))
    copies = []

    class Watched(Tape):
        def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            copies.append(func in (torch.ops.aten.clone.default, torch.ops.aten.copy_.default))
            return super().__torch_dispatch__(func, types, args, kwargs)

    def step() -> Tensor:
        weight.grad = None
        loss = (torch.ones(2, 3) @ weight).square().sum()
        loss.backward()
        return loss.detach()

    tape = Watched()
    assert tape.record(step) == 9 * 10 and len(copies) > 3 and not any(copies)
    assert weight.grad is not None
    weight.data.mul_(2)
    tape.settle(Arena())  # where somebody still looks, the tape writes what he sees
    tape.play()
    assert torch.equal(weight.grad, torch.full((3, 5), 2.0 * 2 * 6))


def test_a_tensor_that_is_turned_in_place_is_as_it_was_at_the_next_step() -> None:
    x, weights = torch.arange(6.0).view(2, 3), torch.arange(2.0) + 1

    def step() -> Tensor:
        y = x * 2
        before = (y * torch.arange(3.0)).sum()
        return before + (y.t_() * weights).sum()

    wanted = step()
    tape = Tape()
    assert tape.record(step) == wanted and tape.playable and tape.settle(Arena())
    assert all(tape.play() == wanted for _ in range(4))


def item(x: Tensor) -> Tensor:
    return x * x.sum().item()


def condition(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def numbers(x: Tensor) -> Tensor:
    return x * sum(x.tolist())


def array(x: Tensor) -> Tensor:
    return x + torch.from_numpy(x.numpy() * 2)


def places(x: Tensor) -> Tensor:
    return x[x > 1]


def another_memory(x: Tensor) -> Tensor:
    return (x * 2).resize_(2)


@pytest.mark.parametrize("step", [item, condition, numbers, array, places, another_memory])
def test_what_no_tape_holds(step: Callable[[Tensor], Tensor]) -> None:
    tape = Tape()
    tape.record(lambda: step(torch.arange(3.0) + 1).sum())
    assert not tape.playable and not tape.heard and not tape.made


def test_what_is_not_wanted_at_the_same_time_has_the_same_place() -> None:
    def step() -> Tensor:
        x = torch.ones(1000)
        for _ in range(50):
            x = x * 2 - x  # three at once
        return x.sum()

    tape, arena = Tape(), Arena()
    assert tape.record(step) == 1000 and tape.settle(arena)
    bytes_ = torch.empty(0, dtype=torch.uint8).set_(arena.storage)
    bytes_.fill_(255)
    assert tape.play() == 1000
    assert (bytes_[3 * 4032 :] == 255).all()


def test_a_step_that_wants_much_at_once_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "LARGEST", 5_000)
    made: list[Tape] = []
    monkeypatch.setattr(tapes, "Tape", lambda: made.append(Tape()) or made[-1])  # type: ignore[func-returns-value]
    model = tiny.mlp()
    record = recorder(model, torch.optim.Adam(model.parameters()))
    for count in (500, 600, 700, 800, 700, 600):  # what is as large as what was too large is not tried
        replay = record(lambda count=count: (torch.ones(count) * 2).sum(), count)
        assert [replay().item() for _ in range(3)] == [2 * count] * 3
    assert [tape.playable for tape in made] == [True, True, False, True]


def test_a_step_for_which_there_is_no_memory_is_taken_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "LARGEST", 2**62)
    made: list[Tape] = []
    monkeypatch.setattr(tapes, "Tape", lambda: made.append(Tape()) or made[-1])  # type: ignore[func-returns-value]
    model = tiny.mlp()
    replay = recorder(model, torch.optim.Adam(model.parameters()))(lambda: (torch.ones(9) * 2).sum(), 9)
    assert [replay().item() for _ in range(3)] == [18] * 3
    assert [tape.playable for tape in made] == [False]


def steps(change: Callable[[nn.Module, int], Tensor | float], count: int = 7) -> tuple[list[float], nn.Module, Take]:
    """Losses of steps that each multiply the weights by what `change` says, recorded; the model; what took them."""
    model = nn.Linear(3, 1)
    nn.init.ones_(model.weight)
    taken = []

    @torch.no_grad()
    def step() -> Tensor:
        taken.append(1)
        model.weight.mul_(change(model, len(taken)))
        return model.weight.sum()

    replay = recorder(model, torch.optim.Adam(model.parameters()))(step, 1)
    return [replay().item() for _ in range(count)], model, step


def test_a_step_that_python_changes_is_taken_as_it_comes() -> None:
    """The second step shows it, and is taken once."""
    losses, model, _ = steps(lambda model, number: number)
    assert losses == [3 * float(torch.arange(1, number + 1).prod()) for number in range(1, 8)]
    assert model.weight[0, 0] == 5040


def test_a_step_that_is_the_same_is_replayed() -> None:
    calls = []
    losses, model, _ = steps(lambda model, number: calls.append(number) or 2.0)  # type: ignore[func-returns-value]
    assert losses == [3.0 * 2**number for number in range(1, 8)] and model.weight[0, 0] == 128
    assert calls == [1, 2]  # the others were played


def test_a_tape_that_cannot_be_played_costs_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(tape: Tape) -> Tensor:
        tape.calls[0]()
        raise RuntimeError("no such operator")

    monkeypatch.setattr(Tape, "play", fails)
    losses, model, _ = steps(lambda model, number: 2.0)
    assert losses == [3.0 * 2**number for number in range(1, 8)] and model.weight[0, 0] == 128


def test_streams_count_as_what_a_step_changes() -> None:
    """One that draws every other time only, unheard, leaves another stream, whatever the weights."""
    model = tiny.mlp()
    draws = stream("draws")
    give_stream(model, draws)
    count = []

    @torch.no_grad()
    def step() -> Tensor:
        count.append(1)
        if len(count) % 2:
            torch.empty(5).random_(generator=draws)
        return torch.zeros(())

    replay = recorder(model, torch.optim.Adam(model.parameters()))(step, 1)
    for _ in range(6):
        replay()
    assert len(count) == 6
    other = stream("draws")
    for _ in range(3):
        torch.empty(5).random_(generator=other)
    assert torch.equal(draws.get_state(), other.get_state())


def test_calls_within_a_call_are_part_of_it() -> None:
    x, made = torch.zeros(1), []

    def step() -> Tensor:
        heard(lambda _: lambda: heard(lambda _: lambda: made.append(1), x), x)
        return x

    tape = Tape()
    tape.record(step)
    tape.settle(Arena())
    tape.play()
    assert len(made) == 2


def test_what_is_nested_is_found_and_replaced() -> None:
    nest = (1, [2.0, (3, None)], {"a": 4, "b": "5"})
    assert [*within(nest, int)] == [1, 3, 4] and [*within(7, int)] == [7]
    assert replaced(nest, int, str) == ["1", [2.0, ["3", None]], {"a": "4", "b": "5"}]
