"""What is trained: students and teachers of the paper's sizes.

Models only: every arm reads this file, in environments that have no more than torch and the peer.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from distillbias.models.cnn import CNNConfig
from distillbias.models.lstm import LSTMConfig, LSTMLanguageModelConfig
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import ModelConfig
from distillbias.models.transformer import TransformerConfig, TransformerLanguageModelConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig

BATCH = 128
GATED = 50  # losses that must agree
GATE_BATCH = 32  # the first examples of each batch: losses of few tell two arms apart as well as those of many
# Adam moves a weight by the rate even where its gradient is rounding error, as that of a bias before batch norm is; at
# the paper's rates this alone puts two correct arms 2e-4 apart within 50 steps.
GATE_RATE = 1e-5
SMALL_LSTM = LSTMLanguageModelConfig("Small LSTM", 512, embedding_dropout=0.2, dropout=0.3, output_dropout=0.3)
SMALL_TRANSFORMER = TransformerLanguageModelConfig(
    "Small Transformer", 256, embedding_dropout=0.2, attention_dropout=0.3, dropout=0.2
)


@dataclass(frozen=True)
class Workload:
    """Pure distillation with Adam at a constant rate; `epochs` are those of the paper's schedule.

    `steps` batches are taken again and again, and timed once each after `warmup` others: fewer where a plain loop takes
    seconds for each. Sentence classifiers take them six times before: a length of sentences costs more at its first
    steps (memory, a library's code for its products, our recording of it), which of a whole schedule is nothing.
    """

    title: str
    task: str  # of export.TASKS
    student: ModelConfig
    teacher: ModelConfig
    temperature: float
    rate: float
    epochs: int
    warmup: int
    steps: int

    def protocol(self, longer: bool) -> tuple[int, int]:
        """(warm-up, steps); of a longer look six and four times as many: on a GPU, where steps are short."""
        return (6 * self.warmup, 4 * self.steps) if longer else (self.warmup, self.steps)


WORKLOADS = {
    "V": Workload("CNN → MLP, digits", "vision", MLPConfig(), CNNConfig(), 5.0, 1e-4, 400, 10, 100),
    "C": Workload("CNN → CNN, digits", "vision", CNNConfig(), CNNConfig(), 5.0, 1e-4, 400, 4, 20),
    "L": Workload("LSTM → LSTM, agreement", "classification", LSTMConfig(), LSTMConfig(), 1.0, 1e-3, 40, 300, 50),
    "T": Workload(
        "LSTM → Transformer, agreement", "classification", TransformerConfig(), LSTMConfig(), 1.0, 1e-3, 40, 180, 30
    ),
    "U": Workload(
        "LSTM → UniversalTransformer, agreement",
        "classification",
        UniversalTransformerConfig(),
        LSTMConfig(),
        1.0,
        1e-3,
        40,
        90,
        15,
    ),
    "ML": Workload("LSTM → LSTM, language model", "language", SMALL_LSTM, SMALL_LSTM, 1.0, 1e-4, 60, 2, 8),
    "MT": Workload(
        "LSTM → Transformer, language model", "language", SMALL_TRANSFORMER, SMALL_LSTM, 1.0, 1e-4, 60, 2, 8
    ),
}


def without_dropout(config: Any) -> Any:
    """The same model with every dropout rate 0: the gate compares losses that nothing random is in."""
    return replace(config, **{each.name: 0.0 for each in fields(config) if "dropout" in each.name})
