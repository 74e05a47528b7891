"""The architectures by name. A new one: a file beside `mlp.py` and a line here; the contract tests pick it up."""

from distillbias.models.ablated_cnn import AblatedCNNConfig
from distillbias.models.cnn import CNNConfig
from distillbias.models.lstm import LSTMConfig, LSTMLanguageModelConfig
from distillbias.models.mlp import MLPConfig
from distillbias.models.transformer import TransformerConfig, TransformerLanguageModelConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig

MODELS: dict[str, type] = {
    "CNN": CNNConfig,
    "AblatedCNN": AblatedCNNConfig,
    "MLP": MLPConfig,
    "LSTM": LSTMConfig,
    "Transformer": TransformerConfig,
    "UniversalTransformer": UniversalTransformerConfig,
    "LSTMLanguageModel": LSTMLanguageModelConfig,
    "TransformerLanguageModel": TransformerLanguageModelConfig,
}
