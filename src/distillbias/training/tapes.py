"""Steps of small models on a CPU that are recorded once and replayed: Python and autograd take as long as their sums.

A tape holds what a step computed, operator by operator and native function by native function, with the memory that
each read and wrote; to play it is to compute the same again there. As in a CUDA graph (`graphs.py`) numbers of Python
stay as they were. So no tape is trusted at once: the step after the recorded one is taken both ways, and where these
differ by a bit, or the recorded one did what no tape can hold, steps are taken as they come.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from distillbias.models.dropout import streams_of
from distillbias.models.native import listened

Take = Callable[[], Tensor]  # a step; gives its loss

# bytes that a tape holds, and all of a training: the weights, and what a step makes and would forget as it comes
LARGEST, MOST = 2**27, 2**28
aten = torch.ops.aten
COPY = aten._to_copy.default
UNFILLED = {aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default}
UNFILLED |= {aten.empty_strided.default, aten.new_empty_strided.default}
SHAPING = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
UNHEARD = {Tensor.numpy, Tensor.tolist, Tensor.__array__}  # what tells Python of values without an operator


def recorder(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[Take, int], Take]:
    """How steps of `model` on a CPU are recorded, each on a batch of so many values: by the first of them."""
    kept: list[Tape] = []
    too_large = inf  # values of a batch

    def record(step: Take, values: int) -> Take:
        return step if values >= too_large else partial(next, taken(step, values))

    def taken(step: Take, values: int) -> Iterator[Tensor]:
        """One step after another."""
        nonlocal too_large
        tape = Tape(min(LARGEST, MOST - sum(each.size for each in kept)))
        yield tape.record(step)
        if tape.full:
            too_large = min(too_large, values)  # to find that out for each shape anew would take a long step of each
        if tape.playable:
            loss, same = _both_ways(step, tape, State(model, optimizer))
            yield loss
            if same:
                kept.append(tape)
            while same:
                yield tape.play()
        del tape
        while True:
            yield step()

    return record


class State:
    """What a step changes and the next one reads."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer):
        kept = (each for of_one in optimizer.state.values() for each in of_one.values())
        held = (*model.parameters(), *model.buffers(), *kept)
        self.tensors = [each.detach() for each in held if isinstance(each, Tensor)]
        self.streams = streams_of(model)

    def read(self) -> list[Tensor]:
        return [*(each.clone() for each in self.tensors), *(stream.get_state() for stream in self.streams)]

    def write(self, values: Sequence[Tensor]) -> None:
        for each, value in zip(self.tensors, values, strict=False):
            each.copy_(value)
        for stream, value in zip(self.streams, values[len(self.tensors) :], strict=True):
            stream.set_state(value)


def _both_ways(step: Take, tape: "Tape", state: State) -> tuple[Tensor, bool]:
    """The loss of a step, and whether the tape takes the same one."""
    before = state.read()
    loss = step()
    after = state.read()
    state.write(before)
    try:
        same = torch.equal(tape.play(), loss) and all(map(torch.equal, state.read(), after))
    except (RuntimeError, TypeError):  # of an operator that cannot be called as it was heard
        same = False
    state.write(after)
    return loss, same


class Tape(TorchDispatchMode):
    """Calls, and the memory that they read and write, which lives as long as they do."""

    loss: Tensor

    def __init__(self, most: int = LARGEST) -> None:
        super().__init__()
        self.most = most
        self.calls: list[Callable[[], Any]] = []
        self.made: dict[int, Any] = {}  # storages by where they lie
        self.size = 0  # of these, in bytes
        self.taught = False  # whether gradients are wanted, of which some operators keep more
        self.playable = True

    def record(self, step: Take) -> Tensor:
        """Take the step."""
        with listened(self.hear), _Asked(self), self:
            self.loss = step()
        return self.loss

    def play(self) -> Tensor:
        """Take it again. Its loss lies where the one before lay."""
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            for call in self.calls:
                call()
        return self.loss

    def hear(self, call: Callable[[], Any], tensors: Iterable[Tensor]) -> None:
        """Of a call that is no operator, and what it reads and writes."""
        if self.playable:
            self.calls.append(call)
            self._keep(tensors)

    @property
    def full(self) -> bool:
        return self.size > self.most

    def give_up(self) -> None:
        self.playable = False
        self.calls.clear()
        self.made.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if self.playable:
            self._operator(func, args, kwargs or {}, found)
        return found

    def _operator(self, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        # not the tensors themselves: of a gradient that somebody else holds, too, autograd makes a copy
        args, kwargs, result = tree_map_only(Tensor, torch.detach, (args, kwargs, result))
        found = [each for each in tree_leaves(result) if each is not None]
        given = {_place(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        if not all(isinstance(each, Tensor) for each in found):
            if given:  # or it was of types only
                self.give_up()
            return
        if _tells(func, args):
            self.give_up()
            return
        new = [each for each in found if _place(each) not in given]
        self._keep(new)
        if not self.playable or func in UNFILLED or not (new or func._schema.is_mutable):
            return
        call: Callable[[], Any] = partial(func._op, *args, **kwargs)
        if func is COPY and new:
            call = partial(new[0].copy_, args[0])
        elif new and isinstance(result, Tensor):
            into, name = _writing(func)
            call = partial(into, *args, **kwargs, **{name: new[0]}) if into else partial(_filled, call, new[0])
        elif new:
            call = partial(_copied, call, [each if _place(each) not in given else None for each in found])
        if self.taught != torch.is_grad_enabled():
            self.taught = not self.taught
            self.calls.append(partial(torch.set_grad_enabled, self.taught))
        self.calls.append(call)

    def _keep(self, tensors: Iterable[Tensor]) -> None:
        for each in tensors:
            storage = each.untyped_storage()
            if self.made.setdefault(storage.data_ptr(), storage) is storage:
                self.size += storage.nbytes()
        if self.full:
            self.give_up()


class _Asked(TorchFunctionMode):
    """Hears what is asked of a tensor other than by operators."""

    def __init__(self, tape: Tape):
        super().__init__()
        self.tape = tape

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in UNHEARD:
            self.tape.give_up()
        return func(*args, **(kwargs or {}))


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tells(func: Any, args: tuple) -> bool:
    """Whether the shape of what it gives depends on values."""
    if func is aten.index.Tensor:
        return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    return bool(SHAPING.intersection(func.tags))


def _filled(call: Callable[[], Tensor], kept: Tensor) -> None:
    kept.copy_(call())


def _copied(call: Callable[[], Any], kept: Sequence[Tensor | None]) -> None:
    found = (each for each in tree_leaves(call()) if each is not None)
    for ours, new in zip(kept, found, strict=True):
        if ours is not None:
            ours.copy_(new)


@cache
def _writing(func: Any) -> tuple[Callable[..., Any] | None, str]:
    """The same operator, writing where it is told to, and by what name it is told; None if there is none."""
    wanted = [(each.name, str(each.type)) for each in func._schema.arguments]
    for each in (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads()):
        given, into = ([one for one in each._schema.arguments if one.is_out == told] for told in (False, True))
        if len(into) == 1 and [(one.name, str(one.type)) for one in given] == wanted:
            return each._op, into[0].name
    return None, ""
