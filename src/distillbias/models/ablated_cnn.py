"""The CNN of the vision case with ingredients of its bias switched off, one by one: what does each give a teacher?

    locality         off: before every convolution the positions are shuffled, always in the same way
    weight sharing   off: every position has a kernel of its own
    pooling          off: every second value in place of the largest of four, and no mean over positions at the end

Without locality nothing else changes: as many weights and products. The other two have more weights without.
"""

from dataclasses import dataclass
from math import prod, sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillbias.models.cnn import Maxout, one_channel
from distillbias.models.dropout import Dropout
from distillbias.models.output import Output, batch_norm
from distillbias.tasks.task import Spec

KERNEL = 3


@dataclass(frozen=True)
class AblatedCNNConfig:
    """`CNNConfig` with three switches; with all of them on it is the same network."""

    filters: tuple[int, ...] = (128, 64, 64)
    maxout: tuple[int, ...] = (128, 64, 16)
    pools: tuple[int, ...] = (1, 2, 2)
    dropout: float = 0.3
    local: bool = True
    shared: bool = True
    pooled: bool = True

    @property
    def name(self) -> str:
        switches = {"locality": self.local, "sharing": self.shared, "pooling": self.pooled}
        return " − ".join(["CNN", *(ingredient for ingredient, on in switches.items() if not on)])

    def build(self, spec: Spec) -> nn.Module:
        return AblatedCNN(spec, self)


class Shuffle(nn.Module):
    """The positions of a map in another order, the same for every channel and example; which one, `seed` decides."""

    order: Tensor

    def __init__(self, size: tuple[int, int], seed: int):
        super().__init__()
        order = torch.randperm(prod(size), generator=torch.Generator().manual_seed(seed))
        self.register_buffer("order", order, persistent=False)

    def forward(self, x: Float[Tensor, "batch channels row col"]) -> Float[Tensor, "batch channels row col"]:
        return x.flatten(2)[:, :, self.order].view_as(x)


class LocallyConnected(nn.Module):
    """A convolution 3 x 3 without padding in which every position has weights of its own."""

    def __init__(self, before: int, filters: int, size: tuple[int, int]):
        super().__init__()
        self.size = size[0] - KERNEL + 1, size[1] - KERNEL + 1
        self.weight = nn.Parameter(torch.empty(prod(self.size), before * KERNEL**2, filters))
        self.bias = nn.Parameter(torch.empty(prod(self.size), 1, filters))

    def forward(self, x: Float[Tensor, "batch before row col"]) -> Float[Tensor, "batch filters row_ col_"]:
        patches = F.unfold(x, KERNEL).permute(2, 0, 1)  # [position, batch, before * 9]
        return torch.baddbmm(self.bias.to(patches.dtype), patches, self.weight).permute(1, 2, 0).unflatten(2, self.size)

    def initialise(self, stream: torch.Generator) -> None:
        """As the convolution that it replaces: Glorot-uniform, zero biases."""
        _, fan_in, filters = self.weight.shape
        bound = sqrt(6 / (fan_in + filters * KERNEL**2))
        nn.init.uniform_(self.weight, -bound, bound, generator=stream)
        nn.init.zeros_(self.bias)


class AblatedStage(nn.Module):
    """A stage of the CNN on a map of `size`, with what `config` leaves of it; `after` is the size of what it gives."""

    def __init__(self, depth: int, before: int, size: tuple[int, int], config: AblatedCNNConfig):
        super().__init__()
        filters, maxout = config.filters[depth], config.maxout[depth]
        self.pool, self.pooled = config.pools[depth], config.pooled
        self.shuffle = nn.Identity() if config.local else Shuffle(size, depth)
        self.convolution = (
            nn.Conv2d(before, filters, KERNEL) if config.shared else LocallyConnected(before, filters, size)
        )
        self.maxout = Maxout(maxout)
        self.norm = batch_norm(nn.BatchNorm2d, maxout)
        self.dropout = Dropout(config.dropout)
        row, column = (side - KERNEL + 1 for side in size)
        self.after = row // self.pool, column // self.pool

    def forward(self, x: Float[Tensor, "batch before row col"]) -> Float[Tensor, "batch maxout row_ col_"]:
        x = self.norm(self.maxout(self.convolution(self.shuffle(x))))
        x = F.max_pool2d(x, self.pool) if self.pooled else x[:, :, :: self.pool, :: self.pool]
        return self.dropout(F.relu(x))


class AblatedCNN(nn.Module):
    """Stages, the mean over positions (or all of them), then a linear answer."""

    def __init__(self, spec: Spec, config: AblatedCNNConfig):
        super().__init__()
        self.pooled = config.pooled
        before, size = 1, (spec.shape[0], spec.shape[1])
        self.stages = nn.ModuleList()
        for depth, maxout in enumerate(config.maxout):
            stage = AblatedStage(depth, before, size, config)
            self.stages.append(stage)
            before, size = maxout, stage.after
        self.answer = nn.Linear(before if config.pooled else before * prod(size), spec.classes)

    def forward(self, images: Float[Tensor, "batch row col"]) -> Output:
        x = one_channel(images)
        hidden = {}
        for depth, stage in enumerate(self.stages):
            x = stage(x)
            hidden[f"stage{depth}"] = x
        last = x.mean((2, 3)) if self.pooled else x.flatten(1)
        return Output(self.answer(last), {**hidden, "penultimate": last})
