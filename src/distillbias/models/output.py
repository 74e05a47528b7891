"""What every model returns, and how weights get their first values."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillbias.tasks.task import Spec

Norm = TypeVar("Norm", bound=nn.Module)


class Factored(NamedTuple):
    """Logits of every word at every position, `states @ matrix.T`, which nobody makes whole.

    Products are made in the type of `states`.
    """

    states: Float[Tensor, "batch time width"]
    matrix: Float[Tensor, "words width"]

    def detach(self) -> "Factored":
        return Factored(self.states.detach(), self.matrix.detach())


class Output(NamedTuple):
    """Logits, and the named activations that analyses read; `penultimate` is what the last linear layer sees.

    Of a language model that is a state at each position, [batch, time, width].
    """

    logits: Float[Tensor, "batch classes"] | Factored
    hidden: dict[str, Tensor]


def tied_output(states: Float[Tensor, "batch time width"], embedding: nn.Embedding) -> Output:
    """Next-word logits by the embedding itself, without a bias (Press & Wolf 2017; paper-facts F4.1)."""
    device = states.device.type
    if torch.is_autocast_enabled(device):
        states = states.to(torch.get_autocast_dtype(device))
    return Output(Factored(states, embedding.weight), {"penultimate": states})


class Shares(NamedTuple):
    """What a run of a model holds of a machine while it trains, if a cluster deals machines out.

    A model that needs other than these declares `shares: ClassVar[Shares]`; that is no part of its runs' names.
    """

    cpus: float = 1.0  # cores for each of its threads
    gpus: float = 0.25  # of one GPU, if it trains on one


@runtime_checkable
class ModelConfig(Protocol):
    """One architecture with its sizes: a frozen dataclass that builds a plain `nn.Module`."""

    @property
    def name(self) -> str: ...

    def build(self, spec: Spec) -> nn.Module: ...

    def __hash__(self) -> int: ...


def batch_norm(kind: Callable[..., Norm], channels: int) -> Norm:
    """Batch norm with the defaults of Keras, which the authors trained with (paper-facts T19)."""
    return kind(channels, eps=1e-3, momentum=0.01)


def initialise(model: nn.Module, stream: torch.Generator) -> None:
    """Glorot-uniform weights, zero biases, unit batch norm: the Keras defaults, drawn from `stream`.

    A model or a layer with other first weights has an `initialise(stream)` of its own.
    """
    if own := getattr(model, "initialise", None):
        own(stream)
        return
    for module in model.modules():
        if own := getattr(module, "initialise", None):
            own(stream)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight, generator=stream)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def fresh(config: ModelConfig, spec: Spec) -> nn.Module:
    """Build without moving the global random stream: PyTorch's own first weights are replaced anyway."""
    with torch.random.fork_rng(devices=[]):
        return config.build(spec)


def parameter_count(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
