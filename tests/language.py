"""What the tests of language models use: a few sentences by hand, and models so small that a step takes no time."""

import numpy as np
import torch
from torch import nn

from distillbias.data.sentences import FACTS, UNKNOWN, Sentences
from distillbias.data.vocabulary import Vocabulary, build_vocabulary
from distillbias.models.lstm import LSTMLanguageModelConfig
from distillbias.models.output import initialise
from distillbias.models.transformer import TransformerLanguageModelConfig
from distillbias.tasks.agreement_lm import NextWordExamples, encoded
from distillbias.tasks.task import Spec

LSTM = LSTMLanguageModelConfig(width=8, layers=1, embedding_dropout=0.1, dropout=0.1, output_dropout=0.1)
TRANSFORMER = TransformerLanguageModelConfig(
    width=8, layers=2, heads=2, embedding_dropout=0.1, attention_dropout=0.1, dropout=0.1
)
MODELS = {"LSTM": LSTM, "Transformer": TRANSFORMER}

# sentence, where its verb is, right and wrong form; the third stops before its verb, the forms of the last are unknown
ROWS = (
    ("the keys to the cabinet are here .", 5, "are", "is"),
    ("the key is here .", 2, "is", "are"),
    ("the key to the cabinets", 5, "", ""),
    ("the keys open .", 2, "open", "opens"),
    ("the key opens the cabinet .", 2, "opens", "open"),
    ("a key VBZ .", 2, "abuts", "abut"),
)
PLURAL = (True, False, False, True, False, False)
PAIRS = {"is": "are", "opens": "open", "abuts": "abut"}


def sentences(repeats: int = 1) -> Sentences:
    texts, verbs, right, wrong = (list(column) * repeats for column in zip(*ROWS, strict=True))
    unknown = np.full(len(texts), UNKNOWN, np.int32)
    return Sentences(
        [text.split() for text in texts],
        np.array(verbs, np.int32),
        np.array(PLURAL * repeats),
        right,
        wrong,
        dict.fromkeys(FACTS, unknown),
        "by hand",
    )


VOCABULARY: Vocabulary = build_vocabulary([*sentences().words, ["opens", "open"]], 100)
SPEC = Spec(shape=(), classes=len(VOCABULARY), vocabulary=len(VOCABULARY))


def examples(repeats: int = 1) -> NextWordExamples:
    return encoded(sentences(repeats), VOCABULARY, PAIRS)


def model(name: str = "LSTM", seed: int = 0) -> nn.Module:
    built = MODELS[name].build(SPEC)
    initialise(built, torch.Generator().manual_seed(seed))
    with torch.no_grad():  # the first weights hardly tell one word from another
        for parameter in built.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    return built
