"""Steps of small models on a CPU that are recorded once and replayed: Python and autograd take as long as their sums.

A tape holds what a step computed, operator by operator and native function by native function, with the memory that
each read and wrote; to play it is to compute the same again there. As in a CUDA graph (`graphs.py`) numbers of Python
stay as they were. So no tape is trusted at once: the step after the recorded one is taken both ways, and where these
differ by a bit, or the recorded one did what no tape can hold, steps are taken as they come.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from math import inf
from typing import Any, TypeVar, no_type_check

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from distillbias.models.dropout import streams_of
from distillbias.models.native import Bind, listened
from distillbias.training.arena import Arena, Life, View, planned, view_of

Kind = TypeVar("Kind")
Take = Callable[[], Tensor]  # a step; gives its loss

aten = torch.ops.aten
COPY = aten._to_copy.default
UNFILLED = {aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default}
UNFILLED |= {aten.empty_strided.default, aten.new_empty_strided.default}
SHAPING = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
# of operators that change how a tensor looks at its memory: those that give it another one
MOVING = {"set_", "resize_", "resize_as_"}
ROWS = 1024  # of a tensor that are copied at once
UNHEARD = {Tensor.numpy, Tensor.tolist, Tensor.__array__}  # what tells Python of values without an operator


def recorder(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[Take, int], Take]:
    """How steps of `model` on a CPU are recorded, each on a batch of so many values: by the first of them."""
    arena = Arena()
    too_large = inf  # values of a batch

    def record(step: Take, values: int) -> Take:
        return step if values >= too_large else partial(next, taken(step, values))

    def taken(step: Take, values: int) -> Iterator[Tensor]:
        """One step after another."""
        nonlocal too_large
        tape = Tape()
        yield tape.record(step)
        same = False
        if tape.playable:
            state = State(model, optimizer)
            kept = state.read()
            loss = step()  # after which what the recorded one left to it is forgotten
            if tape.settle(arena):
                same = _the_same(tape, state, kept, loss)
            else:
                too_large = min(too_large, values)  # to learn that of each shape anew would take a long step of each
            del state, kept
            yield loss
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

    def swap(self, kept: Sequence[Tensor]) -> None:
        """Read to `kept` what is here, and write here what was there. Memory that nobody has touched yet takes longer
        to come by than a step, so there is no second copy."""
        for here, there in zip(self._rows(self.tensors), self._rows(kept), strict=True):
            now = here.clone()
            here.copy_(there)
            there.copy_(now)
        for stream, there in zip(self.streams, kept[len(self.tensors) :], strict=True):
            now = stream.get_state()
            stream.set_state(there)
            there.copy_(now)

    def _rows(self, tensors: Sequence[Tensor]) -> Iterator[Tensor]:
        for each in tensors[: len(self.tensors)]:
            yield from torch.atleast_1d(each).split(ROWS)

    def equals(self, kept: Sequence[Tensor]) -> bool:
        here = (*self.tensors, *(stream.get_state() for stream in self.streams))
        return all(map(torch.equal, here, kept))


def _the_same(tape: "Tape", state: State, kept: Sequence[Tensor], loss: Tensor) -> bool:
    """Whether the tape takes the step that was just taken, from what was `kept` before it."""
    state.swap(kept)
    same = False
    try:
        same = torch.equal(tape.play(), loss) and state.equals(kept)
    except (RuntimeError, TypeError):  # of an operator that cannot be called as it was heard
        pass
    finally:
        if not same:
            state.swap(kept)
    return same


class Tape(TorchDispatchMode):
    """Calls, and what each reads and writes: tensors that were there before, and views of memory that the step made.

    A step is recorded, then settled on memory for what it makes, then played as often as wanted.
    """

    loss: Tensor

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import all that compiles, only to keep it from here."""
        return False

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[Bind, tuple[Any, ...]]] = []
        self.made: dict[int, int] = {}  # the number of each memory, by its address, which no other has
        self.memories: list[StorageWeakRef] = []  # so a step forgets what it would forget if it were not recorded
        self.sizes: list[int] = []  # of these, in bytes
        self.taught = False  # whether gradients are wanted, of which some operators keep more
        self.playable = True
        self.calls: list[Callable[[], Any]] = []
        self.wanted = 0  # bytes at once, once it is settled

    def record(self, step: Take) -> Tensor:
        """Take the step."""
        with listened(self.hear), _Asked(self), self:
            self.loss = step()
        return self.loss

    def settle(self, arena: Arena) -> bool:
        """Whether what the step makes has its place there; what somebody still holds stays where it is."""
        held = {
            number: storage
            for number, memory in enumerate(self.memories)
            if (storage := torch.UntypedStorage._new_with_weak_ptr(memory.cdata)) is not None
        }
        lives: dict[int, Life] = {}
        for call, (_, given) in enumerate(self.heard):
            for view in within(given, View):
                if view.memory not in held:
                    first = lives[view.memory].first if view.memory in lives else call
                    lives[view.memory] = Life(first, call, self.sizes[view.memory])
        starts, self.wanted = planned([*lives.values()])
        if not arena.holds(self.wanted):
            self.give_up()
            return False
        places = {number: (arena.storage, start) for number, start in zip(lives, starts, strict=True)}
        places.update((number, (storage, 0)) for number, storage in held.items())
        tensor = cache(lambda view: view.on(*places[view.memory]))
        self.calls = [bind(*replaced(given, View, tensor)) for bind, given in self.heard]
        self._forget()
        return True

    def play(self) -> Tensor:
        """Take it again. Its loss lies where the one before lay."""
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            for call in self.calls:
                call()
        return self.loss

    def hear(self, bind: Bind, tensors: Sequence[Tensor]) -> None:
        """Of a call that is no operator, and what it reads and writes."""
        if self.playable:
            self.heard.append((bind, tuple(map(self._seen, tensors))))

    def give_up(self) -> None:
        self.playable = False
        self._forget()

    def _forget(self) -> None:
        self.heard, self.made, self.memories = [], {}, []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if self.playable:
            self._operator(func, args, kwargs or {}, found)
        return found

    def _operator(self, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        found = _given(result)
        given = {_memory(each) for each in within((args, kwargs), Tensor)}
        if not all(isinstance(each, Tensor) for each in found):
            if given:  # or it was of types only
                self.give_up()
            return
        turned = torch.Tag.inplace_view in func.tags
        if _tells(func, args) or (turned and func.overloadpacket.__name__ in MOVING):
            self.give_up()
            return
        if turned:  # the views of later calls have it
            return
        into = [each if _memory(each) not in given else None for each in found]
        for each in into:
            if each is not None:
                self._count(each)
        new = any(each is not None for each in into)
        if func in UNFILLED or not (new or func._schema.is_mutable):
            return
        if self.taught != torch.is_grad_enabled():
            self.taught = not self.taught
            self.heard.append((partial(_wants_gradients, self.taught), ()))
        one = isinstance(result, Tensor)
        bind = partial(_copying if func is COPY and new else _writing if new and one else _filling, func)
        self.heard.append((bind, replaced((args, kwargs, into), Tensor, self._seen)))

    def _count(self, tensor: Tensor) -> None:
        """Memory that the step has made."""
        memory = StorageWeakRef(tensor.untyped_storage())
        if memory.cdata not in self.made:
            self.made[memory.cdata] = len(self.memories)
            self.memories.append(memory)
            self.sizes.append(tensor.untyped_storage().nbytes())

    def _seen(self, tensor: Tensor) -> Tensor | View:
        number = self.made.get(_memory(tensor))
        return tensor.detach() if number is None else view_of(tensor, number)


class _Asked(TorchFunctionMode):
    """Hears what is asked of a tensor other than by operators."""

    def __init__(self, tape: Tape):
        super().__init__()
        self.tape = tape

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in UNHEARD:
            self.tape.give_up()
        return func(*args, **(kwargs or {}))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@no_type_check
def _given(result: Any) -> list[Any]:
    """What an operator has given, one by one."""
    return [each for each in within(result, object) if each is not None]


def _tells(func: Any, args: tuple) -> bool:
    """Whether the shape of what it gives depends on values."""
    if func is aten.index.Tensor:
        return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    return bool(SHAPING.intersection(func.tags))


# how a call is made of an operator, what it is given, and the new tensors among what it gives


def _wants_gradients(wanted: bool) -> Callable[[], Any]:
    return partial(torch.set_grad_enabled, wanted)


def _copying(_: Any, args: list, kwargs: dict, into: Sequence[Tensor]) -> Callable[[], Any]:
    return partial(into[0].copy_, args[0])


def _writing(func: Any, args: list, kwargs: dict, into: Sequence[Tensor]) -> Callable[[], Any]:
    write, name = _into(func)
    if write is None:
        return _filling(func, args, kwargs, into)
    return partial(write, *args, **kwargs, **{name: into[0]})


def _filling(func: Any, args: list, kwargs: dict, into: Sequence[Tensor | None]) -> Callable[[], Any]:
    call = partial(func._op, *args, **kwargs)
    return partial(_filled, call, into) if any(each is not None for each in into) else call


@no_type_check
def _filled(call: Callable[[], Any], into: Sequence[Tensor | None]) -> None:
    for ours, new in zip(into, _given(call()), strict=True):
        if ours is not None:
            ours.copy_(new)


@cache
def _into(func: Any) -> tuple[Callable[..., Any] | None, str]:
    """The same operator, writing where it is told to, and by what name it is told; None if there is none."""
    wanted = [(each.name, str(each.type)) for each in func._schema.arguments]
    for each in (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads()):
        given, into = ([one for one in each._schema.arguments if one.is_out == told] for told in (False, True))
        if len(into) == 1 and [(one.name, str(one.type)) for one in given] == wanted:
            return each._op, into[0].name
    return None, ""


# of what an operator is given, which is nested a little: torch's own ways (pytree) take as long as the operator, and so
# does a check of types, which tests make


@no_type_check
def within(nest: Any, kind: type[Kind]) -> Iterator[Kind]:
    """All of that kind, in order."""
    if isinstance(nest, dict):
        nest = nest.values()
    elif not isinstance(nest, list | tuple):
        nest = (nest,)
    for each in nest:
        if isinstance(each, list | tuple | dict):
            yield from within(each, kind)
        elif isinstance(each, kind):
            yield each


def replaced(nest: Any, kind: type[Kind], by: Callable[[Kind], Any]) -> Any:
    """The same with something else for all of that kind."""
    if isinstance(nest, kind):
        return by(nest)
    if isinstance(nest, dict):
        return {key: replaced(each, kind, by) for key, each in nest.items()}
    if isinstance(nest, list | tuple):
        return [replaced(each, kind, by) for each in nest]
    return nest
