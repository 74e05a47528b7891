"""A Transformer that applies one block six times: weights tied over depth (paper-facts F4.2).

Named after Dehghani et al. 2019 as in the paper; it has neither their embedding of the depth nor their halting (T31).
"""

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from distillbias.models.transformer import Block, Classifier, Trunk
from distillbias.tasks.task import ADDED, Spec


@dataclass(frozen=True)
class UniversalTransformerConfig:
    """The same block again and again: recurrence over depth; each word sees those before it (F4.2).

    With `readout` "first" every word sees every other, as in the Transformer; the paper has no such model. It is no
    part of `repr`, so that both start from the same weights.
    """

    width: int = 256
    rounds: int = 6
    heads: int = 8
    embedding_dropout: float = 0.2
    attention_dropout: float = 0.6
    dropout: float = 0.4
    readout: Literal["first", "last"] = field(default="last", metadata=ADDED, repr=False)

    @property
    def name(self) -> str:
        return "UniversalTransformer-seq" if self.readout == "last" else "UniversalTransformer"

    def build(self, spec: Spec) -> nn.Module:
        block = Block(self.width, self.heads, self.attention_dropout, self.dropout)
        return Classifier(Trunk([block], self.rounds, self.width, self.embedding_dropout, spec), self.readout, spec)
