"""A run's model and what it learns from: labels, or the signal of a teacher that is a finished run."""

from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from distillbias.errors import InputError, RunError
from distillbias.evaluation.predict import predict, sample_rows
from distillbias.models.dropout import give_stream
from distillbias.models.output import fresh, initialise
from distillbias.studies.record import WEIGHTS
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.tasks.task import Examples
from distillbias.training.batching import Signal
from distillbias.training.checkpoint import Streams
from distillbias.training.controls import controlled
from distillbias.training.objectives import Objective, from_labels, from_teacher
from distillbias.training.parallel import ALONE, Ranks, share_batch_norm
from distillbias.training.seeds import seed, stream
from distillbias.training.teacher import Change, cached_signal, live_signal, weights_fingerprint

ASKED = 2000  # training examples that a teacher in training mode is asked before it teaches
LIKELY = 1.645  # standard errors: chance alone gets above in 5 % of cases


class Lesson(NamedTuple):
    """What a run learns from."""

    objective: Objective
    signal: Signal | None = None
    teacher: dict[str, str] | None = None  # who taught
    streams: Streams = {}  # that a teacher draws from while it teaches


def build(run: Run, device: str = "cpu") -> nn.Module:
    """The run's model with its initial weights, which model and trial alone decide."""
    model = fresh(run.model, run.task.spec)
    initialise(model, stream("weights", repr(run.model), run.trial))
    return place(model, device)


def place(model: nn.Module, device: str) -> nn.Module:
    """On the device, convolutions channels-last: 1.2 times as fast on a CPU."""
    if (there := torch.device(device)).type == "cuda" and there.index is not None:
        torch.cuda.set_device(there)  # where kernels in Triton are launched
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def load_model(run: Run, store: Store, device: str = "cpu") -> nn.Module:
    """The trained model of a finished run, in evaluation mode."""
    record = store.record(run)
    if not store.has_weights(run):
        raise InputError(f"run {run.name} ({run.label}) came without its weights; `distillbias run` trains it again")
    model = fresh(run.model, run.task.spec)
    model.load_state_dict(load_file(record.folder / WEIGHTS))
    return place(model, device).eval()


def lesson(run: Run, store: Store, examples: Examples, device: str, ranks: Ranks = ALONE) -> Lesson:
    """What the run learns from: labels, or its teacher's signal."""
    taught = run.distillation
    if taught is None:
        return Lesson(from_labels())
    untrained = taught.control == "untrained"
    teacher = build(taught.teacher, device).eval() if untrained else load_model(taught.teacher, store, device)
    objective = from_teacher(taught.temperature, taught.weight, taught.factor, taught.penalty == "relative")
    who = {"run": taught.teacher.name, "weights": weights_fingerprint(teacher), "mode": taught.teacher_mode}
    if taught.control is not None:
        who["control"] = taught.control
    if taught.teacher_mode == "train":
        check_knows(*_asked(teacher, examples), taught.teacher)
        draws = stream(ranks.own("teacher dropout"), run.name, device=device)
        give_stream(teacher, draws)
        share_batch_norm(teacher, ranks)
        return Lesson(objective, live_signal(teacher), who, {ranks.own("teacher"): draws})
    path = store.signal_path(taught.teacher, "untrained" if untrained else "eval")
    with store.lock(path.stem):
        if not store.sound(path):
            path.unlink(missing_ok=True)  # damaged: the teacher says it again
        signal = cached_signal(teacher, examples, path, store.write_signal, change(run, examples))
    if taught.control is None and run.task.spec.classes != run.task.spec.vocabulary:
        said = signal(torch.arange(len(examples), device=device), torch.empty(0))
        assert isinstance(said, torch.Tensor), "a classifier's signal has its logits"
        check_knows(said.cpu().numpy(), examples.labels, taught.teacher)
    return Lesson(objective, signal, who)


def _asked(teacher: nn.Module, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    rows = sample_rows(examples, ASKED, seed=0)
    return predict(teacher, examples, rows)[0], examples.labels[rows]


def check_knows(logits: np.ndarray, labels: np.ndarray, teacher: Run) -> None:
    """Refuse a teacher of whose answers to training examples, [n, classes], chance would do as well.

    Measured by the mean of the classes' recalls, which is 1 / classes for every constant answer. Not for language
    models, whose answers are words.

    Raises:
        RunError: the mean is not `LIKELY` standard errors above chance.
    """
    classes = np.unique(labels)
    right = logits.argmax(1) == labels
    recalls = [float(right[labels == each].mean()) for each in classes]
    chance = 1 / logits.shape[1]
    error = np.sqrt(sum(chance * (1 - chance) / np.sum(labels == each) for each in classes)) / len(classes)
    if not np.mean(recalls) > chance + LIKELY * error:
        raise RunError(
            f"its teacher {teacher.name} is no better than chance: mean recall {np.mean(recalls):.3f} on "
            f"{len(labels):,} training examples, chance {chance:.3f}"
        )


def change(run: Run, examples: Examples) -> Change | None:
    """What a control makes of the teacher's logits, drawn anew for each trial; None for a student of its teacher."""
    control = run.distillation.control if run.distillation else None
    if run.distillation is None or control is None:
        return None
    temperature, draw = run.distillation.temperature, seed("control", control, run.trial, run.repeat)
    return lambda logits: controlled(control, logits, examples.labels, temperature, draw)
