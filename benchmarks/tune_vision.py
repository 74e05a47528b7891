"""The `laptop` recipes of the vision study on 5,000 held-out training images, never on a test set.

    python benchmarks/tune_vision.py --data DIR               bf16 against float32 at the chosen recipes
    python benchmarks/tune_vision.py --data DIR --candidates  the recipes that were compared before choosing

Prints one line a training: the recipe, validation accuracy and NLL, seconds. Nothing is kept; what the first command
printed is in results/tuning-vision.txt.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch

from distillbias.evaluation.metrics import accuracy, negative_log_likelihood
from distillbias.evaluation.predict import predict
from distillbias.models.cnn import CNNConfig
from distillbias.studies.execute import fit, load_splits
from distillbias.studies.lessons import Lesson, build
from distillbias.studies.run import Run
from distillbias.studies.vision import LAPTOP_CNN, alone, laptop
from distillbias.training.objectives import from_labels
from distillbias.training.recipe import WarmupCosine

HELD_OUT = 5_000


def chosen(trials: int) -> Iterator[Run]:
    """The laptop recipes in both precisions."""
    setting = replace(laptop(), task=replace(laptop().task, holdout=HELD_OUT))
    for model, repeats in (("CNN", 1), ("MLP", trials)):
        for trial in range(repeats):
            run = alone(setting, model, trial)
            for precision in ("float32", "bfloat16"):
                yield replace(run, recipe=replace(run.recipe, precision=precision))


def candidates() -> Iterator[Run]:
    """What was tried before choosing: sizes, dropout, rates and lengths."""
    setting = replace(laptop(), task=replace(laptop().task, holdout=HELD_OUT))
    cnn, mlp = alone(setting, "CNN", 0), alone(setting, "MLP", 0)
    small = CNNConfig(filters=(32, 32, 64), maxout=(32, 32, 16))
    tried = (
        (small, 10, 4e-3),
        (replace(small, dropout=0.1), 6, 4e-3),
        (replace(small, dropout=0.1), 6, 1e-2),
        (replace(small, dropout=0.0), 6, 4e-3),
        (CNNConfig(filters=(16, 32, 64), maxout=(16, 32, 16), dropout=0.1), 6, 4e-3),
        (LAPTOP_CNN, 6, 4e-3),
        (replace(LAPTOP_CNN, dropout=0.0), 6, 4e-3),
        (LAPTOP_CNN, 12, 1e-2),
    )
    for config, epochs, rate in tried:
        yield replace(cnn, model=config, recipe=replace(cnn.recipe, epochs=epochs, rate=rate))
    for epochs, batch, rate in ((30, 128, 1e-3), (30, 128, 2e-3), (30, 128, 4e-3), (60, 128, 1e-3)):
        yield replace(mlp, recipe=replace(mlp.recipe, epochs=epochs, batch=batch, rate=rate))
    for epochs, rate in ((30, 2e-3), (40, 4e-3), (40, 8e-3)):
        yield replace(mlp, recipe=replace(mlp.recipe, epochs=epochs, rate=rate))


def score(run: Run, data: Path) -> str:
    """Train on all but the held-out images and score those."""
    torch.set_num_threads(1)
    splits, model = load_splits(run.task, data), build(run)
    began = time.perf_counter()
    fit(run, model, Lesson(from_labels()), splits.train, lambda said: None)
    seconds = time.perf_counter() - began
    logits, _ = predict(model, splits.validation)
    right, nll = accuracy(logits, splits.validation.labels), negative_log_likelihood(logits, splits.validation.labels)
    recipe = run.recipe
    name = f"{run.model.name} {run.model if isinstance(run.model, CNNConfig) else ''}"
    how = f"{recipe.epochs} epochs, batch {recipe.batch}, rate {recipe.rate:g}, {recipe.precision}"
    assert isinstance(recipe.schedule, WarmupCosine)
    return f"{name} | {how} | trial {run.trial} | accuracy {right:.4f} | NLL {nll:.4f} | {seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--candidates", action="store_true")
    parser.add_argument("--trials", type=int, default=4, help="trials of the MLP (default 4)")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    runs = list(candidates() if arguments.candidates else chosen(arguments.trials))
    print(
        f"{HELD_OUT:,} held-out training images; torch {torch.__version__}; {arguments.workers} workers of one thread"
    )
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as pool:
        for line in pool.map(score, runs, [arguments.data] * len(runs)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
