"""What every peer is given: the same modules with the same first weights, the same rows in the same order, one loss."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.peers.data import ARRAYS, inputs_for, task_of
from benchmarks.peers.workloads import Workload, without_dropout
from torch import Tensor, nn
from torch.utils.data import Dataset

from distillbias.evaluation.predict import predict
from distillbias.models.output import Factored, fresh, give_stream, initialise
from distillbias.studies.lessons import build
from distillbias.studies.run import Distillation, Run
from distillbias.tasks.task import Examples, Splits
from distillbias.training.batching import ResidentData
from distillbias.training.recipe import ExponentialDecay, Recipe
from distillbias.training.seeds import stream

GATE_BATCH, GATE_BATCHES, GATE_EPOCHS = 32, 2, 4
GATE_ROWS = GATE_BATCH * GATE_BATCHES
SURE = 10.0  # the teacher's last layer is scaled by this: its first weights are sure of nothing
CONSTANT = ExponentialDecay(decay=1.0)
NO_CLIP = 1e9  # peers clip nothing; distillbias computes its norms all the same


@dataclass
class Clock:
    """Ticks after each step; the first `warm` are not counted."""

    warm: int
    ticks: list[float] = field(default_factory=list)

    def tick(self) -> None:
        self.ticks.append(perf_counter())

    def seconds(self) -> float:
        """Of all steps, at the pace of those after the warm-up."""
        counted = len(self.ticks) - self.warm
        assert counted > 0, "a measurement has more steps than its warm-up"
        return (self.ticks[-1] - self.ticks[self.warm - 1]) / counted * len(self.ticks)


class Logits(nn.Module):
    """A model that gives its logits alone, [n, classes]; of a language model where a word follows."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return whole_logits(self.model(inputs).logits, inputs)


def whole_logits(logits: Tensor | Factored, inputs: Tensor) -> Tensor:
    """[n, classes]: of a language model, one row for each position that has a next word."""
    if isinstance(logits, Tensor):
        return logits
    states = logits.states[:, :-1][inputs[:, 1:] != 0]
    return states @ logits.matrix.to(states.dtype).T


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """tau**2 KL(teacher || student), mean over rows: the loss that documentation of all peers comes down to."""
    said, heard = (student.float() / temperature).log_softmax(1), (teacher.float() / temperature).softmax(1)
    return F.kl_div(said, heard, reduction="batchmean") * temperature**2


@dataclass
class Job:
    """One training. `order` is [steps, batch]: which rows each step sees."""

    workload: Workload
    train: Examples
    teacher: nn.Module
    student: nn.Module
    order: Tensor
    precision: str = "float32"
    tuned: bool = False
    settings: dict[str, Any] = field(default_factory=dict)  # what a peer has to say of itself

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")

    def loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return distillation_loss(student, teacher, self.workload.temperature)


class Rows(Dataset):
    """One example at a time, as a data set of PyTorch gives it: an image in [0, 1], or the words of a sentence."""

    def __init__(self, examples: Examples):
        self.inputs, self.labels = torch.as_tensor(examples.inputs), torch.as_tensor(examples.labels)
        self.lengths = None if self.inputs.ndim == 3 else (self.inputs != 0).sum(1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        if self.lengths is None:
            return self.inputs[row].float() / 255, self.labels[row]
        return self.inputs[row, : self.lengths[row]].long(), self.labels[row]


def collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A batch; sentences are padded to the longest."""
    inputs, labels = zip(*rows, strict=True)
    if inputs[0].ndim == 1:
        return nn.utils.rnn.pad_sequence(list(inputs), batch_first=True), torch.stack(labels)
    return torch.stack(inputs), torch.stack(labels)


def teacher_of(workload: Workload) -> nn.Module:
    """First weights with a sharper last layer, evaluation mode: what a teacher has learned changes no cost."""
    teacher = fresh(workload.teacher, workload.spec)
    initialise(teacher, stream("peers teacher"))
    last = next(getattr(teacher, name) for name in ("answer", "head", "project") if hasattr(teacher, name))
    with torch.no_grad():
        last.weight.mul_(SURE)
    return teacher.eval()


def write_data(workload: Workload, folder: Path, home: Path | None) -> None:
    """The file of examples. Labels are the teacher's own answers: pure distillation looks at none, but a study refuses
    a teacher that knows nothing."""
    train, test = inputs_for(workload, home)
    arrays = {"train": train, "test": test}
    zeros = {"labels": np.zeros(len(train), np.int64), "test_labels": np.zeros(len(test), np.int64)}
    np.savez(folder / ARRAYS, **arrays, **zeros)
    if not workload.language:
        splits = load(workload, folder, len(train))
        teacher = teacher_of(workload)
        answers = (predict(teacher, examples)[0].argmax(1) for examples in (splits.train, splits.tests["test"]))
        np.savez(folder / ARRAYS, **arrays, **dict(zip(zeros, answers, strict=True)))


def load(workload: Workload, folder: Path, rows: int) -> Splits:
    return task_of(workload, rows).load(folder)


def runs(workload: Workload, rows: int, epochs: int, precision: str, trials: int, gate: bool) -> list[Run]:
    """The students as runs of distillbias: constant rate, no penalty, nothing clipped. Each has a teacher of its own."""
    task = task_of(workload, rows)
    student = without_dropout(workload.student) if gate else workload.student
    batch = GATE_BATCH if gate else workload.batch
    recipe = Recipe(epochs, batch, workload.rate, CONSTANT, clip=NO_CLIP, precision=precision)  # type: ignore[arg-type]
    found = []
    for trial in range(trials):
        teacher = Run(task, workload.teacher, replace(recipe, epochs=1, precision="float32"), trial)
        found.append(Run(task, student, recipe, trial, Distillation(teacher, workload.temperature)))
    return found


def gate_runs(workload: Workload, precision: str, trials: int) -> list[Run]:
    """A few steps without dropout."""
    return runs(workload, GATE_ROWS, GATE_EPOCHS, precision, trials, gate=True)


def job(run: Run, workload: Workload, folder: Path, steps: int, tuned: bool = False) -> Job:
    """The first `steps` steps of a run as a job for a peer: its first weights, its rows in its order."""
    train = load(workload, folder, run.task.rows).train  # type: ignore[attr-defined]
    student = build(run).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    give_stream(student, stream("peers dropout"))
    order = torch.stack([rows for _, rows in zip(range(steps), order_of(run, train), strict=False)])
    return Job(workload, train, teacher_of(workload), student, order, run.recipe.precision, tuned)


def order_of(run: Run, train: Examples) -> Iterator[Tensor]:
    """[batch] rows of each step, epoch after epoch, as distillbias orders them."""
    seen: list[Tensor] = []

    def record(rows: Tensor, inputs: Tensor) -> Tensor:
        seen.append(rows)
        return torch.zeros(len(rows), 1)

    epochs = 10**9  # until nobody asks
    data = ResidentData(train)
    order = lambda epoch: stream("order", run.task.name, run.trial, run.repeat, epoch)  # noqa: E731
    for _ in data.batches(epochs, run.recipe.batch, order, record):
        yield seen.pop()


def evaluate(student: nn.Module, workload: Workload, test: Examples) -> float:
    """Seconds to predict the test set once, 500 examples at a time, in the order of the file."""
    began = perf_counter()
    student.eval()
    with torch.no_grad():
        for part in torch.utils.data.DataLoader(Rows(test), batch_size=500, collate_fn=collate):
            Logits(student)(part[0])
    return perf_counter() - began
