"""Whole trainings with kernels for GPUs beside the same by torch's operators: losses, weights and running statistics.

Of the same draws; on a GPU compiled, elsewhere in Triton's interpreter.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice

import pytest
import torch
from tests import tiny
from tests.training.test_parallel import WORDS, sentences
from torch import nn

from distillbias.models import compiled, fused, fused_rows, fused_words, nonlinear
from distillbias.models.dropout import give_stream
from distillbias.models.native import is_aside, put_aside
from distillbias.models.output import ModelConfig, fresh, initialise
from distillbias.models.transformer import TransformerConfig
from distillbias.studies.lessons import place
from distillbias.tasks.task import Examples, Spec
from distillbias.training import fused_step, loop
from distillbias.training.batching import ResidentData
from distillbias.training.objectives import from_labels, from_teacher
from distillbias.training.recipe import ExponentialDecay, Recipe, make_optimizer
from distillbias.training.seeds import stream

pytest.importorskip("triton")  # where torch has no builds for GPUs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH = 16
TRANSFORMER = TransformerConfig("last", width=32, layers=2, heads=2, attention_dropout=0.2, dropout=0.2)
# (model, spec, examples, whether it has a teacher, optimiser, steps: the first five of RAdam are of another kind)
CASES: dict[str, tuple[ModelConfig, Spec, Examples, bool, str, int]] = {
    "MLP": (tiny.MLP, tiny.SPEC, tiny.examples(4 * BATCH), False, "radam", 8),
    "MLP, taught": (tiny.MLP, tiny.SPEC, tiny.examples(4 * BATCH), True, "adam", 4),
    "Transformer, taught": (TRANSFORMER, WORDS, sentences(), True, "adam", 2),
}


@pytest.fixture(autouse=True)
def in_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if tensors were on a GPU, where there is none."""
    if DEVICE == "cuda":
        yield
        return
    taken = lambda *given: not is_aside() and torch.is_grad_enabled()  # noqa: E731
    for module in (fused, fused_rows, fused_words):
        monkeypatch.setattr(module, "usable", taken)
    monkeypatch.setattr(fused_words, "attend_usable", taken)
    monkeypatch.setattr(fused_rows, "divergence_usable", taken)
    monkeypatch.setattr(fused_step, "usable", lambda *given: not is_aside())
    for module in (compiled, nonlinear):
        monkeypatch.setattr(module, "native", lambda *given, **named: None)
    yield


def trained(name: str, aside: bool) -> tuple[nn.Module, list[float]]:
    config, spec, examples, is_taught, optimizer, steps = CASES[name]
    recipe = Recipe(4, BATCH, 1e-3, ExponentialDecay(), optimizer, clip=0.5, l1=1e-4, l2=1e-3)  # type: ignore[arg-type]
    model = fresh(config, spec)
    initialise(model, stream("weights"))
    model = place(model, DEVICE)
    give_stream(model, stream("draws", device=DEVICE))
    data = ResidentData(examples, DEVICE)
    answers = 3 * torch.randn(len(data), spec.classes, generator=stream("answers")).to(DEVICE)
    made = make_optimizer(model, recipe)
    made.hold_rate()  # type: ignore[attr-defined]
    objective = from_teacher(2.0, 1.0, "tau2", True) if is_taught else from_labels()
    signal = (lambda rows, inputs: answers.index_select(0, rows)) if is_taught else None
    batches = islice(data.batches(recipe.epochs, BATCH, lambda epoch: stream("order", epoch), signal), steps)
    with put_aside() if aside else nullcontext():
        taken = loop.train(model, objective, batches, recipe, recipe.steps(len(data)), made)
        return model, [step.loss.item() for step in taken]


@pytest.mark.parametrize("name", CASES)
def test_a_training_is_that_of_torchs_operators(name: str) -> None:
    """But for biases of which a norm takes away what they add: their gradients are rounding error, of which Adam makes
    steps."""
    model, losses = trained(name, aside=False)
    usual, expected = trained(name, aside=True)
    assert losses == pytest.approx(expected, rel=1e-5) and len(losses) == CASES[name][-1]
    start = fresh(*CASES[name][:2])
    initialise(start, stream("weights"))
    found, before = model.state_dict(), start.state_dict()
    for key, value in usual.state_dict().items():
        if not key.endswith("bias"):
            moved = (value - before[key].to(DEVICE)).double().norm()
            assert (found[key] - value).double().norm() <= 1e-3 * moved + 1e-6, key
