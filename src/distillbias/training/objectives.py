"""What a run learns from: labels, or a teacher. The loop is the same for both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillbias.models.output import Factored, Output
from distillbias.training import next_word
from distillbias.training.distillation import Factor, kl_from_teacher, temperature_factor


class Batch(NamedTuple):
    inputs: Tensor  # [batch, *shape], float in [0, 1]; [batch, time] for words
    labels: Int[Tensor, " batch"]
    signal: Float[Tensor, "batch classes"] | Factored | None  # the teacher's logits; None when there is no teacher
    share: float = 1.0  # of the examples, or target words, of a batch that several processes have parts of


@dataclass(frozen=True)
class Objective:
    """`loss` gives one value per example, or of a language model their mean over all words (F6).

    `penalty_scale` multiplies the recipe's penalties.
    """

    loss: Callable[[Output, Batch], Float[Tensor, "*batch"]]
    penalty_scale: float = 1.0


def from_labels() -> Objective:
    """Cross-entropy with the labels, in nats; of a language model with the words themselves."""
    return Objective(_label_loss)


def _label_loss(output: Output, batch: Batch) -> Float[Tensor, "*batch"]:
    if isinstance(output.logits, Factored):
        return next_word.cross_entropy(output.logits, next_word.targets(batch.inputs))
    return F.cross_entropy(output.logits.float(), batch.labels, reduction="none")


def from_teacher(temperature: float, weight: float, factor: Factor, relative_penalty: bool) -> Objective:
    """weight * factor * KL(teacher || student) + (1 - weight) * cross-entropy with the labels.

    At weight 1, "pure" distillation, no label is seen. With `relative_penalty` the penalties keep the
    weight against the data term that they have in training on labels, whatever the temperature factor:
    without it, factor `inv_tau2` at temperature 5 makes them count 625 times as much (paper-facts T5).
    """

    def loss(output: Output, batch: Batch) -> Tensor:
        assert batch.signal is not None, "learning from a teacher needs its signal"
        taught = _teacher_loss(output, batch, temperature, factor)
        return taught if weight == 1 else weight * taught + (1 - weight) * _label_loss(output, batch)

    data_scale = weight * temperature_factor(factor, temperature) / temperature**2 + (1 - weight)
    return Objective(loss, data_scale if relative_penalty else 1.0)


def _teacher_loss(output: Output, batch: Batch, temperature: float, factor: Factor) -> Float[Tensor, "*batch"]:
    if isinstance(output.logits, Factored):
        assert isinstance(batch.signal, Factored), "a language model learns from a language model"
        answers = next_word.targets(batch.inputs)
        return next_word.kl_from_teacher(output.logits, batch.signal, answers, temperature, factor)
    assert isinstance(batch.signal, Tensor), "a classifier learns from a classifier"
    return kl_from_teacher(output.logits.float(), batch.signal, temperature, factor)
