"""The only training loop. What differs between learning from labels and from a teacher is the objective passed in."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from distillbias.training.adam import Held
from distillbias.training.objectives import Batch, Objective
from distillbias.training.parallel import ALONE, Ranks
from distillbias.training.precision import precision_on
from distillbias.training.recipe import Recipe, make_optimizer, set_rate, shape_gradients
from distillbias.training.replays import Replays, Update, recorder


class Step(NamedTuple):
    done: int  # steps taken so far, from 1
    loss: Tensor  # mean of the objective over the batch, without penalties; on the device, unread


def train(
    model: nn.Module,
    objective: Objective,
    batches: Iterable[Batch],
    recipe: Recipe,
    total: int,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
    ranks: Ranks = ALONE,
) -> Iterator[Step]:
    """Yield after each update; stop when `batches` stops. `total` steps stretch the schedule.

    A training that goes on gives its `optimizer` and the steps that it has done, and the batches that follow them.
    Over several `ranks` each gives its own parts of the batches, and all of them take the same steps.
    Nothing here waits for the device: the caller reads losses when it wants to, checks that they are
    finite, saves, logs and evaluates. So one process records its steps and replays them (`replays.py`).
    Between steps the caller may hook modules, change their numbers and freeze parameters (`requires_grad`).
    """
    where = next(model.parameters()).device
    device, half = where.type, precision_on(where, recipe.precision) == "bfloat16"
    optimizer = optimizer or make_optimizer(model, recipe)
    parameters = list(model.parameters())
    l1, l2 = recipe.l1 * objective.penalty_scale, recipe.l2 * objective.penalty_scale

    def update(batch: Batch) -> Tensor:
        for parameter in parameters:  # before the forward pass, at whose end a step holds most
            parameter.grad = None
        with torch.autocast(device, torch.bfloat16, enabled=half):
            output = model(batch.inputs)
        loss = objective.loss(output, batch).mean()
        if batch.share != 1:
            loss = loss * batch.share
        loss.backward()
        whole = ranks.sum(loss.detach(), parameters)
        shape_gradients([each for each in parameters if each.grad is not None], l1, l2, recipe.clip)
        optimizer.step()
        return whole

    take: Update = update
    record = recorder(model, optimizer) if ranks.world == 1 else None
    if isinstance(optimizer, Held) and device in ("cpu", "cuda"):
        optimizer.hold_rate()  # which lets it take the step in few passes, recorded or not
    if isinstance(optimizer, Held) and record:
        take = Replays(update, record, total - start, model)
    model.train()
    for step, batch in enumerate(batches, start):
        if not model.training:  # the caller has evaluated in between
            model.train()
        set_rate(optimizer, recipe.rate * recipe.schedule.factor(step, total))
        yield Step(step + 1, take(batch))
