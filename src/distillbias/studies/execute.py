"""One run, from its value to its record: build, train, evaluate, write."""

import platform
import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from distillbias import __version__
from distillbias.errors import InputError, RunError
from distillbias.evaluation.calibration import expected_calibration_error, paper_calibration_error
from distillbias.evaluation.metrics import accuracy, negative_log_likelihood, softmax
from distillbias.evaluation.perplexity import perplexities, sentence_losses
from distillbias.evaluation.predict import predict, sample_rows
from distillbias.models.output import fresh, give_stream, initialise, parameter_count
from distillbias.studies.run import Run, to_json
from distillbias.studies.store import (
    ACTIVATIONS,
    PREDICTIONS,
    RECORD,
    VOCABULARY,
    WEIGHTS,
    Store,
    write_json,
    write_predictions,
    write_whole,
)
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Examples, Splits, Task
from distillbias.training.batching import ResidentData, Signal
from distillbias.training.controls import controlled
from distillbias.training.loop import train
from distillbias.training.objectives import Objective, from_labels, from_teacher
from distillbias.training.seeds import seed, stream
from distillbias.training.teacher import Change, cached_signal, live_signal, weights_fingerprint

SAMPLE = 1000  # examples that representations are compared on (paper, Appendix B)
SAMPLE_SEED = 0
# The stages of a training path as shares of the run: the authors' checkpoints after epochs 1, 2, 3, 5, ... of 400
# (paper-facts F7.7), and the initial weights, which they did not keep. So paths of any length align.
STAGES = tuple(epoch / 400 for epoch in (0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 400))

Report = Callable[[dict[str, Any]], None]
Weights = dict[str, Tensor]


@lru_cache(maxsize=2)
def load_splits(task: Task, data: Path | None) -> Splits:
    """The examples of a task; kept, because a worker's runs share them."""
    return task.load(data)


def build(run: Run, device: str = "cpu") -> nn.Module:
    """The run's model with its initial weights, which model and trial alone decide."""
    model = fresh(run.model, run.task.spec)
    initialise(model, stream("weights", repr(run.model), run.trial))
    return place(model, device)


def place(model: nn.Module, device: str) -> nn.Module:
    """On the device, convolutions channels-last: 1.2 times as fast on a CPU."""
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_model(run: Run, store: Store, device: str = "cpu") -> nn.Module:
    """The trained model of a finished run, in evaluation mode."""
    record = store.record(run)
    if not store.has_weights(run):
        raise InputError(f"run {run.name} ({run.label}) came without its weights; `distillbias run` trains it again")
    model = fresh(run.model, run.task.spec)
    model.load_state_dict(load_file(record.folder / WEIGHTS))
    return place(model, device).eval()


def execute(run: Run, store: Store, data: Path | None, device: str = "cpu", report: Report = lambda said: None) -> None:
    """Train and evaluate `run` and write its record. Raises RunError if it cannot finish; then nothing is `done`."""
    began, started = time.time(), time.perf_counter()
    splits = load_splits(run.task, data)
    folder = store.start(run)
    model = build(run, device)
    objective, signal, taught_by = lesson(run, store, splits.train, device)
    prepared = time.perf_counter()
    losses, stages = fit(run, model, objective, signal, splits.train, report)
    trained = time.perf_counter()
    facts = {
        "label": run.label,
        "run": to_json(run),
        "parameters": parameter_count(model),
        "teacher": taught_by,
        "weights": weights_fingerprint(model),
        "train": _describe(splits.train),
        "losses": losses,
    }
    facts |= evaluate_run(model, stages, splits, run, folder)
    if splits.vocabulary:
        write_json(folder / VOCABULARY, splits.vocabulary)
    facts["seconds"] = {
        "preparing": prepared - started,
        "training": trained - prepared,
        "evaluating": time.perf_counter() - trained,
    }
    facts["provenance"] = provenance(device) | {"began": began, "ended": time.time()}
    write_json(folder / RECORD, facts)
    store.finish(run)


def lesson(
    run: Run, store: Store, examples: Examples, device: str
) -> tuple[Objective, Signal | None, dict[str, str] | None]:
    """What the run learns from, its teacher's signal, and who the teacher is."""
    taught = run.distillation
    if taught is None:
        return from_labels(), None, None
    untrained = taught.control == "untrained"
    teacher = build(taught.teacher, device).eval() if untrained else load_model(taught.teacher, store, device)
    objective = from_teacher(taught.temperature, taught.weight, taught.factor, taught.penalty == "relative")
    who = {"run": taught.teacher.name, "weights": weights_fingerprint(teacher), "mode": taught.teacher_mode}
    if taught.control is not None:
        who["control"] = taught.control
    if taught.teacher_mode == "train":
        give_stream(teacher, stream("teacher dropout", run.name, device=device))
        return objective, live_signal(teacher), who
    path = store.signal_path(taught.teacher, "untrained" if untrained else "eval")
    with store.lock(path.stem) if not path.exists() else nullcontext():
        return objective, cached_signal(teacher, examples, path, write_whole, change(run, examples)), who


def change(run: Run, examples: Examples) -> Change | None:
    """What a control makes of the teacher's logits, drawn anew for each trial; None for a student of its teacher."""
    control = run.distillation.control if run.distillation else None
    if run.distillation is None or control is None:
        return None
    temperature, draw = run.distillation.temperature, seed("control", control, run.trial, run.repeat)
    return lambda logits: controlled(control, logits, examples.labels, temperature, draw)


def fit(
    run: Run, model: nn.Module, objective: Objective, signal: Signal | None, examples: Examples, report: Report
) -> tuple[list[float], list[Weights]]:
    """Train; return the mean loss of each epoch and the weights at each stage. Reads the device once an epoch."""
    recipe = run.recipe
    device = next(model.parameters()).device
    give_stream(model, stream("dropout", run.model.name, run.trial, run.repeat, device=device))
    data = ResidentData(examples, device)
    total = recipe.steps(len(data))
    per_epoch = total // recipe.epochs
    wanted = [round(share * total) for share in STAGES if run.task.path]  # in a very short run some fall on one step
    stages = [_copy(model)] * wanted.count(0)
    losses: list[float] = []
    epoch_loss: list[Tensor] = []
    order = lambda epoch: stream("order", run.task.name, run.trial, run.repeat, epoch)  # noqa: E731
    batches = data.batches(recipe.epochs, recipe.batch, order, signal)
    began = time.perf_counter()
    for step in train(model, objective, batches, recipe, total):
        epoch_loss.append(step.loss)
        if step.done in wanted:
            stages += [_copy(model)] * wanted.count(step.done)
        if step.done % per_epoch == 0:
            losses.append(_finite_mean(epoch_loss, step.done))
            epoch_loss = []
            seconds = time.perf_counter() - began
            report({"epoch": len(losses), "epochs": recipe.epochs, "loss": losses[-1], "seconds": seconds})
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise RunError("the weights are not finite after the last step")
    return losses, stages


def _finite_mean(losses: list[Tensor], step: int) -> float:
    stacked = torch.stack(losses)
    bad = (~stacked.isfinite()).nonzero()
    if len(bad):
        first = int(bad[0])
        raise RunError(f"the loss became {stacked[first].item()} at step {step - len(losses) + first + 1}")
    return stacked.double().mean().item()


def _copy(model: nn.Module) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def evaluate_run(model: nn.Module, stages: list[Weights], splits: Splits, run: Run, folder: Path) -> dict[str, Any]:
    """Predict every test set once, write what analyses need, return the scores."""
    sets = splits.tests | ({"validation": splits.validation} if len(splits.validation) else {})
    logits, activations = {}, {}
    for name, examples in sets.items():
        logits[name], hidden = predict(model, examples)
        if name in run.task.headline.values():
            activations[f"final/{name}"] = hidden[sample_rows(examples, SAMPLE, SAMPLE_SEED)]
    if run.task.path:
        activations["stages"] = stage_activations(run, stages, splits.tests[run.task.path])
    write_predictions(folder / PREDICTIONS, sets, logits)
    tensors = {name: torch.as_tensor(value) for name, value in activations.items()}
    write_whole(folder / ACTIVATIONS, lambda part: part.write_bytes(save(tensors)))
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_whole(folder / WEIGHTS, lambda part: part.write_bytes(save(weights)))
    return {
        "scores": {
            name: scores(logits[name], examples.labels) | language_scores(model, examples)
            for name, examples in sets.items()
        },
        "tests": {name: _describe(examples) for name, examples in sets.items()},
    }


def stage_activations(run: Run, stages: list[Weights], examples: Examples) -> np.ndarray:
    """[stages, sample, width] on the task's test set for paths, in evaluation mode.

    Each stage goes into the same fresh model, one after the other (T6), and only now: no test image was
    looked at during training.
    """
    rows = sample_rows(examples, SAMPLE, SAMPLE_SEED)
    model = place(fresh(run.model, run.task.spec), str(next(iter(stages[0].values())).device))
    found = []
    for weights in stages:
        model.load_state_dict(weights)
        found.append(predict(model, examples, rows)[1])
    return np.stack(found)


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float | int]:
    """The scores of one set of examples; `paper_ece` has the authors' 1,000,000 bins (T1)."""
    probabilities = softmax(logits)
    return {
        "n": len(labels),
        "accuracy": accuracy(logits, labels),
        "ece": expected_calibration_error(probabilities, labels, bins=15),
        "paper_ece": paper_calibration_error(probabilities, labels),
        "nll": negative_log_likelihood(logits, labels),
    }


def language_scores(model: nn.Module, examples: Examples) -> dict[str, float]:
    """Perplexities of a language model, where there are whole sentences; {} for other tasks."""
    if not isinstance(examples, NextWordExamples):
        return {}
    return perplexities(sentence_losses(model, examples))


def _describe(examples: Examples) -> dict[str, Any]:
    return {
        "n": len(examples),
        "origin": examples.origin,
        "fingerprint": examples.fingerprint,
        "tags": examples.tags,
        "columns": list(examples.columns),
    }


def provenance(device: str) -> dict[str, Any]:
    """Where and with what a run was made; no part of its result."""
    return {
        "commit": commit(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


@cache
def commit() -> str:
    """The commit of the code that runs, with "+ changes" where the package differs from it; else its version."""
    package = Path(__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--", ".").strip()
        return git("rev-parse", "HEAD").strip()[:12] + (" + changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
