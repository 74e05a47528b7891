"""The multi-layer perceptron of the vision case (paper, Appendix F; sizes and order from the authors' `ff_mnist4`)."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from distillbias.models import compiled
from distillbias.models.dropout import Dropout
from distillbias.models.hooks import hooked
from distillbias.models.output import Output, Shares, batch_norm
from distillbias.tasks.task import Spec


@dataclass(frozen=True)
class MLPConfig:
    """784 - 512 - 128 - 32 - 10: 473,386 trainable parameters."""

    shares: ClassVar[Shares] = Shares(gpus=1 / 12)  # twelve at once take 2.4 times as many steps a second as four

    widths: tuple[int, ...] = (512, 128, 32)
    dropout: float = 0.1

    @property
    def name(self) -> str:
        return "MLP"

    def build(self, spec: Spec) -> nn.Module:
        return MLP(spec, self.widths, self.dropout)


class Layer(nn.Sequential):
    """Linear, ReLU, batch norm, dropout."""

    def __init__(self, before: int, after: int, dropout: float):
        super().__init__(nn.Linear(before, after), nn.ReLU(), batch_norm(nn.BatchNorm1d, after), Dropout(dropout))

    @property
    def parts(self) -> compiled.Layer:
        linear, _, norm, dropout = self
        assert isinstance(linear, nn.Linear) and isinstance(dropout, Dropout)
        return compiled.Layer(linear, norm, dropout)

    def forward(self, x: Float[Tensor, "batch before"]) -> Float[Tensor, "batch after"]:
        found = None if hooked(self[1]) else compiled.normalise(x, self.parts)
        return super().forward(x) if found is None else found


class MLP(nn.Module):
    """Flatten, then [linear, ReLU, batch norm, dropout] a width, then a linear answer.

    The norm follows the ReLU here; in the CNN it precedes it. `penultimate` is the last hidden
    layer after norm and dropout, 32-d at the paper's sizes.
    """

    def __init__(self, spec: Spec, widths: tuple[int, ...], dropout: float):
        super().__init__()
        sizes = (prod(spec.shape), *widths)
        self.hidden = nn.ModuleList(Layer(before, after, dropout) for before, after in zip(sizes, widths, strict=False))
        self.answer = nn.Linear(sizes[-1], spec.classes)

    def forward(self, images: Float[Tensor, "batch row col"]) -> Output:
        x = images.flatten(1)  # [batch, row * col]
        # nobody has put another module in place of one, or wants to hear of its calls
        layers = [layer for layer in self.hidden if isinstance(layer, Layer) and not hooked(layer, layer[1])]
        as_built = len(layers) == len(self.hidden)
        made = compiled.layers(x, [layer.parts for layer in layers], self.answer) if as_built else None
        if made is None:
            made = [x := layer(x) for layer in self.hidden]
            made.append(self.answer(x))
        *hidden, logits = made
        names = {f"hidden{depth}": each for depth, each in enumerate(hidden)}
        return Output(logits, {**names, "penultimate": hidden[-1] if hidden else x})
