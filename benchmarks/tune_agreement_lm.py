"""Recipes of the language models at `laptop` scale, on 5,000 held-out training sentences, never on a test set.

    python benchmarks/tune_agreement_lm.py --data DIR

Trains on the first 15,000 sentences of wiki-train and scores the last 5,000 after every epoch: perplexity, and how
often the right form of the verb is the more likely, for all and for those at distance 5 or more. Nothing is kept.
results/tuning-agreement-lm.txt has what it printed before the recipes were chosen.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from distillbias.data import agreement
from distillbias.data.agreement_forms import verb_pairs
from distillbias.data.vocabulary import build_vocabulary
from distillbias.evaluation.perplexity import perplexities, sentence_losses
from distillbias.evaluation.predict import predict
from distillbias.models.dropout import give_stream
from distillbias.models.output import ModelConfig
from distillbias.studies.agreement_lm import laptop
from distillbias.studies.lessons import build
from distillbias.studies.run import Run
from distillbias.tasks.agreement_lm import AgreementLM, encoded
from distillbias.training.batching import ResidentData
from distillbias.training.loop import train
from distillbias.training.objectives import from_labels
from distillbias.training.recipe import Recipe
from distillbias.training.seeds import stream

TASK = AgreementLM("wiki")
TRAIN, HELD_OUT, FAR = 15_000, 5_000, 5
RATES = {"Transformer": (1e-3, 2e-3), "LSTM": (4e-3, 8e-3)}
BATCHES = (32, 64)


def candidates() -> Iterator[tuple[ModelConfig, Recipe]]:
    """Each family with as many recipes as the other, three epochs long."""
    setting = laptop()
    for family, model in setting.models.items():
        for rate, batch in product(RATES[family], BATCHES):
            yield model, replace(setting.labels[family], epochs=3, rate=rate, batch=batch)


def follow(model: ModelConfig, recipe: Recipe, data: Path) -> list[str]:
    """A line after every epoch."""
    torch.set_num_threads(1)
    (sentences,) = agreement.load_set("wiki-train", data).values()
    first, last = sentences.rows(np.arange(TRAIN)), sentences.rows(np.arange(len(sentences))[-HELD_OUT:])
    vocabulary, pairs = build_vocabulary(sentences.words, TASK.words), verb_pairs([sentences])
    resident, held_out = ResidentData(encoded(first, vocabulary, pairs)), encoded(last, vocabulary, pairs)
    far = held_out.columns["distance"] >= FAR
    network = build(Run(TASK, model, recipe, trial=0))
    give_stream(network, stream("dropout", model.name, 0))
    total = recipe.steps(len(resident))
    batches = resident.batches(recipe.epochs, recipe.batch, lambda epoch: stream("order", epoch))
    lines = []
    for step in train(network, from_labels(), batches, recipe, total):
        if step.done % (total // recipe.epochs) == 0:
            perplexity = perplexities(sentence_losses(network, held_out))["perplexity"]
            right = predict(network, held_out)[0].argmax(1) == held_out.labels
            told = f"perplexity {perplexity:.1f}, right {right.mean():.4f}, distance {FAR}+ {right[far].mean():.4f}"
            lines.append(f"{model} | rate {recipe.rate:g}, batch {recipe.batch} | step {step.done} | {told}")
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
