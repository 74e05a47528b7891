"""Hidden units have no order: a permutation of them leaves a network's function as it is, yet moves its weights.

Two models may therefore be apart only by the order of their units, and the barrier between them only a matter of
that order. `align` reorders the units of one model to be near those of another, after which `analysis/barrier.py`
says what is left. Running statistics of batch norm move with their units; refresh them between the ends.

What may be permuted. MLP: the units of each hidden layer. CNN: the channels after maxout of each stage, and within
each channel the filters it takes the maximum of, which are consecutive; filters never change their channel's company.
Neither pixels nor classes are ever permuted. (ReLU before batch norm also allows scales; they are left alone.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from distillbias.analysis.barrier import State, check_states
from distillbias.errors import InputError
from distillbias.models.cnn import CNN
from distillbias.models.mlp import MLP

Order = Int[np.ndarray, "_units _members"]  # entry (u, m): which filter is moved to place (u, m)
Score = Float[np.ndarray, "_to _from"]  # what is gained by moving `from` to the place `to`
RELATIVE_GAIN = 1e-9  # a smaller one is rounding, and might go round in circles


@dataclass(frozen=True)
class Layer:
    """Hidden units that share a permutation, and the tensors it moves: along axis 0, of `outgoing` along axis 1.

    A unit is the maximum of `members` filters, 1 where there is no maxout; filter f belongs to unit f // members.
    """

    units: int
    members: int
    incoming: tuple[str, ...]  # one row a filter
    norm: tuple[str, ...]  # trained scale and shift, one entry a unit
    statistics: tuple[str, ...]  # running mean and variance, one entry a unit: moved, but no weights to match
    outgoing: str  # the next weights, one column a unit


def mlp_layers(model: MLP) -> list[Layer]:
    blocks = [(f"hidden.{depth}.0", f"hidden.{depth}.2") for depth in range(len(model.hidden))]
    return chain_of(model, blocks)


def cnn_layers(model: CNN) -> list[Layer]:
    blocks = [(f"stages.{depth}.convolution", f"stages.{depth}.norm") for depth in range(len(model.stages))]
    return chain_of(model, blocks)


def chain_of(model: nn.Module, blocks: Sequence[tuple[str, str]]) -> list[Layer]:
    """Layers of (weights, norm) by name, each the input of the next and the last that of `answer`."""
    state = model.state_dict()
    outgoing = [*(weights for weights, _ in blocks[1:]), "answer"]
    return [
        Layer(
            units=len(state[f"{norm}.weight"]),
            members=len(state[f"{weights}.weight"]) // len(state[f"{norm}.weight"]),
            incoming=(f"{weights}.weight", f"{weights}.bias"),
            norm=(f"{norm}.weight", f"{norm}.bias"),
            statistics=(f"{norm}.running_mean", f"{norm}.running_var"),
            outgoing=f"{following}.weight",
        )
        for (weights, norm), following in zip(blocks, outgoing, strict=True)
    ]


LAYERS: dict[type[nn.Module], Callable[..., list[Layer]]] = {MLP: mlp_layers, CNN: cnn_layers}


def hidden_layers(model: nn.Module) -> list[Layer]:
    """What may be permuted in `model`, from input to output."""
    if type(model) not in LAYERS:
        choices = ", ".join(kind.__name__ for kind in LAYERS)
        raise InputError(f"no permutations are known for {type(model).__name__}; choose one of {choices}")
    return LAYERS[type(model)](model)


def align(model: nn.Module, a: State, b: State, seed: int) -> State:
    """`b` with its hidden units in the order that brings its weights near those of `a`: the same function, new tensors.

    Near: a large sum of inner products of the trained weights of a and b, so a small Euclidean distance. Layer after
    layer takes the best order given all the others, which is a linear assignment (with maxout one of units, whose
    scores are assignments of filters), until none gains; `seed` draws the order of the layers. The problem is NP-hard
    and this finds a local optimum: the better of two starts, the order as it is, so the sum never falls, and one from
    input to output by incoming weights alone, so that a permuted copy of `a` comes back as `a` (unless units have
    the same weights). `model` only says which weights belong together; its own are not used.
    Source: Ainsworth et al. 2023 (Git Re-Basin), algorithm 1, weight matching; the second start is ours.
    """
    layers = hidden_layers(model)
    check_states(model.state_dict(), a)
    check_states(a, b)
    wanted, given = as_numbers(layers, a), as_numbers(layers, b)
    random = np.random.default_rng(seed)
    starts = [[identity(one) for one in layers], forward(layers, wanted, given)]
    found = [descend(layers, wanted, given, start, random) for start in starts]
    return reorder(layers, b, max(found, key=lambda orders: closeness(wanted, moved(layers, given, orders))))


def permuted(model: nn.Module, state: State, seed: int) -> State:
    """`state` of `model` with its hidden units in a random order: the same function, new tensors.

    Uniform over all orders that keep the function (up to the rounding of sums in another order).
    """
    layers = hidden_layers(model)
    check_states(model.state_dict(), state)
    random = np.random.default_rng(seed)
    return reorder(
        layers, state, [random.permuted(identity(one)[random.permutation(one.units)], axis=1) for one in layers]
    )


def identity(layer: Layer) -> Order:
    return np.arange(layer.units * layer.members).reshape(layer.units, layer.members)


def moves(layers: Sequence[Layer], orders: Sequence[Order]) -> list[tuple[str, int, Int[np.ndarray, " _n"]]]:
    """(tensor, axis, order along it) for all that the orders move."""
    found = []
    for one, order in zip(layers, orders, strict=True):
        units = order[:, 0] // one.members
        found += [(name, 0, order.ravel()) for name in one.incoming]
        found += [(name, 0, units) for name in (*one.norm, *one.statistics)]
        found.append((one.outgoing, 1, units))
    return found


def reorder(layers: Sequence[Layer], state: State, orders: Sequence[Order]) -> State:
    new = {name: value.detach().clone() for name, value in state.items()}
    for name, axis, order in moves(layers, orders):
        new[name] = new[name].index_select(axis, torch.from_numpy(order).to(new[name].device))
    return new


Weights = dict[str, np.ndarray]


def as_numbers(layers: Sequence[Layer], state: State) -> Weights:
    """The trained weights that any order moves, in float64."""
    names = {name for one in layers for name in (*one.incoming, *one.norm, one.outgoing)}
    return {name: double(state[name]) for name in sorted(names)}


def double(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def moved(layers: Sequence[Layer], weights: Weights, orders: Sequence[Order]) -> Weights:
    new = dict(weights)
    for name, axis, order in moves(layers, orders):
        if name in new:
            new[name] = new[name].take(order, axis)
    return new


def closeness(a: Weights, b: Weights) -> float:
    """Sum of inner products."""
    return float(sum(np.vdot(a[name], b[name]) for name in a))


def forward(layers: Sequence[Layer], a: Weights, b: Weights) -> list[Order]:
    """One layer after another from the input, each by its incoming weights, whose other axis is settled by then."""
    orders = [identity(one) for one in layers]
    for i, one in enumerate(layers):
        orders[i] = best_order(one, a, moved(layers, b, orders), outgoing=False)
    return orders


def descend(
    layers: Sequence[Layer], a: Weights, b: Weights, orders: Sequence[Order], random: np.random.Generator
) -> list[Order]:
    """Better one layer at a time, in random order, until no layer's best order gains. Never lowers the closeness."""
    best = list(orders)
    reached = closeness(a, moved(layers, b, best))
    gained = True
    while gained:
        gained = False
        for i in random.permutation(len(layers)):
            rest = [*best[:i], identity(layers[i]), *best[i + 1 :]]
            trial = [*best[:i], best_order(layers[i], a, moved(layers, b, rest)), *best[i + 1 :]]
            now = closeness(a, moved(layers, b, trial))
            if now > reached + RELATIVE_GAIN * abs(reached):
                best, reached, gained = trial, now, True
    return best


def best_order(layer: Layer, a: Weights, b: Weights, outgoing: bool = True) -> Order:
    """The order of this layer with the largest sum of inner products, all other layers as they are in `b`."""
    filters = sum((products(a[name], b[name], 0) for name in layer.incoming), start=np.zeros(()))
    units = sum((products(a[name], b[name], 0) for name in layer.norm), start=np.zeros(()))
    if outgoing:
        units = units + products(a[layer.outgoing], b[layer.outgoing], 1)
    within = identity(layer)
    if layer.members == 1:
        return within[assign(units + filters)]
    inner = np.empty((layer.units, layer.units, layer.members), np.int64)
    for to, source in np.ndindex(layer.units, layer.units):
        scores = filters[np.ix_(within[to], within[source])]
        inner[to, source] = assign(scores)
        units[to, source] += scores[np.arange(layer.members), inner[to, source]].sum()
    chosen = assign(units)
    places = np.arange(layer.units)
    return within[chosen[:, None], inner[places, chosen]]


def products(a: np.ndarray, b: np.ndarray, axis: int) -> Score:
    """Inner product of every slice of `a` along `axis` with every slice of `b`."""
    rows = [np.moveaxis(one, axis, 0).reshape(one.shape[axis], -1) for one in (a, b)]
    return rows[0] @ rows[1].T


def assign(score: Score) -> Int[np.ndarray, " _to"]:
    """Which source goes to each place, for the largest sum."""
    return linear_sum_assignment(score, maximize=True)[1]
