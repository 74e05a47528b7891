"""The architectures by name. A new one: a file beside `mlp.py` and a line here; the contract tests pick it up."""

from distillbias.models.cnn import CNNConfig
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import ModelConfig

MODELS: dict[str, type[ModelConfig]] = {"CNN": CNNConfig, "MLP": MLPConfig}
