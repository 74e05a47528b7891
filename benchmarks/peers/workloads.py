"""What is trained: teacher, student, batch and data of each workload, at the paper's sizes and at those for a minute."""

from dataclasses import dataclass, fields, replace

from distillbias.errors import InputError
from distillbias.models.cnn import CNNConfig
from distillbias.models.lstm import LSTMConfig, LSTMLanguageModelConfig
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import ModelConfig
from distillbias.models.transformer import TransformerConfig, TransformerLanguageModelConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig
from distillbias.tasks.task import Spec

IMAGES = Spec(shape=(28, 28), classes=10)
SENTENCES = Spec(shape=(), classes=2, vocabulary=10_034)
WORDS = Spec(shape=(), classes=10_034, vocabulary=10_034)


@dataclass(frozen=True)
class Schedule:
    """The whole training that times are projected to."""

    examples: int
    epochs: int
    tests: int  # examples predicted once, at the end


@dataclass(frozen=True)
class Workload:
    """`rows` training examples and `tests` test examples take part in a measurement."""

    name: str
    spec: Spec
    teacher: ModelConfig
    student: ModelConfig
    temperature: float
    schedule: Schedule
    rows: int
    tests: int
    batch: int = 128
    rate: float = 1e-3

    @property
    def language(self) -> bool:
        return self.spec.classes == self.spec.vocabulary

    def steps(self) -> int:
        """Optimiser steps of the whole schedule."""
        return self.schedule.epochs * (self.schedule.examples // self.batch)


MNIST = Schedule(60_000, 12, 10_000)
WIKI = Schedule(50_000, 4, 10_000)
PAPER = (
    Workload("cnn-mlp", IMAGES, CNNConfig(), MLPConfig(), 5.0, replace(MNIST, epochs=40), 12_800, 2_000),
    Workload("cnn-student", IMAGES, CNNConfig(), CNNConfig(), 5.0, MNIST, 5_120, 1_000),
    Workload("lstm-classifier", SENTENCES, LSTMConfig(), LSTMConfig(), 1.0, WIKI, 8_192, 2_000),
    Workload("transformer-classifier", SENTENCES, LSTMConfig(), TransformerConfig(), 1.0, WIKI, 8_192, 2_000),
    Workload("universal-transformer", SENTENCES, LSTMConfig(), UniversalTransformerConfig(), 1.0, WIKI, 8_192, 2_000),
    Workload(
        "language-model",
        WORDS,
        LSTMLanguageModelConfig(width=512),
        TransformerLanguageModelConfig(width=256),
        1.0,
        replace(WIKI, epochs=6),
        4_096,
        500,
        batch=64,
    ),
)
MINUTE = (
    Workload(
        "cnn-mlp",
        IMAGES,
        CNNConfig(filters=(32, 32, 64), maxout=(32, 32, 16)),
        MLPConfig(),
        5.0,
        replace(MNIST, epochs=40),
        5_120,
        500,
    ),
    Workload(
        "lstm-classifier",
        replace(SENTENCES, vocabulary=2_000),
        LSTMConfig(width=128),
        LSTMConfig(width=128),
        1.0,
        WIKI,
        4_096,
        500,
    ),
)


def named(name: str, minute: bool = False) -> Workload:
    choices = {workload.name: workload for workload in (MINUTE if minute else PAPER)}
    if name not in choices:
        raise InputError(f"unknown workload {name!r}; it is one of {', '.join(choices)}")
    return choices[name]


def without_dropout(config: ModelConfig) -> ModelConfig:
    """The same architecture with every dropout rate 0, as the gate needs it: peers draw other masks."""
    rates = {each.name: 0.0 for each in fields(config) if "dropout" in each.name}  # type: ignore[arg-type]
    return replace(config, **rates)  # type: ignore[type-var]
