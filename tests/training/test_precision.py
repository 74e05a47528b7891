"""Training in bfloat16 ends where training in float32 does: nearer than two trials are to each other. Where a device
would emulate it float32 takes its place."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from distillbias.evaluation.metrics import accuracy
from distillbias.evaluation.predict import predict
from distillbias.models.cnn import CNNConfig
from distillbias.models.output import Output
from distillbias.studies import vision
from distillbias.studies.execute import fit, load_splits
from distillbias.studies.lessons import build, lesson
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.training import precision
from distillbias.training.loop import train
from distillbias.training.objectives import Batch, from_labels
from distillbias.training.precision import has_bfloat16, precision_on
from distillbias.training.recipe import Recipe, WarmupCosine

CPU = torch.device("cpu")


def validated(run: Run, store: Store) -> float:
    """Accuracy on the demo task's held-out digits, always evaluated in float32."""
    splits, model = load_splits(run.task, None), build(run, "cpu")
    fit(run, model, lesson(run, store, splits.train, "cpu"), splits.train, lambda said: None)
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    return accuracy(predict(model, splits.validation)[0], splits.validation.labels)


class Line(nn.Module):
    """Notes the type of its products."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Linear(3, 2)
        self.made: list[torch.dtype] = []

    def forward(self, x: torch.Tensor) -> Output:
        logits = self.answer(x)
        self.made.append(logits.dtype)
        return Output(logits, {})


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_products_are_made_in_what_the_recipe_asks_where_the_device_has_it(monkeypatch, has: bool, asked: str) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has)
    model, right = Line(), asked if has else "float32"
    batches = [Batch(torch.ones(4, 3), torch.zeros(4, dtype=torch.long), None)] * 2
    assert len(list(train(model, from_labels(), batches, Recipe(1, 4, 0.1, WarmupCosine(), precision=asked), 2))) == 2
    assert model.made == [getattr(torch, right)] * 2
    assert precision_on(CPU, asked) == right


@pytest.mark.parametrize("has", [True, False])
def test_a_processor_is_asked_for_its_instructions(monkeypatch, has: bool) -> None:
    """oneDNN takes bf16 from x86 that only has AVX-512, and emulates it; elsewhere its word is taken."""
    ask = has_bfloat16.__wrapped__
    monkeypatch.setattr(precision, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    assert ask(CPU) == has
    monkeypatch.setattr(precision, "machine", lambda: "aarch64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: not has)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: has)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert ask(CPU) == has


def test_gpus_have_it_since_ampere_and_other_devices_do_as_they_are_asked(monkeypatch) -> None:
    for generation, has in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, generation=generation: generation)
        assert has_bfloat16.__wrapped__(torch.device("cuda:0")) == has
    assert has_bfloat16.__wrapped__(torch.device("meta"))


@pytest.mark.skipif(not has_bfloat16(CPU), reason="this processor would emulate bfloat16, for minutes")
@pytest.mark.parametrize(("name", "epochs"), [("MLP", 6), ("CNN", 24)])
def test_both_reach_the_same_accuracy_within_the_noise_of_trials(tmp_path, name: str, epochs: int) -> None:
    """The CNN is a narrow one: the demo's own takes minutes. With fewer epochs its running statistics lag behind. It is
    as wide as convolutions are compiled for. Two means of eight trials have a difference of half a trial's deviation as
    their standard error, so a whole one is two of it."""
    setting, store = vision.demo(), Store(tmp_path)
    setting.models["CNN"] = CNNConfig(filters=(16, 16, 16), maxout=(16, 16, 8), dropout=0.1)
    task = replace(setting.task, holdout=300)
    found = {"float32": [], "bfloat16": []}
    for kind, scores in found.items():
        for trial in range(8):
            run = vision.alone(replace(setting, task=task), name, trial)
            scores.append(validated(replace(run, recipe=replace(run.recipe, epochs=epochs, precision=kind)), store))
    exact, rough = (np.array(found[kind]) for kind in ("float32", "bfloat16"))
    assert not np.array_equal(exact, rough), "bfloat16 changed nothing, so nothing was trained in it"
    assert min(exact.min(), rough.min()) > 0.8
    assert abs((rough - exact).mean()) < exact.std(ddof=1), (exact, rough)
