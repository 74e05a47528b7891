"""The architectures by name. A new one: a file beside `mlp.py` and a line here; the contract tests pick it up."""

from distillbias.models.cnn import CNNConfig
from distillbias.models.mlp import MLPConfig

MODELS: dict[str, type] = {"CNN": CNNConfig, "MLP": MLPConfig}
