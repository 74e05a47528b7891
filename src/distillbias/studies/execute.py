"""One run, from its value to its record: build, train, evaluate, write."""

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from distillbias.errors import RunError
from distillbias.evaluation.calibration import expected_calibration_error, paper_calibration_error
from distillbias.evaluation.metrics import accuracy, negative_log_likelihood, softmax
from distillbias.evaluation.perplexity import perplexities, sentence_losses
from distillbias.evaluation.predict import predict, sample_rows
from distillbias.models.dropout import give_stream
from distillbias.models.output import fresh, parameter_count
from distillbias.studies.checkpoints import EVERY, Checkpoints
from distillbias.studies.files import write_json, write_whole
from distillbias.studies.lessons import Lesson, build, lesson, place
from distillbias.studies.provenance import Effort, forget_peak, provenance, speed
from distillbias.studies.record import ACTIVATIONS, PREDICTIONS, RECORD, VOCABULARY, WEIGHTS, write_predictions
from distillbias.studies.run import Run, to_json
from distillbias.studies.store import Store
from distillbias.tasks.agreement import PAIRS
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Examples, Splits, Task
from distillbias.training.batching import ResidentData
from distillbias.training.checkpoint import Course, Weights
from distillbias.training.loop import train
from distillbias.training.parallel import ALONE, Ranks, share_batch_norm
from distillbias.training.precision import precision_on
from distillbias.training.recipe import make_optimizer
from distillbias.training.seeds import stream
from distillbias.training.teacher import weights_fingerprint

SAMPLE = 1000  # examples that representations are compared on (paper, Appendix B)
SAMPLE_SEED = 0
# The stages of a training path as shares of the run: the authors' checkpoints after epochs 1, 2, 3, 5, ... of 400
# (paper-facts F7.7), and the initial weights, which they did not keep. So paths of any length align.
STAGES = tuple(epoch / 400 for epoch in (0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257, 400))

Report = Callable[[dict[str, Any]], None]
Load = Callable[[Task, Path | None], Splits]


class Left(Exception):
    """The run was asked to leave: it wrote a checkpoint and stopped."""


@lru_cache(maxsize=2)
def load_splits(task: Task, data: Path | None) -> Splits:
    """The examples of a task; kept, because a worker's runs share them."""
    return task.load(data)


def execute(
    run: Run,
    store: Store,
    data: Path | None,
    device: str = "cpu",
    report: Report = lambda said: None,
    every: float = EVERY,
    leave: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
    load: Load = load_splits,
) -> None:
    """Train and evaluate `run` and write its record; go on from its newest checkpoint, if there is one.

    A checkpoint is written each `every` seconds, and when `leave` says that it is time to. Of several `ranks` this is
    the first, the others `assist`. `load` gives the examples.

    Raises:
        RunError: it cannot finish; then nothing is `done`.
        Left: it was asked to.
    """
    began, started = time.time(), time.perf_counter()
    forget_peak()
    with ranks.in_turn():
        splits = load(run.task, data)
        folder = store.start(run)
        model = build(run, device)
        taught = lesson(run, store, splits.train, device, ranks)
    prepared = time.perf_counter()
    facts = whose(run, taught, splits.train, device, ranks)
    checkpoints = Checkpoints(folder, facts, every, ranks, lambda: store.keep_checkpoints(run))
    effort = Effort()
    course = fit(run, model, taught, splits.train, report, checkpoints, leave, ranks)
    trained, processor = time.perf_counter(), effort.share
    facts = {
        "label": run.label,
        "run": to_json(run),
        "parameters": parameter_count(model),
        "teacher": taught.teacher,
        "weights": weights_fingerprint(model),
        "train": _describe(splits.train),
        "losses": course.losses,
    }
    facts |= evaluate_run(model, course.stages, splits, run, folder)
    if splits.vocabulary:
        write_json(folder / VOCABULARY, splits.vocabulary)
    facts["seconds"] = {
        "preparing": prepared - started,
        "training": course.seconds,
        "evaluating": time.perf_counter() - trained,
    }
    facts["speed"] = speed(splits.train, run.recipe, course, processor)
    made = {"began": began, "ended": time.time(), "processes": ranks.world, "precision": _precision(run, device)}
    facts["provenance"] = provenance(device) | made
    write_json(folder / RECORD, facts)
    store.finish(run)


def assist(run: Run, store: Store, data: Path | None, device: str, ranks: Ranks) -> None:
    """What another rank than the first does while that one executes `run`: its part of the training. Writes nothing.

    Raises what `execute` raises in the first, if both meet it.
    """
    with ranks.in_turn():
        splits = load_splits(run.task, data)
        model = build(run, device)
        taught = lesson(run, store, splits.train, device, ranks)
    checkpoints = Checkpoints(store.folder(run), whose(run, taught, splits.train, device, ranks), ranks=ranks)
    fit(run, model, taught, splits.train, lambda said: None, checkpoints, ranks=ranks)


def whose(run: Run, taught: Lesson, examples: Examples, device: str, ranks: Ranks = ALONE) -> dict[str, Any]:
    """What must be the same for a training to go on from a checkpoint with the same bits."""
    return {
        "run": run.name,
        "teacher": taught.teacher,
        "examples": examples.fingerprint,
        "device": ranks.over(device.partition(":")[0]),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": _precision(run, device),
    }


def _precision(run: Run, device: str) -> str:
    return precision_on(torch.device(device), run.recipe.precision)


def fit(
    run: Run,
    model: nn.Module,
    taught: Lesson,
    examples: Examples,
    report: Report,
    checkpoints: Checkpoints | None = None,
    leave: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
) -> Course:
    """Train to the end; return the mean loss of each epoch and the weights at each stage.

    Reads the device once an epoch, and for a checkpoint. Raises RunError if the loss or the weights are not finite, or
    if the weights differ between ranks.
    """
    recipe = run.recipe
    device = next(model.parameters()).device
    if (made := precision_on(device, recipe.precision)) != recipe.precision:
        print(f"products are made in {made}: the device has no instructions for {recipe.precision}")
    draws = stream(ranks.own("dropout"), run.model.name, run.trial, run.repeat, device=device)
    streams = {ranks.own("dropout"): draws} | taught.streams
    give_stream(model, draws)
    share_batch_norm(model, ranks)
    optimizer = make_optimizer(model, recipe)
    data = ResidentData(examples, device)
    total = recipe.steps(len(data))
    per_epoch = total // recipe.epochs
    wanted = [round(share * total) for share in STAGES if run.task.path]  # in a very short run some fall on one step
    course = checkpoints.resume(model, optimizer, streams) if checkpoints else Course()
    if course.done == 0:
        course.stages = [_copy(model)] * wanted.count(0)
    order = lambda epoch: stream("order", run.task.name, run.trial, run.repeat, epoch)  # noqa: E731
    batches = data.batches(recipe.epochs, recipe.batch, order, taught.signal, course.done, ranks)
    began = time.perf_counter() - course.seconds
    for step in train(model, taught.objective, batches, recipe, total, optimizer, course.done, ranks):
        course.done = step.done
        course.pending.append(step.loss)
        if step.done in wanted:
            course.stages += [_copy(model)] * wanted.count(step.done)
        if step.done % per_epoch == 0:
            course.losses.append(_finite_mean(course.pending, step.done))
            course.pending = []
            seconds = time.perf_counter() - began
            epoch = {"epoch": len(course.losses), "epochs": recipe.epochs, "loss": course.losses[-1]}
            report(epoch | {"seconds": seconds})
        if step.done % ranks.look:
            continue
        leaving, due = ranks.from_first(lambda: (leave(), checkpoints is not None and checkpoints.due()))
        if checkpoints and (leaving or due):
            course.seconds = time.perf_counter() - began
            checkpoints.write(course, model, optimizer, streams)
        if leaving:
            raise Left
    course.seconds = time.perf_counter() - began
    if not all(tensor.isfinite().all() for tensor in model.state_dict().values()):
        raise RunError("the weights are not finite after the last step")
    if not ranks.agree(lambda: weights_fingerprint(model)):
        raise RunError("the processes ended with different weights: their machines do not compute alike")
    return course


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
            # minimal pairs are no text: their perplexity says little and takes longer than that of all texts together
            name: scores(logits[name], examples.labels)
            | ({} if name.startswith(PAIRS) else language_scores(model, examples))
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
