"""Hooks on modules are heard wherever torch's own modules would call them, and what makes weights by hooks trains."""

from collections import Counter

import pytest
import torch
from tests.models.test_compiled import at_any_width
from torch import Tensor, nn
from torch.nn.utils import prune

from distillbias.models.cnn import CNNConfig
from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMConfig, LSTMLanguageModelConfig, LSTMLayer
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import Factored, initialise
from distillbias.models.transformer import TransformerConfig, TransformerLanguageModelConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig
from distillbias.tasks.task import Spec

IMAGES = Spec(shape=(28, 28), classes=10)
WORDS = Spec(shape=(), classes=2, vocabulary=40)
NEXT = Spec(shape=(), classes=40, vocabulary=40)
MODELS = {
    "CNN": (CNNConfig(filters=(16, 32, 16), maxout=(16, 16, 16)), IMAGES),
    "MLP": (MLPConfig(widths=(32, 16)), IMAGES),
    "LSTM": (LSTMConfig(width=32), WORDS),
    "Transformer": (TransformerConfig("first", width=32, layers=2, heads=2), WORDS),
    "Transformer-seq": (TransformerConfig("last", width=32, layers=2, heads=2), WORDS),
    "UniversalTransformer-seq": (UniversalTransformerConfig(width=32, rounds=2, heads=2), WORDS),
    "LSTM language model": (LSTMLanguageModelConfig(width=32), NEXT),
    "Transformer language model": (TransformerLanguageModelConfig(width=32, layers=2, heads=2), NEXT),
}
SILENT = (nn.ModuleList,)  # never called
TABLES = ("trunk.positions",)  # weights that are read row by row, by no call


@pytest.fixture(autouse=True)
def natively(monkeypatch: pytest.MonkeyPatch) -> None:
    at_any_width(monkeypatch)


def built(name: str, training: bool) -> nn.Module:
    config, spec = MODELS[name]
    model = config.build(spec).train(training)
    initialise(model, torch.Generator().manual_seed(0))
    if name == "CNN":
        model.to(memory_format=torch.channels_last)
    return model


def answer(model: nn.Module, name: str) -> Tensor:
    """Of the same batch, with the same draws."""
    give_stream(model, torch.Generator().manual_seed(1))
    stream = torch.Generator().manual_seed(2)
    if MODELS[name][1] is IMAGES:
        given = torch.randn(6, 28, 28, generator=stream)
    else:
        given = torch.randint(4, 40, (6, 7), generator=stream)
    logits = model(given).logits
    return logits.states @ logits.matrix.T if isinstance(logits, Factored) else logits


def gradients(model: nn.Module, name: str) -> dict[str, Tensor]:
    model.zero_grad()
    answer(model, name).square().mean().backward()
    return {key: each.grad for key, each in model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("training", [True, False])
def test_every_module_is_called(name: str, training: bool) -> None:
    model, usual = built(name, training), built(name, training)
    called: Counter[str] = Counter()
    calls = {key: each for key, each in model.named_modules() if not isinstance(each, SILENT) and key not in TABLES}
    for key, module in calls.items():
        module.register_forward_hook(lambda *_, key=key: called.update([key]))
    with torch.set_grad_enabled(training):
        torch.testing.assert_close(answer(model, name), answer(usual, name))
    # a layer that drops nothing may spare itself the call
    idle = {key for key in calls if not training and "dropout" in key}
    assert set(calls) - idle <= set(called)


@pytest.mark.parametrize("name", MODELS)
def test_one_hook_is_heard_and_changes_nothing_but_what_it_says(name: str) -> None:
    """One at a time: around it the rest goes as it goes."""
    usual = gradients(built(name, True), name)
    for key, module in built(name, True).named_modules():
        if isinstance(module, SILENT) or key in TABLES or not key:
            continue
        model, heard = built(name, True), []
        model.get_submodule(key).register_forward_pre_hook(lambda *_, heard=heard: heard.append(1))
        found = gradients(model, name)
        assert heard, key
        assert found.keys() == usual.keys()
        for each, right in usual.items():
            torch.testing.assert_close(found[each], right, rtol=1e-3, atol=1e-5, msg=lambda why: f"{key}: {why}")  # noqa: B023


@pytest.mark.parametrize("name", MODELS)
def test_a_pruned_layer_is_pruned(name: str) -> None:
    """`prune` makes a weight anew at each call, by a hook: what is masked is 0, and gets no gradient."""
    for key, module in built(name, True).named_modules():
        kept = "weight_ih" if isinstance(module, LSTMLayer) else "weight"
        if not isinstance(module, nn.Linear | nn.Conv2d | LSTMLayer):
            continue
        model, masked = built(name, True), built(name, True)
        pruned, weight = model.get_submodule(key), getattr(masked.get_submodule(key), kept)
        mask = (torch.rand(weight.shape, generator=torch.Generator().manual_seed(3)) < 0.5).float()
        weight.data.mul_(mask)
        prune.custom_from_mask(pruned, kept, mask)
        for _ in range(2):  # the second needs the weight of a second call
            found = gradients(model, name)
            on = found[f"{key}.{kept}_orig"]
            assert on.any() and not on[mask == 0].any(), key
        torch.testing.assert_close(answer(model, name), answer(masked, name), msg=lambda why: f"{key}: {why}")  # noqa: B023
