"""What the tests of the agreement case train: the declared study on few sentences, with very small models."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from distillbias.models.lstm import LSTMConfig
from distillbias.models.transformer import TransformerConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig
from distillbias.studies.agreement import Setting, _same, every_arm
from distillbias.studies.study import Study
from distillbias.tasks import agreement
from distillbias.tasks.agreement_classification import AgreementClassification
from distillbias.training.recipe import Recipe, WarmupCosine

NOWHERE = Path("nowhere")
SIZES = {"GRAMMAR_TRAIN": 400, "GRAMMAR_TEST": 200, "GRAMMAR_GROUP": 12}
RECIPE = Recipe(epochs=1, batch=64, rate=5e-3, schedule=WarmupCosine())
TASK = AgreementClassification("grammar", words=900)
TINY = {"embedding_dropout": 0.1, "attention_dropout": 0.1, "dropout": 0.1}


@contextmanager
def small_grammar() -> Iterator[None]:
    """Few generated sentences: checked by beartype, a sentence takes a hundred times as long."""
    with patch.multiple(agreement, **SIZES):
        yield


def setting() -> Setting:
    models = {
        "Transformer": TransformerConfig("first", width=8, layers=1, heads=2, **TINY),
        "Transformer-seq": TransformerConfig("last", width=8, layers=1, heads=2, **TINY),
        "UniversalTransformer-seq": UniversalTransformerConfig(width=8, rounds=2, heads=2, **TINY),
        "LSTM": LSTMConfig(width=8, layers=1, embedding_dropout=0.1, dropout=0.1, output_dropout=0.1),
    }
    recipes = {family: replace(RECIPE) for family in models}
    soft = LSTMConfig(width=8, layers=1)
    return Setting(TASK, models, soft, recipes, _same(recipes))


def agreement_study(trials: int = 1) -> Study:
    """Every arm of the agreement study."""
    return Study("agreement", "tiny", "Does it?", every_arm(setting(), trials))
