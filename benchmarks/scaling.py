"""How time and memory grow: with trials, training sentences, test sentences, words of the vocabulary, words a sentence.

    python -m benchmarks.scaling --out results/benchmarks/     some ten minutes on two quiet cores
    python -m benchmarks.scaling --axes trials,length          some of it, the table on the screen

One axis at a time grows, all else stays; each point is a process of its own. Seconds are by the clock, from the first
step to the last, on one thread (trials: whole studies, two workers, start and evaluation counted); memory is the peak
of the process, of trials that of the largest worker. Sentences are generated, models those of the demo. A power of 1 in
the last column is linear growth: it is fitted to the logarithms of the largest half of the points.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import ceil, floor, log10
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.ticker import NullFormatter, NullLocator

from distillbias.data import grammar
from distillbias.data.vocabulary import build_vocabulary
from distillbias.evaluation.predict import predict
from distillbias.models.dropout import give_stream
from distillbias.models.output import ModelConfig, fresh, initialise
from distillbias.report.figures_style import new_figure, save, styled
from distillbias.studies import agreement, agreement_lm
from distillbias.studies.files import write_whole
from distillbias.studies.processes import ALLOCATOR
from distillbias.studies.provenance import forget_peak, peak_megabytes, provenance
from distillbias.studies.runner import run_study
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.tasks.agreement_classification import encoded
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Examples, Spec
from distillbias.training.batching import ResidentData
from distillbias.training.loop import train
from distillbias.training.objectives import from_labels
from distillbias.training.recipe import Recipe
from distillbias.training.seeds import stream

WORDS = 2_000
BATCH, STEPS = 64, 50
BUDGET = 2**15  # words of a batch, where the length of sentences grows


class Point(NamedTuple):
    seconds: float
    megabytes: int


class Axis(NamedTuple):
    """What grows, where it is looked at, and how a point is measured."""

    title: str
    values: tuple[int, ...]
    measure: Callable[[int], Point]


def trials(count: int) -> Point:
    """A study of so many LSTMs, without its report."""
    setting = agreement.demo()
    arms = {"LSTM": tuple(agreement.alone(setting, "LSTM", trial) for trial in range(count))}
    study = Study("agreement", "scaling", "?", arms)
    with tempfile.TemporaryDirectory() as folder:
        store, began = Store(Path(folder)), time.perf_counter()
        run_study(study, store, None, workers=2)
        seconds = time.perf_counter() - began
        peaks = [store.record(run).facts["provenance"]["peak_megabytes"] for run in study.runs]
    return Point(seconds, max(peaks))


def examples(count: int) -> Point:
    """An epoch of the LSTM over so many sentences."""
    setting = agreement.demo()
    return _epoch(setting.models["LSTM"], setting.labels["LSTM"], sentences(count), WORDS)


def evaluated(count: int) -> Point:
    """So many sentences are answered by the LSTM; the paper's test set has 1.4 million."""
    made, model = sentences(count), _model(agreement.demo().models["LSTM"], WORDS)
    predict(model, made, np.arange(1_000))
    began = time.perf_counter()
    predict(model, made)
    return Point(time.perf_counter() - began, peak_megabytes())


def vocabulary(count: int) -> Point:
    """Steps of a language model over so many words."""
    random = np.random.default_rng(0)
    words = random.integers(4, count, (STEPS * BATCH, 16), dtype=np.int32)
    setting = agreement_lm.demo()
    return _epoch(setting.models["LSTM"], setting.labels["LSTM"], _next_words(words), count)


def length(count: int) -> Point:
    """Steps of the Transformer-seq over sentences of so many words, the same number of words in all."""
    words = np.random.default_rng(0).integers(4, WORDS, (8 * BUDGET // count, count), dtype=np.int32)
    setting = agreement.demo()
    recipe = replace(setting.labels["Transformer-seq"], batch=BUDGET // count)
    return _epoch(setting.models["Transformer-seq"], recipe, _labelled(words), WORDS)


AXES = {
    "trials": Axis("trials", (1, 2, 4, 8, 16), trials),
    "examples": Axis("training sentences", (1_000, 10_000, 100_000, 1_000_000), examples),
    "evaluated": Axis("test sentences", (1_000, 10_000, 100_000, 1_400_000), evaluated),
    "vocabulary": Axis("words of the vocabulary", (1_000, 4_000, 16_000, 64_000), vocabulary),
    "length": Axis("words a sentence", (8, 32, 128, 512), length),
}


def sentences(count: int) -> Examples:
    rows = grammar.generate(count, "scaling")
    return encoded(rows, build_vocabulary(rows.words[:10_000], WORDS))


def _labelled(words: np.ndarray) -> Examples:
    return Examples(words, words[:, 0].astype(np.int64) % 2, np.arange(len(words)), "random words", "")


def _next_words(words: np.ndarray) -> NextWordExamples:
    made, no_verbs = _labelled(words), np.empty((2, 0), np.int64)
    return NextWordExamples(made.inputs, made.labels, made.ids, made.origin, made.fingerprint, forms=no_verbs)


def _model(config: ModelConfig, words: int) -> torch.nn.Module:
    model = fresh(config, Spec(shape=(), classes=2, vocabulary=words))
    initialise(model, stream("scaling"))
    give_stream(model, stream("dropout"))
    return model


def _epoch(config: ModelConfig, recipe: Recipe, made: Examples, words: int) -> Point:
    """One epoch, after a few steps that are not counted."""
    data, model = ResidentData(made), _model(config, words)
    recipe = replace(recipe, epochs=1, batch=min(recipe.batch, len(data)))
    order = lambda epoch: stream("order", epoch)  # noqa: E731
    for warm in train(model, from_labels(), data.batches(1, recipe.batch, order), recipe, 100):
        if warm.done == 3:
            break
    forget_peak()
    began = time.perf_counter()
    for step in train(model, from_labels(), data.batches(1, recipe.batch, order), recipe, recipe.steps(len(data))):
        last = step.loss
    assert last.isfinite()
    return Point(time.perf_counter() - began, peak_megabytes())


def measured(name: str, value: int) -> Point:
    """In a process of its own."""
    words = [sys.executable, "-m", "benchmarks.scaling", "--point", name, str(value)]
    done = subprocess.run(words, env=os.environ | ALLOCATOR, stdout=subprocess.PIPE, text=True, check=True)
    return Point(*json.loads(done.stdout))


def slope(values: Iterable[int], amounts: Iterable[float]) -> float:
    """Of the logarithms, over the largest half of the points: the power that an amount grows with."""
    x, y = np.log(list(values)), np.log(list(amounts))
    half = len(x) // 2
    return float(np.polyfit(x[half:], y[half:], 1)[0])


def table(found: dict[str, dict[int, Point]]) -> Iterator[str]:
    yield "| what grows | to | seconds | seconds for one | peak memory (MB) | power of time |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, points in found.items():
        power = slope(points, (point.seconds for point in points.values())) if len(points) > 2 else None
        for value, point in points.items():
            last = f"{power:.2f}" if power is not None and value == max(points) else ""
            one = f"{point.seconds / value:.3g}"
            yield f"| {AXES[name].title} | {value:,} | {point.seconds:.2f} | {one} | {point.megabytes:,} | {last} |"


def short(value: float, place: int | None = None) -> str:
    """For people: 0.01, 1, 300, 10k, 1.4M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


@styled
def draw(found: dict[str, dict[int, Point]], out: Path) -> None:
    """Time above, memory below, one column an axis; the thin line is linear growth through the last point."""
    figure, axes = new_figure(2, len(found), width=2.4 * len(found), height=4.6)
    for column, (name, points) in enumerate(found.items()):
        values = list(points)
        for row, amounts in enumerate(zip(*points.values(), strict=True)):
            panel = axes[row, column]
            if row == 0:
                panel.plot(values, [amounts[-1] * value / values[-1] for value in values], color=".7", linewidth=0.8)
            panel.plot(values, amounts, marker="o", markersize=4)
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_xticks(values, [short(value) for value in values], minor=False)
            panel.xaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_major_formatter(short)
            panel.yaxis.set_minor_formatter(NullFormatter())
        axes[0, column].set_title(AXES[name].title)
        axes[1, column].set_ylim(100, 20_000)
        low, high = axes[0, column].get_ylim()  # out to whole powers of ten, or few ticks would have a number
        axes[0, column].set_ylim(10 ** floor(log10(low)), 10 ** ceil(log10(high)))
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory (MB)")
    save(figure, out, "scaling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", default=",".join(AXES), help="some of them, with commas")
    parser.add_argument("--most", type=int, default=10**9, help="leave larger values out")
    parser.add_argument("--out", type=Path, help="a folder for scaling.json, scaling.md and the figure")
    parser.add_argument("--point", nargs=2, metavar=("AXIS", "VALUE"), help="measure one point in this process")
    given = parser.parse_args()
    if given.point:
        torch.set_num_threads(1)
        print(json.dumps(AXES[given.point[0]].measure(int(given.point[1]))))
        return
    names = given.axes.split(",")
    if unknown := [name for name in names if name not in AXES]:
        parser.error(f"axis {unknown[0]!r}; it is one of {', '.join(AXES)}")
    found: dict[str, dict[int, Point]] = {}
    for name in names:
        found[name] = {}
        for value in (each for each in AXES[name].values if each <= given.most):
            found[name][value] = measured(name, value)
            print(f"{AXES[name].title} {value:,}: {found[name][value].seconds:.2f} s", flush=True)
    lines = list(table(found))
    print("\n".join(lines))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        where = {key: value for key, value in provenance("cpu").items() if key != "peak_megabytes"}
        text = json.dumps(
            {"made": where, "points": {n: {v: p._asdict() for v, p in f.items()} for n, f in found.items()}}
        )
        write_whole(given.out / "scaling.json", lambda part: part.write_text(text + "\n"))
        page = "\n".join(
            ["# How cost grows", "", f"{where['device']}, torch {where['torch']}, {where['commit']}.", "", *lines]
        )
        write_whole(given.out / "scaling.md", lambda part: part.write_text(page + "\n"))
        draw(found, given.out)


if __name__ == "__main__":
    main()
