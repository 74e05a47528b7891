"""Classifiers of words: the paper's sizes (F4.2), what each may see, and the dropout that they share."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.reference.lstm import lstm_layer
from torch import Tensor, nn

from distillbias.errors import InputError
from distillbias.models.dropout import Dropout, LockedDropout, give_stream
from distillbias.models.lstm import LSTMConfig, LSTMLayer, at
from distillbias.models.output import initialise, parameter_count
from distillbias.models.transformer import Block, TransformerConfig, Trunk, causal
from distillbias.models.universal_transformer import UniversalTransformerConfig
from distillbias.tasks.task import Spec

PAPER = Spec(shape=(), classes=2, vocabulary=10_034)
SMALL = Spec(shape=(), classes=2, vocabulary=40)
CONFIGS = {
    "LSTM": LSTMConfig(width=12),
    "Transformer": TransformerConfig("first", width=16, layers=2, heads=4),
    "Transformer-seq": TransformerConfig("last", width=16, layers=2, heads=4),
    "UniversalTransformer-seq": UniversalTransformerConfig(width=16, rounds=3, heads=4),
}
READING = [name for name in CONFIGS if name != "Transformer"]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(name: str):
    model = CONFIGS[name].build(SMALL).eval()
    initialise(model, stream())
    return model


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LSTMConfig(), 3_619_842),
        (TransformerConfig("first"), 2_605_570),
        (TransformerConfig("last"), 2_605_570),
        (UniversalTransformerConfig(), 3_621_634),
    ],
)
def test_parameter_counts_of_the_paper(config, parameters: int) -> None:
    assert parameter_count(config.build(PAPER)) == parameters


@pytest.mark.parametrize("name", CONFIGS)
def test_names_are_the_papers(name: str) -> None:
    assert CONFIGS[name].name == name


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_no_answer(name: str) -> None:
    model, words = built(name), torch.randint(4, 40, (5, 8), generator=stream(1))
    words[0, 3:] = 0
    words[1, 1:] = 0
    together = model(words).logits
    torch.testing.assert_close(together[0], model(words[:1, :3]).logits[0])
    torch.testing.assert_close(together[1], model(words[1:2, :1]).logits[0])


@pytest.mark.parametrize("name", CONFIGS)
def test_every_word_and_its_place_matter(name: str) -> None:
    model, words = built(name), torch.randint(4, 40, (1, 6), generator=stream(2))
    answer = model(words).logits
    for place in range(6):
        other = words.clone()
        other[0, place] = 4 + (other[0, place] - 3) % 36
        assert not torch.allclose(model(other).logits, answer, atol=1e-7)
    assert not torch.allclose(model(words.flip(1)).logits, answer, atol=1e-6)


@pytest.mark.parametrize("name", READING)
def test_readers_see_nothing_of_what_follows(name: str) -> None:
    """The state at a word is the same whatever comes after it."""
    model, words = built(name), torch.randint(4, 40, (1, 7), generator=stream(3))
    shorter = model(words[:, :4]).hidden["penultimate"]
    seen = []
    if hasattr(model, "trunk"):
        seen.append(model.trunk(words, causal(words)))
    else:
        model.layers[-1].register_forward_hook(lambda module, given, output: seen.append(output))
        model(words)
    torch.testing.assert_close(seen[0][:, 3], shorter)


class HalvesEverySecond(Dropout):
    """In the place of dropout of attention: shares that do not sum to 1, the same whatever the shape."""

    def forward(self, shares: Tensor) -> Tensor:
        return shares * (1 - 0.5 * (torch.arange(shares.shape[-1]) % 2)).to(shares.dtype)


@pytest.mark.parametrize("name", [name for name in CONFIGS if "Transformer" in name])
def test_one_word_of_the_last_block_is_as_all_of_them(name: str) -> None:
    """A classifier's last block is computed for the word that is read; all words give the same, and its gradients."""
    model = built(name).double()
    for module in [*model.modules()]:
        if isinstance(module, Block):
            module.attention_dropout = HalvesEverySecond(0.5)
    for parameter in model.parameters():  # biases start at 0
        nn.init.normal_(parameter, std=0.3, generator=stream(9))
    words = torch.randint(4, 40, (5, 7), generator=stream(10))
    words[:2, 4:] = 0
    found = []
    for every in (False, True):
        if every:
            trunk = model.trunk
            trunk.forward = lambda words, seen, read, trunk=trunk: at(Trunk.forward(trunk, words, seen), read)
        logits = model(words).logits
        found.append((logits.detach(), torch.autograd.grad(logits.square().sum(), [*model.parameters()])))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_seen_padding_is_like_a_word() -> None:
    """T10, against the model with a mask that has a word of the same embedding; alone and in a longer batch."""
    masked, seeing = (replace(CONFIGS["Transformer"], padded=padded).build(SMALL).eval() for padded in (0, 6))
    for model in (masked, seeing):
        initialise(model, stream())
    with torch.no_grad():
        masked.trunk.embedding.weight[39] = masked.trunk.embedding.weight[0]
    words = torch.randint(4, 39, (2, 9), generator=stream(8))
    words[0, 4:] = 0
    filled = torch.tensor([[*words[0, :4].tolist(), 39, 39]])
    torch.testing.assert_close(seeing(words[:1, :4]).logits, masked(filled).logits)
    torch.testing.assert_close(seeing(words).logits, torch.cat([masked(filled).logits, masked(words[1:]).logits]))
    assert not torch.allclose(seeing(words[:1]).logits, masked(words[:1]).logits, atol=1e-6)


@pytest.mark.parametrize(("readout", "padded"), [("last", 3), ("first", -1), ("first", 1024)])
def test_padding_that_cannot_be_seen_is_refused(readout: str, padded: int) -> None:
    with pytest.raises(InputError, match=f"padded is {padded}"):
        TransformerConfig(readout, padded=padded)


def test_the_universal_transformer_has_one_block() -> None:
    one, many = (UniversalTransformerConfig(width=16, rounds=n, heads=4).build(SMALL) for n in (1, 6))
    assert parameter_count(one) == parameter_count(many)


@pytest.mark.parametrize("threads", [1, 2, 3])  # three take torch's own layer
@pytest.mark.parametrize("rate", [0.0, 0.4, 0.5])
@pytest.mark.parametrize("width", [6, 8])  # whose gates do not fill vectors, and do
def test_the_layer_is_a_variational_lstm(
    width: int, rate: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against one gate and one word at a time, with the masks it drew."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    layer = LSTMLayer(5, width, rate).train()
    for weights in (layer.weight_ih, layer.weight_hh, layer.bias):
        torch.nn.init.normal_(weights, generator=stream(4))
    masks = []
    for dropout in (layer.recurrent_dropout, layer.input_dropout):  # one stream, as in a run
        give_stream(dropout, stream(5))
    layer.recurrent_dropout.register_forward_hook(lambda module, given, output: masks.append(output.detach()))
    x = torch.randn(3, 4, 5, generator=stream(6))
    got = layer(x).detach()
    give_stream(layer.input_dropout, stream(5))
    of_input = layer.input_dropout(torch.ones_like(x))[:, 0]
    of_state = masks[0][0] if rate else torch.ones(width)
    weights = [tensor.detach().double().numpy() for tensor in (layer.weight_ih, layer.weight_hh, layer.bias)]
    for row in range(3):
        wanted = lstm_layer(x[row].double().numpy(), *weights, of_input[row].numpy(), of_state.numpy())
        np.testing.assert_allclose(got[row], wanted, rtol=1e-4, atol=1e-5)


def test_first_weights_are_the_papers() -> None:
    lstm, transformer = built("LSTM"), built("Transformer-seq")
    layer = lstm.layers[0]
    torch.testing.assert_close(layer.weight_hh.T @ layer.weight_hh, torch.eye(12), atol=1e-5, rtol=0.0)
    assert layer.bias.tolist() == [0.0] * 12 + [1.0] * 12 + [0.0] * 24
    assert lstm.embedding.weight.abs().max() <= 0.05
    weights = transformer.trunk.blocks[0].qkv.weight.detach()
    assert weights.abs().max() <= 0.1 and weights.std().item() == pytest.approx(0.88 * 0.05, rel=0.1)


def test_locked_dropout_has_one_mask_for_a_sentence() -> None:
    layer = LockedDropout(0.4).train()
    give_stream(layer, stream())
    y = layer(torch.ones(50, 7, 30))
    assert torch.equal(y, y[:, :1].expand_as(y)) and not torch.equal(y[0], y[1])
    assert (y[:, 0] == 0).float().mean().item() == pytest.approx(0.4, abs=0.07)
    assert layer.eval()(y) is y
