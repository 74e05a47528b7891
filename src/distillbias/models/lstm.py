"""LSTM (Hochreiter & Schmidhuber 1997) over words: reads left to right and carries one state along.

Classifier of the paper: two layers of 256, its answer read from the output at the last word (paper-facts F4.2).
Language model of the paper: two layers of 1024 or 512, each output asks for the next word (F4.1).
Dropout is variational (Gal & Ghahramani 2016): one mask for a whole sentence, at the input of each layer, and one on
the state that is carried on. The authors drew the second mask for each sentence; here one mask serves a batch,
which is the same as masking columns of the recurrent weights: a GPU then takes the fast built-in LSTM, a CPU's thread
spares itself the masked columns (T18, `recurrence.py`), and of each sentence the inputs that dropout has emptied.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from distillbias.models.compiled import embed
from distillbias.models.dropout import Dropout, LockedDropout
from distillbias.models.hooks import hooked
from distillbias.models.native import native
from distillbias.models.output import Output, Shares, tied_output
from distillbias.models.recurrence import lstm, takes_few
from distillbias.tasks.task import Spec


@dataclass(frozen=True)
class LSTMConfig:
    """Reads a sentence word by word: order and recency are built in (F4.2)."""

    width: int = 256
    layers: int = 2
    embedding_dropout: float = 0.2
    dropout: float = 0.8  # input and recurrent, in each layer
    output_dropout: float = 0.8

    @property
    def name(self) -> str:
        return "LSTM"

    def build(self, spec: Spec) -> nn.Module:
        return LSTM(self, spec)


class LSTM(nn.Module):
    def __init__(self, config: LSTMConfig, spec: Spec):
        super().__init__()
        self.embedding = nn.Embedding(spec.vocabulary, config.width)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.layers = stack(config.width, config.width, config.layers, config.dropout)
        self.output_dropout = Dropout(config.output_dropout)
        self.head = nn.Linear(config.width, spec.classes)

    def forward(self, words: Int[Tensor, "batch time"]) -> Output:
        x = self.embedding_dropout(embed(words, self.embedding))
        for layer in self.layers:
            x = layer(x)
        penultimate = at(x, last_word(words))
        return Output(self.head(self.output_dropout(penultimate)), {"penultimate": penultimate})

    def initialise(self, stream: torch.Generator) -> None:
        """The Keras defaults, which the authors' classifier has (F4.2)."""
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05, generator=stream)
        for layer in self.layers:
            assert isinstance(layer, LSTMLayer)
            nn.init.xavier_uniform_(layer.weight_ih, generator=stream)
            nn.init.orthogonal_(layer.weight_hh, generator=stream)
            layer.initialise_bias()
        nn.init.xavier_uniform_(self.head.weight, generator=stream)
        nn.init.zeros_(self.head.bias)


@dataclass(frozen=True)
class LSTMLanguageModelConfig:
    """Reads a sentence word by word and asks for the next; the defaults have 28,109,824 parameters (F4.1)."""

    shares: ClassVar[Shares] = Shares(gpus=0.5)  # its products with the matrix of all words keep a GPU busy

    name: str = "LSTM"
    width: int = 1024  # of layers and embedding
    layers: int = 2
    embedding_dropout: float = 0.2
    dropout: float = 0.5  # input and recurrent, in each layer
    output_dropout: float = 0.5

    def build(self, spec: Spec) -> nn.Module:
        return LSTMLanguageModel(self, spec)


class LSTMLanguageModel(nn.Module):
    """Embedding, layers, a linear projection, and the embedding again as the answer."""

    def __init__(self, config: LSTMLanguageModelConfig, spec: Spec):
        super().__init__()
        self.embedding = nn.Embedding(spec.vocabulary, config.width)
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.layers = stack(config.width, config.width, config.layers, config.dropout)
        self.project = nn.Linear(config.width, config.width)
        self.output_dropout = Dropout(config.output_dropout)

    def forward(self, words: Int[Tensor, "batch time"]) -> Output:
        x = self.embedding_dropout(embed(words, self.embedding))
        for layer in self.layers:
            x = layer(x)
        return tied_output(self.output_dropout(self.project(x)), self.embedding)

    def initialise(self, stream: torch.Generator) -> None:
        """Truncated normal with deviation width**-0.5, cut at two deviations; biases 0, of forget gates 1 (F4.1)."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                deviation = parameter.shape[1] ** -0.5
                nn.init.trunc_normal_(parameter, 0.0, deviation, -2 * deviation, 2 * deviation, generator=stream)
        for layer in self.layers:
            assert isinstance(layer, LSTMLayer)
            layer.initialise_bias()
        nn.init.zeros_(self.project.bias)


class LSTMLayer(nn.Module):
    """One layer, one bias as in Keras; gates in the order input, forget, cell, output."""

    no_bias: Tensor

    def __init__(self, inputs: int, width: int, dropout: float):
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * width, inputs))
        self.weight_hh = nn.Parameter(torch.empty(4 * width, width))
        self.bias = nn.Parameter(torch.empty(4 * width))
        self.register_buffer("no_bias", torch.zeros(4 * width), persistent=False)
        self.input_dropout = LockedDropout(dropout)
        self.recurrent_dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch time inputs"]) -> Float[Tensor, "batch time width"]:
        mask = self.recurrent_mask()
        # many small operations: of several threads each waits for the others at each of torch's
        several = torch.get_num_threads() > 1 and native(x) is None
        if mask is None or x.device.type != "cpu" or several:
            return self.built_in(self.input_dropout(x), mask)
        weights = (self.weight_ih, self.weight_hh, self.bias, mask)
        if takes_few(x, self.input_dropout.rate) and not hooked(self.input_dropout):
            return lstm(x, *weights, self.input_dropout.mask(x)[:, 0])
        return lstm(self.input_dropout(x), *weights)

    def recurrent_mask(self) -> Float[Tensor, " width"] | None:
        """A new one, for a batch; None where nothing is dropped."""
        if not self.training or not self.recurrent_dropout.rate:
            return None
        return self.recurrent_dropout(self.weight_hh.new_ones(1, self.weight_hh.shape[1]))[0]

    def built_in(self, x: Float[Tensor, "batch time inputs"], mask: Tensor | None) -> Float[Tensor, "batch time width"]:
        """By torch's layer."""
        carried = self.weight_hh if mask is None else self.weight_hh * mask
        weights = [self.weight_ih, carried, self.bias, self.no_bias]
        if x.is_cuda:
            weights = _in_one_block(weights)
        start = x.new_zeros(1, len(x), carried.shape[1])
        return torch.lstm(x, (start, start), weights, True, 1, 0.0, self.training, False, True)[0]

    def initialise_bias(self) -> None:
        """Zero, and 1 for the forget gate (Jozefowicz et al. 2015)."""
        width = self.weight_hh.shape[1]
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.bias[width : 2 * width])


def _in_one_block(tensors: list[Tensor]) -> list[Tensor]:
    """As cuDNN wants its weights; it complains of others and copies them itself."""
    block = torch.cat([tensor.flatten() for tensor in tensors]).split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(block, tensors, strict=True)]


def stack(inputs: int, width: int, layers: int, dropout: float) -> nn.ModuleList:
    return nn.ModuleList(LSTMLayer(width if index else inputs, width, dropout) for index in range(layers))


def last_word(words: Int[Tensor, "batch time"]) -> Int[Tensor, " batch"]:
    """The place of each row's last word; rows end in 0s. A row needs at least one word."""
    return (words != 0).sum(1) - 1


def at(x: Float[Tensor, "batch time *width"], places: Int[Tensor, " batch"]) -> Float[Tensor, " batch *width"]:
    """Of each row the activation at its place."""
    return x[torch.arange(len(x), device=x.device), places]
