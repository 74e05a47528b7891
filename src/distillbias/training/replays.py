"""Steps that are recorded once and replayed: of a small model they wait for launches or calls, not for sums.

The first steps of each shape of batch are taken as they come: they make what is made once (the optimiser's state, a
library's workspace). Then, of a shape that will come often enough for it to pay, one is recorded, on a GPU as a CUDA
graph (`graphs.py`), on a CPU as a tape (`tapes.py`), on memory of its own into which later batches are copied. What a
recorded step reads anew is in memory or in a random stream; numbers of Python are as they were (so the learning rate
must be a tensor: `Adam.hold_rate`). When those that modules hold change, parameters or buffers come to lie elsewhere,
or a module or a random stream takes another's place, all begins anew.
"""

from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from distillbias.models.hooks import hooks_of
from distillbias.models.output import Factored
from distillbias.training import graphs, tapes
from distillbias.training.objectives import Batch

Update = Callable[[Batch], Tensor]  # takes a step, gives its loss
Replay = Callable[[], Tensor]
Record = Callable[[Replay, int], Replay]  # of a step, on a batch of so many values, that it does not take

BEFORE = 3  # steps of a shape that are taken as they come
# replays that a recording must promise. On a CPU it takes two to three steps' time, of which each replay of the paper's
# Transformer gives an eighth back (benchmarks/recorded.py)
WORTH = 25
MOST = 128  # shapes that are recorded; each keeps a graph of some hundred launches


def recorder(model: nn.Module, optimizer: torch.optim.Optimizer) -> Record | None:
    """How steps of `model` are recorded where it is; None where they are not."""
    device = next(model.parameters()).device.type
    if device == "cuda":
        return graphs.recorder(model)
    return tapes.recorder(model, optimizer) if device == "cpu" else None


class Replays:
    """An `Update` of `model` that is recorded for each shape of its batch that comes often in so many steps; if that
    fails it says so and is taken as it comes; so it is while a module has hooks, which no recording would call."""

    def __init__(self, update: Update, record: Record, steps: int, model: nn.Module):
        self.update, self.record, self.steps, self.model, self.failed = update, record, steps, model, False
        self._look()
        self.seen: Counter[Hashable] = Counter()
        self.kept: dict[Hashable, tuple[Batch, Replay]] = {}

    def __call__(self, batch: Batch) -> Tensor:
        if self.numbers.now() != self.state:
            self._look()
            self.steps -= self.seen.total()
            self.seen.clear()
            self.kept.clear()
        if any(self.hooks):
            return self.update(batch)
        shape = shape_of(batch)
        self.seen[shape] += 1
        if shape not in self.kept and not (self._pays(shape) and self._recorded(shape, batch)):
            return self.update(batch)
        held, replay = self.kept[shape]
        for ours, given in zip(contents(held), contents(batch), strict=True):
            ours.copy_(given, non_blocking=True)
        return replay().clone()  # the next replay writes over it

    def _look(self) -> None:
        self.hooks, self.numbers = hooks_of(*self.model.modules()), Numbers(self.model)
        self.state = self.numbers.now()

    def _pays(self, shape: Hashable) -> bool:
        """It will come as often, of the steps that are left, as it has come so far."""
        count, taken = self.seen[shape], self.seen.total()
        return count > BEFORE and count * (self.steps - taken) >= WORTH * taken

    def _recorded(self, shape: Hashable, batch: Batch) -> bool:
        if self.failed or len(self.kept) >= MOST:
            return False
        held = own(batch)
        try:
            values = sum(each.numel() for each in contents(held))
            self.kept[shape] = held, self.record(lambda: self.update(held), values)
        except RuntimeError as error:
            self.failed = True
            print(f"steps cannot be recorded, each is launched anew: {_first_line(error)}")
        return not self.failed


class Numbers:
    """Of a model, what a recorded step would not read anew: numbers and flags of its modules, which parameters learn,
    where they and buffers lie (`prune.remove` moves one), which modules and random streams there are."""

    def __init__(self, model: nn.Module):
        modules = [*model.modules()]
        own = [(vars(module), name, value) for module in modules for name, value in vars(module).items()]
        self.parameters = [*model.parameters()]
        self.numbers = [(values, name) for values, name, value in own if isinstance(value, int | float)]
        self.streams = [(values, name) for values, name, value in own if isinstance(value, torch.Generator)]
        self.buffers = [module._buffers for module in modules if module._buffers]
        self.parts = [module._modules for module in modules]

    def now(self) -> list[object]:
        found: list[object] = [each.requires_grad for each in self.parameters]
        found += [each.data_ptr() for each in self.parameters]
        found += [values.get(name) for values, name in self.numbers]
        found += [id(values.get(name)) for values, name in self.streams]
        found += [each if each is None else each.data_ptr() for held in self.buffers for each in held.values()]
        found += [id(each) for parts in self.parts if parts for each in parts.values()]
        return found


def _first_line(error: BaseException) -> str:
    """Of what went wrong first: the end of a recording that failed complains of that, too."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).strip().partition("\n")[0]


def contents(batch: Batch) -> list[Tensor]:
    """What differs from batch to batch. The matrix of a teacher's language model does not."""
    signal = batch.signal.states if isinstance(batch.signal, Factored) else batch.signal
    return [batch.inputs, batch.labels] + ([] if signal is None else [signal])


def shape_of(batch: Batch) -> Hashable:
    matrix = batch.signal.matrix.data_ptr() if isinstance(batch.signal, Factored) else None
    return tuple((each.shape, each.stride(), each.dtype) for each in contents(batch)), matrix, batch.share


def own(batch: Batch) -> Batch:
    """The same in memory of its own."""
    inputs, labels, *rest = (each.clone() for each in contents(batch))
    if isinstance(batch.signal, Factored):
        return batch._replace(inputs=inputs, labels=labels, signal=batch.signal._replace(states=rest[0]))
    return batch._replace(inputs=inputs, labels=labels, signal=rest[0] if rest else None)
