"""Transformer over words, GPT-2 style: normalisation before each sublayer (Radford et al. 2019; paper-facts F4.1).

Two classifiers of the paper (F4.2), which differ in one thing:
    Transformer      a <bos> before the sentence sees every word and answers: order is only in the positions
    Transformer-seq  each word sees those before it, the last one answers: the order of reading is built in
And a language model, in which each word sees those before it and asks for the next (F4.1).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from distillbias.data.vocabulary import BEGIN
from distillbias.errors import InputError
from distillbias.models.compiled import add_and_norm, ask, attend, embed, feed_forward, linear, product
from distillbias.models.dropout import Dropout
from distillbias.models.hooks import hooked
from distillbias.models.lstm import at, last_word
from distillbias.models.nonlinear import softmax
from distillbias.models.output import Output, Shares, tied_output
from distillbias.models.recompute import recomputed
from distillbias.tasks.task import ADDED, Spec

POSITIONS = 1024
DEVIATION = 0.05  # of the first weights, cut at two deviations


@dataclass(frozen=True)
class TransformerConfig:
    """Attends to words wherever they stand; `readout` "last" sees only the words before (F4.2).

    With `padded` a sentence of fewer words is filled up to so many, and its words look at the padding, too, as in the
    authors' Transformer (T10): there the longest sentence of the batch says how many, here the model, so that an answer
    does not depend on the batch. Raises InputError for it with readout "last", whose words never see what follows.
    """

    readout: Literal["first", "last"] = "last"
    width: int = 128
    layers: int = 6
    heads: int = 8
    embedding_dropout: float = 0.2
    attention_dropout: float = 0.6
    dropout: float = 0.4  # on what each sublayer adds
    padded: int = field(default=0, repr=False, metadata=ADDED)

    def __post_init__(self) -> None:
        if self.padded and self.readout == "last":
            raise InputError(f"padded is {self.padded} with readout 'last'; only a 'first' word looks at padding")
        if not 0 <= self.padded < POSITIONS:
            raise InputError(f"padded is {self.padded}; it must be at least 0 and below {POSITIONS}, the positions")

    @property
    def name(self) -> str:
        if self.padded:
            return "Transformer, padding seen"
        return "Transformer-seq" if self.readout == "last" else "Transformer"

    def build(self, spec: Spec) -> nn.Module:
        blocks = [Block(self.width, self.heads, self.attention_dropout, self.dropout) for _ in range(self.layers)]
        trunk = Trunk(blocks, 1, self.width, self.embedding_dropout, spec)
        return Classifier(trunk, self.readout, spec, self.padded)


class Classifier(nn.Module):
    def __init__(self, trunk: "Trunk", readout: str, spec: Spec, padded: int = 0):
        super().__init__()
        self.trunk, self.readout, self.padded = trunk, readout, padded
        self.head = nn.Linear(trunk.norm.normalized_shape[0], spec.classes)

    def forward(self, words: Int[Tensor, "batch time"]) -> Output:
        if self.readout == "first":
            words = F.pad(F.pad(words, (1, 0), value=BEGIN), (0, max(0, self.padded - words.shape[1])))
            # no word looks at padding, but for that up to `padded` (T10)
            seen = (words != 0) | (torch.arange(words.shape[1], device=words.device) <= self.padded)
            penultimate = self.trunk(words, seen[:, None, None, :], torch.zeros_like(words[:, 0]))
        else:
            penultimate = self.trunk(words, causal(words), last_word(words))
        return Output(self.head(penultimate), {"penultimate": penultimate})

    def initialise(self, stream: torch.Generator) -> None:
        initialise_transformer(self, stream)


@dataclass(frozen=True)
class TransformerLanguageModelConfig:
    """Attends to the words before and asks for the next; the defaults have 24,577,024 parameters (F4.1).

    With `recompute` a training step keeps of each block only what it was given, and computes the rest again on the way
    back: the same weights to the bit, for less memory and another forward pass of the blocks.
    """

    shares: ClassVar[Shares] = Shares(gpus=0.5)  # its products with the matrix of all words keep a GPU busy

    name: str = "Transformer"
    width: int = 512
    layers: int = 6
    heads: int = 8
    embedding_dropout: float = 0.2
    attention_dropout: float = 0.6
    dropout: float = 0.4  # on what each sublayer adds
    recompute: bool = field(default=False, repr=False, metadata=ADDED)

    def build(self, spec: Spec) -> nn.Module:
        blocks = [Block(self.width, self.heads, self.attention_dropout, self.dropout) for _ in range(self.layers)]
        return TransformerLanguageModel(Trunk(blocks, 1, self.width, self.embedding_dropout, spec, self.recompute))


class TransformerLanguageModel(nn.Module):
    """The trunk, and its embedding again as the answer."""

    def __init__(self, trunk: "Trunk"):
        super().__init__()
        self.trunk = trunk

    def forward(self, words: Int[Tensor, "batch time"]) -> Output:
        return tied_output(self.trunk(words, causal(words)), self.trunk.embedding)

    def initialise(self, stream: torch.Generator) -> None:
        initialise_transformer(self, stream)


class Trunk(nn.Module):
    """Words to states: embeddings and positions, then every block in turn, all of them `rounds` times."""

    def __init__(
        self, blocks: Iterable["Block"], rounds: int, width: int, dropout: float, spec: Spec, recompute: bool = False
    ):
        super().__init__()
        self.recompute = recompute
        self.embedding = nn.Embedding(spec.vocabulary, width)
        self.positions = nn.Embedding(POSITIONS, width)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(blocks)
        self.rounds = rounds
        self.norm = nn.LayerNorm(width)

    def forward(
        self, words: Int[Tensor, "batch time"], seen: Bool[Tensor, "..."], read: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch *time width"]:
        """`seen`, [batch or 1, 1, time or 1, time]: which words (last axis) each word looks at.

        `read`: the one place of each row whose state is returned, [batch, width]. The last block is computed for no
        other word, which spares a classifier most of one block; without it, for all, [batch, time, width].
        """
        x = self.dropout(embed(words, self.embedding) + self.positions.weight[: words.shape[1]])
        hidden = torch.zeros_like(seen, dtype=x.dtype).masked_fill_(~seen, -1e4)
        blocks = [*self.blocks] * self.rounds
        normed = blocks[0].attention_norm(x)
        following = [*(block.attention_norm for block in blocks[1:]), self.norm]
        for block, norm in zip(blocks, following, strict=True):
            given = x, normed, hidden, norm, read if norm is self.norm else None
            x, normed = recomputed(block, *given) if self.recompute else block(*given)
        return normed


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)).

    What is added is normed in the same pass, so a block is given its x with the norm of it, and hands both on.
    """

    def __init__(self, width: int, heads: int, attention_dropout: float, dropout: float):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.attention_dropout = Dropout(attention_dropout)
        self.attended_dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch time width"],
        normed: Float[Tensor, "batch time width"],
        hidden: Tensor,
        following: nn.LayerNorm,
        read: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch *time width"], Float[Tensor, "batch *time width"]]:
        """`normed` is x by this block's first norm, `following` the norm of whoever reads its answer.

        `hidden` is added to the scores: 0 where a word looks, far below where it does not; `read` as in Trunk.
        """
        if read is None:
            attended = self.attend(normed, hidden)
        else:
            attended, x = self.attend_from(read, normed, hidden), at(x, read)
        x, normed = add_and_norm(x, *product(attended, self.project), self.attended_dropout, self.norm)
        return add_and_norm(x, *feed_forward(normed, self.widen, self.narrow), self.dropout, following)

    def attend(self, x: Float[Tensor, "batch time width"], hidden: Tensor) -> Float[Tensor, "batch time width"]:
        """Native, else as plain matrix products: at these lengths, faster on a CPU than the built-in attention."""
        qkv = linear(x, self.qkv)
        if (native := attend(qkv, hidden, self.heads, self.attention_dropout)) is not None:
            return native
        # copied once into one block of memory, in which the products read each part as it lies
        query, key, value = self.split(qkv).contiguous()
        return self.look(query, key, value, hidden)

    def split(self, qkv: Float[Tensor, "batch time qkv"]) -> Float[Tensor, "3 batch heads time _"]:
        """Queries, keys and values of each head."""
        return qkv.view(*qkv.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def look(
        self,
        query: Float[Tensor, "batch heads asked size"],
        key: Float[Tensor, "batch heads time size"],
        value: Float[Tensor, "batch heads time size"],
        hidden: Float[Tensor, "_ 1 _ time"],
    ) -> Float[Tensor, "batch asked width"]:
        scores = torch.add(hidden.to(query.dtype), query @ key.transpose(-1, -2), alpha=1 / sqrt(query.shape[-1]))
        return (self.attention_dropout(softmax(scores)) @ value).transpose(1, 2).flatten(2)

    def attend_from(
        self, read: Int[Tensor, " batch"], x: Float[Tensor, "batch time width"], hidden: Tensor
    ) -> Float[Tensor, "batch width"]:
        """The same for one word of each row, and without any key or value: query (W x) is (query W) x, and the mean of
        values W x + b is W applied to the mean of x, + b. The keys' bias adds the same to all scores of a word, which
        softmax does not see."""
        if not hooked(self.qkv):
            native = ask(x, read, self.qkv, hidden, self.heads, self.attention_dropout)
            return self.ask_by_operators(read, x, hidden) if native is None else native
        batch, time, _ = x.shape
        query, key, value = self.split(self.qkv(x))
        query = at(query.transpose(1, 2), read)[:, :, None]
        hidden = at(hidden.squeeze(1).expand(batch, time, time), read)
        return self.look(query, key, value, hidden[:, None, None]).squeeze(1)

    def ask_by_operators(
        self, read: Int[Tensor, " batch"], x: Float[Tensor, "batch time width"], hidden: Tensor
    ) -> Float[Tensor, "batch width"]:
        batch, time, width = x.shape
        hidden = at(hidden.squeeze(1).expand(batch, time, time), read)
        to_query, to_key, to_value = self.qkv.weight.view(3, self.heads, -1, width)
        query_bias, _, value_bias = self.qkv.bias.view(3, self.heads, 1, -1)
        query = at(x, read) @ to_query.transpose(1, 2) + query_bias  # [heads, batch, width/heads]
        asked, factor = query @ to_key, 1 / sqrt(width // self.heads)  # [heads, batch, width]
        x = x.to(asked.dtype)
        scores = torch.add(hidden[:, None].to(x.dtype), asked.transpose(0, 1) @ x.transpose(1, 2), alpha=factor)
        shares = self.attention_dropout(softmax(scores))  # [batch, heads, time]
        looked, sums = (shares @ x).transpose(0, 1), shares.sum(-1).T
        values = looked @ to_value.transpose(1, 2) + sums[..., None] * value_bias
        return values.transpose(0, 1).reshape(batch, width)


def causal(words: Int[Tensor, "batch time"]) -> Bool[Tensor, "1 1 time time"]:
    """Each word looks at itself and those before it. Padding stands behind, so no word sees it."""
    time = words.shape[1]
    return torch.ones(time, time, dtype=torch.bool, device=words.device).tril()[None, None]


def initialise_transformer(model: nn.Module, stream: torch.Generator) -> None:
    """Truncated normal weights, zero biases, unit norms (F4.1)."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            deviation = DEVIATION
            nn.init.trunc_normal_(module.weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=stream)
        if isinstance(module, nn.Linear | nn.LayerNorm):
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
