"""What bfloat16 saves or costs on this processor: milliseconds of a training step in float32 and in bfloat16.

    python -m benchmarks.emulated                  some minutes on one core

Where a processor multiplies no bfloat16 a training makes its products in float32, whatever its recipe asks for
(`training/precision.py`); here it is held to what it asks. The students of `benchmarks.recorded`, steps as they come,
one thread; both trainings of a row in one process, in turns, medians.
"""

import argparse
from itertools import islice
from statistics import median
from time import perf_counter

import torch
from benchmarks.recorded import CASES, Case, training

from distillbias.studies.processes import keep_large_blocks
from distillbias.studies.provenance import provenance
from distillbias.training import loop
from distillbias.training.precision import has_bfloat16

BEFORE, TURNS = 2, 5  # steps before; turns of each, of a step


def measure(case: Case) -> tuple[float, float]:
    """Milliseconds of a step in float32 and in bfloat16."""
    config, spec, _, batch, words = case
    usual = loop.recorder, loop.precision_on
    trainings = [training(config, spec, kind, batch, words) for kind in ("float32", "bfloat16")]
    exact, rough = seen = [], []  # type: tuple[list[float], list[float]]
    try:
        loop.recorder, loop.precision_on = lambda *_: None, lambda device, asked: asked  # type: ignore[assignment]
        for one in trainings:
            for _ in islice(one, BEFORE):
                pass
        for _ in range(TURNS):
            for one, times in zip(trainings, seen, strict=True):
                began = perf_counter()
                next(one)
                times.append(1e3 * (perf_counter() - began))
    finally:
        loop.recorder, loop.precision_on = usual  # type: ignore[assignment]
    return median(exact), median(rough)


def main() -> None:
    torch.set_num_threads(1)
    keep_large_blocks()
    known, how = provenance("cpu"), "multiplies" if has_bfloat16(torch.device("cpu")) else "emulates"
    print(f"{known['device']}, which {how} bfloat16, one thread, torch {known['torch']}, commit {known['commit']}")
    print("ms a step in float32, in bfloat16")
    for name, case in CASES.items():
        if case[2] == "bfloat16":
            exact, rough = measure(case)
            print(f"{name.replace(', bf16', '')}: {exact:.2f} {rough:.2f} ({rough / exact:.2f} times)", flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser("python -m benchmarks.emulated", description=__doc__.splitlines()[0]).parse_args()
    main()
