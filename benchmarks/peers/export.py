"""One folder a workload, which every arm reads: arrays, initial weights, a fixed teacher, the order of the examples."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.peers.workloads import BATCH, WORKLOADS
from safetensors.torch import save_file
from torch import Tensor, nn

from distillbias.errors import InputError
from distillbias.models.output import Factored, fresh, initialise
from distillbias.tasks.agreement_classification import AgreementClassification
from distillbias.tasks.agreement_lm import AgreementLM
from distillbias.tasks.task import Examples, Splits, Task
from distillbias.tasks.vision import Vision
from distillbias.training.batching import ResidentData
from distillbias.training.seeds import stream

# (the real data, the embedded data)
TASKS: dict[str, tuple[Task, Task]] = {
    "vision": (Vision("mnist"), Vision("digits")),
    "classification": (AgreementClassification("wiki"), AgreementClassification("grammar")),
    "language": (AgreementLM("wiki"), AgreementLM("grammar")),
}
TESTED = 2_000  # test examples that an evaluation is timed on
SURE = 3.0  # standard deviation of the teacher's logits


def export(name: str, data: Path | None, folder: Path, steps: int) -> dict[str, Any]:
    """Write batches for `steps` steps of workload `name` to `folder`, the same bytes each time; return its facts.

    The real data where `data` (None: the default place) has it, else what is embedded in the package.
    """
    if name not in WORKLOADS:
        raise InputError(f"unknown workload {name!r}; it is one of {', '.join(WORKLOADS)}")
    work = WORKLOADS[name]
    task, splits, real = _load(work.task, data)
    folder.mkdir(parents=True, exist_ok=True)
    kept = np.random.default_rng(0).permutation(len(splits.train))[: steps * BATCH]
    train, test = splits.train, next(iter(splits.tests.values()))
    part = Examples(train.inputs[kept], train.labels[kept], train.ids[kept], train.origin, train.fingerprint)
    student, teacher = (fresh(config, task.spec) for config in (work.student, work.teacher))
    initialise(student, stream("weights", "student"))
    initialise(teacher, stream("weights", "teacher"))
    make_sure(teacher, _first_batch(part))
    for model, file in ((student, "student"), (teacher, "teacher")):
        save_file(model.state_dict(), folder / f"{file}.safetensors")
    for key, rows in orders(part, steps).items():
        np.save(folder / f"{key}.npy", rows)
    for key, examples in (("train", part), ("test", test)):
        count = len(examples) if key == "train" else TESTED
        np.save(folder / f"{key}_inputs.npy", examples.inputs[:count])
        np.save(folder / f"{key}_labels.npy", examples.labels[:count])
    facts = {
        "name": name,
        "title": work.title,
        "data": train.origin,
        "real": real,
        "epochs": work.epochs,
        "train": len(train),
        "test": len(test),
        "classes": task.spec.classes,
        "vocabulary": task.spec.vocabulary,
        "shape": task.spec.shape,
        "batch": BATCH,
        "words": 0.0 if task.spec.shape else float((train.inputs != 0).sum(1).mean()) * BATCH,  # of a mean step
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))
    return facts


def _load(task: str, data: Path | None) -> tuple[Task, Splits, bool]:
    real, embedded = TASKS[task]
    try:
        return real, real.load(data), True
    except InputError:
        return embedded, embedded.load(None), False


def _first_batch(examples: Examples) -> Tensor:
    return ResidentData(examples).rows(torch.arange(min(256, len(examples)))).inputs


@torch.no_grad()
def make_sure(teacher: nn.Module, inputs: Tensor) -> None:
    """Turn an untrained teacher's logits into ones that differ between examples as a trained one's do: mean 0 and
    standard deviation SURE for each class (over all words, for a language model), by its last linear layer alone.

    Untrained, it says nearly the same of every example, and the losses would be too small to compare.
    """
    logits = teacher.eval()(inputs).logits
    if isinstance(logits, Factored):
        scale = SURE / (logits.states @ logits.matrix.T)[inputs != 0].std()
        for parameter in teacher.get_submodule("project").parameters():
            parameter.mul_(scale)
        return
    last = [module for module in teacher.modules() if isinstance(module, nn.Linear)][-1]
    scale = SURE / logits.std(0)
    last.weight.mul_(scale[:, None])
    last.bias.sub_(logits.mean(0)).mul_(scale)


def orders(examples: Examples, steps: int) -> dict[str, np.ndarray]:
    """{"random", "buckets"}: rows [steps, batch]; whole shuffles one after another, and those of the engine, which puts
    sentences of like length together. The same for images."""
    data = ResidentData(examples)
    epochs = -(-steps // (len(examples) // BATCH))
    shuffles = [torch.randperm(len(examples), generator=stream("order", epoch)) for epoch in range(epochs)]
    whole = len(examples) // BATCH * BATCH
    random = torch.cat([rows[:whole] for rows in shuffles]).view(-1, BATCH)
    own = data.batches(epochs, BATCH, lambda epoch: stream("order", epoch), signal=lambda rows, inputs: rows)
    buckets = torch.stack([batch.signal for batch in own if isinstance(batch.signal, Tensor)])
    return {"random": random[:steps].numpy(), "buckets": buckets[:steps].numpy()}
