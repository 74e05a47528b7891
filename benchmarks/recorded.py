"""What recording a step saves on a CPU: milliseconds of steps as they come and replayed (`training/tapes.py`).

    python -m benchmarks.recorded                  a few minutes on one quiet core

Each student learns from fixed logits, of noise: a step costs what it costs on real data. One thread; both trainings of
a row in one process, some steps of each in turn, medians.
"""

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from statistics import median

import numpy as np
import torch

from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMConfig
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import ModelConfig, fresh, initialise
from distillbias.models.transformer import TransformerConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig
from distillbias.studies.lessons import place
from distillbias.studies.processes import keep_large_blocks
from distillbias.studies.provenance import provenance
from distillbias.studies.vision import DEMO_CNN
from distillbias.tasks.task import Examples, Spec
from distillbias.training import loop, tapes
from distillbias.training.batching import ResidentData
from distillbias.training.objectives import from_teacher
from distillbias.training.precision import Precision
from distillbias.training.recipe import Recipe, WarmupCosine
from distillbias.training.seeds import stream

WARMUP, TURNS, TOGETHER = 20, 12, 20  # steps before; turns of each; steps of a turn
IMAGES, WORDS = Spec(shape=(28, 28), classes=10), Spec(shape=(), classes=2, vocabulary=5000)
Case = tuple[ModelConfig, Spec, Precision, int, int]  # model, its task, precision, batch, words of a sentence
CASES: dict[str, Case] = {
    "MLP, the paper's": (MLPConfig(), IMAGES, "float32", 128, 0),
    "MLP, the paper's, bf16": (MLPConfig(), IMAGES, "bfloat16", 128, 0),
    "CNN, the demo's, bf16": (DEMO_CNN, IMAGES, "bfloat16", 128, 0),
    "LSTM, the paper's, bf16, 4 words": (LSTMConfig(), WORDS, "bfloat16", 128, 4),
    "LSTM, the paper's, bf16, 11 words": (LSTMConfig(), WORDS, "bfloat16", 128, 11),
    "Transformer, the demo's, bf16": (TransformerConfig("last", 32, 2, 4), WORDS, "bfloat16", 64, 11),
    "UniversalTransformer, the demo's, bf16": (UniversalTransformerConfig(64, 2, 4), WORDS, "bfloat16", 64, 11),
    "Transformer, the paper's, bf16, 4 words": (TransformerConfig("last"), WORDS, "bfloat16", 128, 4),
    "Transformer, the paper's, bf16, 11 words": (TransformerConfig("last"), WORDS, "bfloat16", 128, 11),
    "UniversalTransformer, the paper's, bf16, 11 words": (UniversalTransformerConfig(), WORDS, "bfloat16", 128, 11),
}


def noise(spec: Spec, count: int, words: int) -> Examples:
    random = np.random.default_rng(0)
    if words:
        inputs = random.integers(1, spec.vocabulary, (count, words))
    else:
        inputs = random.integers(0, 256, (count, *spec.shape), dtype=np.uint8)
    return Examples(inputs, random.integers(0, spec.classes, count), np.arange(count), "noise", "none")


def training(config: ModelConfig, spec: Spec, precision: Precision, batch: int, words: int) -> Iterator[loop.Step]:
    model = place(fresh(config, spec), "cpu")
    initialise(model, stream("weights"))
    give_stream(model, stream("dropout"))
    examples = noise(spec, 20 * batch, words)
    said = torch.randn(len(examples), spec.classes, generator=stream("answers"))
    epochs = 1 + (WARMUP + TURNS * TOGETHER) // 20
    recipe = Recipe(epochs, batch, 1e-4, WarmupCosine(), l1=1e-6, l2=1e-6, precision=precision)
    batches = ResidentData(examples).batches(
        epochs, batch, lambda epoch: stream("order", epoch), lambda rows, inputs: said.index_select(0, rows)
    )
    return loop.train(model, from_teacher(5.0, 1.0, "tau2", True), batches, recipe, recipe.steps(len(examples)))


def measure(case: Case) -> tuple[float, float, int]:
    """Milliseconds of a step as it comes and of one that may be replayed; bytes that its tape wants at once."""
    made: list[tapes.Tape] = []
    used, kind = loop.recorder, tapes.Tape
    tapes.Tape = lambda: made.append(kind()) or made[-1]  # type: ignore[assignment, misc, func-returns-value]
    trainings, seen = [training(*case) for _ in range(2)], ([], [])
    try:
        for one, recorder in zip(trainings, (lambda *_: None, used), strict=True):
            loop.recorder = recorder  # type: ignore[assignment] # it is asked at the first step
            for _ in islice(one, WARMUP):
                pass
        for _ in range(TURNS):
            for one, times in zip(trainings, seen, strict=True):
                began = time.perf_counter()
                for _ in islice(one, TOGETHER):
                    pass
                times.append(1e3 * (time.perf_counter() - began) / TOGETHER)
    finally:
        loop.recorder, tapes.Tape = used, kind  # type: ignore[misc]
    plain, replayed = map(median, seen)
    return plain, replayed, sum(tape.wanted for tape in made if tape.playable)


def main() -> None:
    torch.set_num_threads(1)
    keep_large_blocks()
    known = provenance("cpu")
    print(f"{known['device']}, one thread, torch {known['torch']}, commit {known['commit']}")
    print("ms a step as it comes, replayed; MB that a tape wants at once")
    for name, case in CASES.items():
        plain, replayed, held = measure(case)
        told = f"{held / 1e6:.1f}" if held else "no tape"
        print(f"{name}: {plain:.2f} {replayed:.2f} ({replayed / plain - 1:+.0%}); {told}", flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser("python -m benchmarks.recorded", description=__doc__.splitlines()[0]).parse_args()
    main()
