"""Do two trained models lie in one basin? The loss along the straight line between their weights (Figures 8, 9).

The line is the paper's: `theta(weight) = weight * theta_1 + (1 - weight) * theta_2`, so weight 1 is the first model.
Both must have started from the same initial weights for a low barrier to mean a shared basin. Between the end
points the running statistics of batch norm belong to no model and are refreshed on training data (paper-facts T23).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from distillbias.errors import InputError

State = dict[str, Tensor]
Numbers = Sequence[float] | Float[np.ndarray, " _n"]


def interpolate(a: State, b: State, weight: float) -> State:
    """`weight * a + (1 - weight) * b` of two state dicts, as new tensors. Weight 1 is a, weight 0 is b, bit for bit.

    Computed from the difference, `b + weight * (a - b)`, so what is equal in both stays as it is. Between the end
    points, tensors that are not floating (counters such as `num_batches_tracked`) are a's.
    """
    check_states(a, b)
    if not 0 <= weight <= 1:
        raise InputError(f"weight must lie in [0, 1], got {weight}")
    if weight in (0, 1):
        return {name: value.detach().clone() for name, value in (a if weight == 1 else b).items()}
    return {name: between(value, b[name], weight) for name, value in a.items()}


def between(a: Tensor, b: Tensor, weight: float) -> Tensor:
    a, b = a.detach(), b.detach()
    return torch.lerp(b, a, weight) if a.is_floating_point() else a.clone()


def check_states(a: State, b: State) -> None:
    alone = sorted(a.keys() ^ b.keys())
    if alone:
        raise InputError(f"both models must have the same tensors; only one has {', '.join(alone)}")
    for name, value in a.items():
        one, other = (tuple(value.shape), value.dtype), (tuple(b[name].shape), b[name].dtype)
        if one != other:
            raise InputError(f"both models must have the same tensors; {name} is {one} in one and {other} in the other")


def barrier_height(losses: Numbers, weights: Numbers) -> float:
    """Height of the loss above the line between its two ends: `max_w loss(w) - ((1-w) loss(0) + w loss(1))`.

    At least 0 (the ends themselves), lower is better; a valley counts as 0. `weights` increase from 0 to 1. The true
    barrier is at least this: more weights can only raise it. Source: Frankle et al. 2020, linear mode connectivity.
    """
    loss, weight = np.asarray(losses, np.float64), np.asarray(weights, np.float64)
    if loss.shape != weight.shape or loss.ndim != 1:
        raise InputError(f"one loss per weight: got {len(losses)} losses and {len(weights)} weights")
    if len(weight) < 2 or weight[0] != 0 or weight[-1] != 1 or not (np.diff(weight) > 0).all():
        raise InputError(f"weights must increase from 0 to 1, got {list(weights)}")
    if np.isnan(loss).any() or not np.isfinite(loss[[0, -1]]).all():
        raise InputError(f"losses must be numbers, and finite at both ends, got {list(losses)}")
    return float((loss - np.interp(weight, weight[[0, -1]], loss[[0, -1]])).max())


def refresh_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running mean and variance of every batch norm layer by their average over `batches`.

    Each batch counts the same whatever its size (PyTorch's `momentum=None`); variances are the unbiased ones of each
    batch. Only batch norm layers are in train mode meanwhile, so dropout is off; afterwards every module has its
    mode and momentum back. A model without batch norm is left alone, and `batches` unread.
    """
    layers = [one for one in model.modules() if isinstance(one, _BatchNorm) and one.running_mean is not None]
    if not layers:
        return
    rest = iter(batches)
    first = next(rest, None)
    if first is None:
        raise InputError("batch norm statistics need at least one batch, got none")
    with only_these_train(model, layers), torch.no_grad():
        for layer in layers:
            layer.reset_running_stats()
        for inputs in chain([first], rest):
            model(inputs)


@contextmanager
def only_these_train(model: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    """`layers` in train mode with `momentum=None`, all else in eval mode; both put back at the end."""
    modes = [(module, module.training) for module in model.modules()]
    momenta = [(layer, layer.momentum) for layer in layers]
    try:
        model.eval()
        for layer in layers:
            layer.train()
            layer.momentum = None
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for layer, momentum in momenta:
            layer.momentum = momentum


def loss_path(
    model: nn.Module,
    a: State,
    b: State,
    weights: Numbers,
    loss: Callable[[nn.Module], float],
    refresh_batches: Sequence[Tensor] | None = None,
) -> list[float]:
    """`loss(model)` at each weight between b (0) and a (1), in the order of `weights`.

    With `refresh_batches`, batch norm is refreshed on them at every point, the ends too, so that all points are
    measured alike: the weights at the ends are exactly those given, and the running averages of a short training,
    which may lag behind its weights, make no cliff there. None: statistics are interpolated like the rest, and the
    ends are the trained models in every bit. `loss` gets the model in the mode it came in (give it in eval mode).
    The model has its first weights back at the end, also after an error.
    """
    first = {name: value.detach().clone() for name, value in model.state_dict().items()}
    losses = []
    try:
        for weight in weights:
            model.load_state_dict(interpolate(a, b, weight))
            if refresh_batches is not None:
                refresh_batch_norm(model, refresh_batches)
            losses.append(float(loss(model)))
    finally:
        model.load_state_dict(first)
    return losses
