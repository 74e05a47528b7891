"""Recipes of the agreement study at `laptop` scale, on 5,000 held-out training sentences, never on a test set.

    python benchmarks/tune_agreement.py --data DIR

Trains on the first 45,000 sentences of wiki-train and scores the last 5,000 after every epoch: all, those whose verb
follows its subject at once, and those at distance 5 or more. Nothing is kept. results/tuning-agreement.txt has what was
looked at before choosing.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from distillbias.data import agreement
from distillbias.data.vocabulary import build_vocabulary
from distillbias.evaluation.predict import predict
from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMConfig
from distillbias.models.output import ModelConfig
from distillbias.models.transformer import TransformerConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig
from distillbias.studies.lessons import build
from distillbias.studies.run import Run
from distillbias.tasks.agreement_classification import AgreementClassification, encoded
from distillbias.training.batching import ResidentData
from distillbias.training.loop import train
from distillbias.training.objectives import from_labels
from distillbias.training.recipe import Recipe, WarmupCosine
from distillbias.training.seeds import stream

TASK = AgreementClassification("wiki")
TRAIN, FAR = 45_000, 5


def candidates() -> Iterator[tuple[ModelConfig, Recipe]]:
    """What was tried, with the dropout rates that it was tried with."""
    lstm, recipe = LSTMConfig(), Recipe(6, 128, 4e-3, WarmupCosine(), precision="bfloat16")
    for rate in (0.2, 0.5):
        yield replace(lstm, embedding_dropout=0.2, dropout=rate, output_dropout=rate), recipe
    slow = replace(recipe, rate=1e-3)
    transformer = TransformerConfig("last")
    for rate, epochs in ((0.1, 6), (0.2, 5)):
        light = replace(transformer, embedding_dropout=rate, attention_dropout=rate, dropout=rate)
        yield light, replace(slow, epochs=epochs)
    tied = UniversalTransformerConfig(embedding_dropout=0.1, attention_dropout=0.1, dropout=0.1)
    yield tied, replace(recipe, rate=5e-4, epochs=4)


def follow(model: ModelConfig, recipe: Recipe, data: Path) -> list[str]:
    """A line after every epoch."""
    torch.set_num_threads(1)
    (sentences,) = agreement.load_set("wiki-train", data).values()
    first, last = sentences.rows(np.arange(TRAIN)), sentences.rows(np.arange(TRAIN, len(sentences)))
    vocabulary = build_vocabulary(first.words, TASK.words)
    resident, held_out = ResidentData(encoded(first, vocabulary)), encoded(last, vocabulary)
    distance = held_out.columns["distance"]
    run = Run(TASK, model, recipe, trial=0)
    network = build(run)
    give_stream(network, stream("dropout", model.name, 0))
    total = recipe.steps(len(resident))
    batches = resident.batches(recipe.epochs, recipe.batch, lambda epoch: stream("order", epoch))
    lines = []
    for step in train(network, from_labels(), batches, recipe, total):
        if step.done % (total // recipe.epochs) == 0:
            right = predict(network, held_out)[0].argmax(1) == held_out.labels
            parts = {"all": right, "distance 1": right[distance == 1], f"distance {FAR}+": right[distance >= FAR]}
            told = ", ".join(f"{name} {part.mean():.4f}" for name, part in parts.items())
            lines.append(f"{model} | rate {recipe.rate:g}, {recipe.epochs} epochs | step {step.done} | {told}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    models, recipes = zip(*candidates(), strict=True)
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as pool:
        for lines in pool.map(follow, models, recipes, [arguments.data] * len(models)):
            print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
