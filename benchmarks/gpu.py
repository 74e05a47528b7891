"""Steps a second of one GPU: taken as they come or recorded, by one process or by several, in turns or at once.

    python -m benchmarks.gpu --data DIR --out results/benchmarks/     some six minutes on one GPU
    python -m benchmarks.gpu --device cpu --seconds 1                 whether it works, where there is none
    python -m benchmarks.gpu --data DIR --only sentences              LSTM and Transformers

Students of the `paper` scales of the vision study (MLP in float32, CNN in bf16, Adam, batches of 128 images) and of the
agreement study (bf16, batches of 64 real sentences) under a teacher whose answers are random, in the project's own
loop. Every process takes WARMUP steps, which is when recording happens, waits for the others, and is then timed until
the seconds are over. "At once" is NVIDIA's Multi-Process Service, as
studies use it; without it a GPU gives each process its turn.
"""

import argparse
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, NamedTuple

import torch
from benchmarks.peers.export import TASKS

from distillbias.errors import InputError
from distillbias.models.dropout import give_stream
from distillbias.models.output import ModelConfig, fresh, initialise
from distillbias.studies import agreement, vision
from distillbias.studies.lessons import place
from distillbias.studies.mps import Service
from distillbias.studies.provenance import provenance
from distillbias.studies.runner import check_device
from distillbias.training import loop
from distillbias.training.batching import ResidentData
from distillbias.training.objectives import from_teacher
from distillbias.training.recipe import Recipe
from distillbias.training.seeds import stream

WARMUP = {"vision": 50, "classification": 400}  # steps; sentences: until all usual lengths have come some times
LOOK = 50  # steps between two looks at the clock, each of which waits for the GPU


class Case(NamedTuple):
    """The models that train, a process each; `shared`: at once."""

    models: tuple[str, ...]
    shared: bool = False
    recorded: bool = True

    @property
    def title(self) -> str:
        counts = " + ".join(f"{count} {model}" for model, count in Counter(self.models).items())
        how = "recorded" if self.recorded else "as they come"
        return counts + ("" if len(self.models) == 1 else ", at once" if self.shared else ", in turns") + f", {how}"


IMAGES = [
    Case(("MLP",), recorded=False),
    Case(("MLP",)),
    Case(("CNN",), recorded=False),
    Case(("CNN",)),
    Case(("MLP",) * 4),
    Case(("MLP",) * 8),
    *(Case(("MLP",) * count, shared=True) for count in (4, 8, 12)),
    Case(("CNN",) * 2),
    *(Case(("CNN",) * count, shared=True) for count in (2, 4, 8)),
    Case(("CNN",) * 4 + ("MLP",) * 8, shared=True),
]
FAMILIES = tuple(agreement.paper().models)
SENTENCES = [
    *(Case((name,)) for name in FAMILIES),
    *(Case((name,) * 4, shared=True) for name in FAMILIES),
    Case(FAMILIES * 3, shared=True),
]
GROUPS = {"images": IMAGES, "sentences": SENTENCES}
together: Any = None  # where workers wait for each other


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="where data sets live (default: as for distillbias)")
    parser.add_argument("--device", default="cuda", help="cpu, cuda, or cuda:1 (default: cuda)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each case is timed for (default: 3)")
    parser.add_argument("--only", choices=GROUPS, help="only students of these (default: both)")
    parser.add_argument("--cases", type=int, help="only the first so many")
    parser.add_argument("--out", type=Path, help="a folder for gpu.json and gpu.md (default: only the screen)")
    asked = parser.parse_args(given)
    try:
        check_device(asked.device)
        cases = GROUPS[asked.only] if asked.only else IMAGES + SENTENCES
        found = [measure(case, asked.data, asked.device, asked.seconds) for case in cases[: asked.cases]]
    except InputError as error:
        print(f"error: {error}")
        return 2
    known = provenance(asked.device)
    measured = {"machine": known, "date": time.strftime("%Y-%m-%d"), "seconds": asked.seconds, "found": found}
    print("\n" + table(measured))
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "gpu.json").write_text(json.dumps(measured, indent=1))
        (asked.out / "gpu.md").write_text(table(measured))
    return 0


def measure(case: Case, data: Path | None, device: str, seconds: float) -> dict[str, Any]:
    """{"title", "rates"}: of each model the steps a second of all its processes together; "why" if there is none."""
    sharing, context = Service(), multiprocessing.get_context("spawn")
    if case.shared and device != "cpu" and (why := sharing.start()):
        return {"title": case.title, "rates": {}, "why": why}
    barrier = context.Barrier(len(case.models))
    jobs = [(model, number, case.recorded, data, device, seconds) for number, model in enumerate(case.models)]
    try:
        with ProcessPoolExecutor(len(jobs), context, wait_at, (barrier,)) as pool:
            found = list(pool.map(steps_a_second, *zip(*jobs, strict=True)))
    finally:
        sharing.close()
    rates = {model: sum(rate for name, rate in found if name == model) for model in dict.fromkeys(case.models)}
    print(f"{case.title}: {told(rates)}", flush=True)
    return {"title": case.title, "rates": rates}


def wait_at(barrier: Barrier) -> None:
    global together
    together = barrier
    torch.set_num_threads(1)


def steps_a_second(
    name: str, number: int, recorded: bool, data: Path | None, device: str, seconds: float
) -> tuple[str, float]:
    task, config, recipe, temperature = work(name)
    real, embedded = TASKS[task]
    try:
        used, splits = real, real.load(data)
    except InputError:
        used, splits = embedded, embedded.load(None)
    examples = ResidentData(splits.train, device)
    model = fresh(config, used.spec)
    initialise(model, stream("weights", number))
    model = place(model, device)
    give_stream(model, stream("dropout", number, device=device))
    answers = 3 * torch.randn(len(examples), used.spec.classes, device=device)
    objective = from_teacher(temperature, 1.0, "tau2", True)
    batches = examples.batches(
        recipe.epochs,
        recipe.batch,
        lambda epoch: stream("order", number, epoch),
        lambda rows, inputs: answers.index_select(0, rows),
    )
    if not recorded:
        loop.recorder = lambda *_: None  # type: ignore[assignment]
    warmup, began = WARMUP[task], 0.0
    for step in loop.train(model, objective, batches, recipe, recipe.steps(len(examples))):
        if step.done < warmup or (step.done - warmup) % LOOK:
            continue
        step.loss.item()  # waits for the device
        if step.done == warmup:
            together.wait()
            began = time.perf_counter()
        elif time.perf_counter() - began > seconds:
            break
    return name, (step.done - warmup) / (time.perf_counter() - began)


def work(name: str) -> tuple[str, ModelConfig, Recipe, float]:
    """A student's task, sizes, recipe and temperature; LSTMs teach sentences."""
    images, sentences = vision.paper(), agreement.paper()
    if name in images.models:
        return "vision", images.models[name], images.taught[name], vision.TEMPERATURE
    return "classification", sentences.models[name], sentences.taught["LSTM", name], agreement.TEMPERATURE


def table(measured: dict[str, Any]) -> str:
    machine = measured["machine"]
    lines = [
        "# Steps a second of one GPU",
        "",
        f"{machine['device']}, torch {machine['torch']}, commit {machine['commit']}, {measured['date']}; each case "
        f"timed once, for {measured['seconds']:g} s.",
        "",
        "| students | steps a second, all together |",
        "| --- | ---: |",
    ]
    return "\n".join([*lines, *(f"| {each['title']} | {told(each['rates'])} |" for each in measured["found"])]) + "\n"


def told(rates: dict[str, float]) -> str:
    return ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()) or "–"


if __name__ == "__main__":
    raise SystemExit(main())
