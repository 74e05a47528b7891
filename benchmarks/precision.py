"""What a CNN learns in float32, in bf16 by torch's operators, and in bf16 as it is compiled (`models/native.c`).

    python -m benchmarks.precision --data DIR                 some six minutes on two quiet cores
    python -m benchmarks.precision --data DIR --trials 2

The `laptop` CNN of the vision case on MNIST, an epoch long, on all but 5,000 images; accuracy on these, never on a test
set. Trials have the same start, order and dropout in each way, so differences are between pairs.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

from distillbias.evaluation.metrics import accuracy
from distillbias.evaluation.predict import predict
from distillbias.models.native import put_aside
from distillbias.studies.execute import fit, load_splits
from distillbias.studies.lessons import Lesson, build
from distillbias.studies.provenance import provenance
from distillbias.studies.vision import alone, laptop
from distillbias.training.objectives import from_labels
from distillbias.training.precision import has_bfloat16

HELD_OUT = 5_000
WAYS = {"float32": ("float32", False), "bf16, torch's": ("bfloat16", True), "bf16, compiled": ("bfloat16", False)}
WORKERS = 2


def learned(way: str, trial: int, epochs: int, data: Path) -> float:
    """Accuracy on the held-out images after training one way."""
    torch.set_num_threads(1)
    precision, by_torch = WAYS[way]
    setting = replace(laptop(), task=replace(laptop().task, holdout=HELD_OUT))
    run = alone(setting, "CNN", trial)
    run = replace(run, recipe=replace(run.recipe, epochs=epochs, precision=precision))
    splits, model = load_splits(run.task, data), build(run)
    with put_aside() if by_torch else nullcontext():
        fit(run, model, Lesson(from_labels()), splits.train, lambda said: None)
    return accuracy(predict(model, splits.validation)[0], splits.validation.labels)


def lines(found: dict[str, Sequence[float]]) -> list[str]:
    """Of each way the mean over trials, their standard deviation and all of them; then differences from the first way,
    pair by pair, with the standard error of their mean. In percent."""
    told = [
        f"{way}: {mean(found[way]):.2%}, trials {stdev(found[way]):.2%} apart: "
        + " ".join(f"{each:.2%}" for each in found[way])
        for way in found
    ]
    first, *others = found
    for way in others:
        apart = np.subtract(found[way], found[first])
        told.append(f"{way} - {first}: {apart.mean():+.2%}, standard error {apart.std(ddof=1) / len(apart) ** 0.5:.2%}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="where MNIST lies")
    parser.add_argument("--trials", type=int, default=4, help="of each way, at least 2 (default 4)")
    parser.add_argument("--epochs", type=int, default=1, help="of each training (default 1)")
    given = parser.parse_args()
    if given.trials < 2:
        parser.error(f"{given.trials} trials; a deviation needs at least 2")
    if given.epochs < 1:
        parser.error(f"{given.epochs} epochs; a training needs at least 1")
    if not has_bfloat16(torch.device("cpu")):
        parser.error("this processor multiplies no bfloat16: all ways would be float32 (training/precision.py)")
    known = provenance("cpu")
    print(f"{known['device']}, torch {known['torch']}, commit {known['commit']}; {HELD_OUT:,} held-out images of MNIST")
    cells = [(way, trial) for trial in range(given.trials) for way in WAYS]
    ways, trials = zip(*cells, strict=True)
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        every = pool.map(learned, ways, trials, [given.epochs] * len(cells), [given.data] * len(cells))
        scores = dict(zip(cells, every, strict=True))
    print(*lines({way: [scores[way, trial] for trial in range(given.trials)] for way in WAYS}), sep="\n")


if __name__ == "__main__":
    main()
