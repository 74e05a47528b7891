"""Language models: the paper's sizes and first weights (F4.1), the tied output, and that none looks ahead."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from tests import language
from torch.testing import assert_close

from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMLanguageModelConfig
from distillbias.models.native import put_aside
from distillbias.models.output import Factored, initialise, parameter_count
from distillbias.models.transformer import TransformerLanguageModelConfig
from distillbias.studies.agreement_lm import paper
from distillbias.tasks.task import Spec
from distillbias.training.next_word import cross_entropy, targets

PAPER = Spec(shape=(), classes=10_034, vocabulary=10_034)
EACH = pytest.mark.parametrize("name", language.MODELS)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def words(batch: int = 4, time: int = 7) -> torch.Tensor:
    return torch.randint(4, len(language.VOCABULARY), (batch, time), generator=stream(1))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("LSTM", 28_109_824), ("Small LSTM", 9_598_464), ("Transformer", 24_577_024), ("Small Transformer", 7_569_920)],
)
def test_parameter_counts_of_the_paper(name: str, parameters: int) -> None:
    config = paper().models[name]
    assert parameter_count(config.build(PAPER)) == parameters
    assert config.name == name


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("aside", [False, True])
def test_recomputed_blocks_have_the_same_gradients_and_draws_to_the_bit(half: bool, aside: bool) -> None:
    config = TransformerLanguageModelConfig(width=32, layers=3, heads=2)
    found = []
    for recompute in (False, True):
        model = replace(config, recompute=recompute).build(PAPER)
        initialise(model, stream(3))
        give_stream(model, draws := stream(4))
        with put_aside() if aside else nullcontext(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            inputs = words(5, 9)
            for _ in range(2):
                loss = cross_entropy(model(inputs).logits, targets(inputs))
                loss.backward()
        found.append([loss, draws.get_state(), *(each.grad for each in model.parameters())])
    assert all(map(torch.equal, *found))


def test_recomputed_blocks_keep_less() -> None:
    """Of four blocks less than half, counted by what autograd is handed."""
    config, kept = TransformerLanguageModelConfig(width=32, layers=4, heads=2), []
    for recompute in (False, True):
        model = replace(config, recompute=recompute).build(PAPER)
        initialise(model, stream(3))
        give_stream(model, stream(4))
        held: dict[int, int] = {}
        parameters = {each.data_ptr() for each in model.parameters()}

        def pack(x: torch.Tensor, held: dict[int, int] = held, parameters: set[int] = parameters) -> torch.Tensor:
            if x.data_ptr() not in parameters:
                held[x.data_ptr()] = x.numel() * x.element_size()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            states = model(words(32, 24)).logits.states
        kept.append(sum(held.values()))
        del states
    assert kept[1] < kept[0] / 2


def test_the_defaults_are_the_papers_large_models() -> None:
    models = paper().models
    assert models["LSTM"] == LSTMLanguageModelConfig() and models["Transformer"] == TransformerLanguageModelConfig()


@EACH
def test_no_language_model_looks_ahead(name: str) -> None:
    model, read = language.model(name).eval(), words()
    changed = torch.cat([read[:, :4], (read[:, 4:] + 3) % 8 + 4], 1)
    now, then = model(read).hidden["penultimate"], model(changed).hidden["penultimate"]
    assert_close(now[:, :4], then[:, :4])
    assert not torch.allclose(now[:, 4:], then[:, 4:])


@EACH
def test_padding_changes_no_state(name: str) -> None:
    model, read = language.model(name).eval(), words()
    padded = read.clone()
    padded[0, 3:] = 0
    assert_close(model(padded).hidden["penultimate"][0, :3], model(read[:1, :3]).hidden["penultimate"][0])


@EACH
def test_the_embedding_answers(name: str) -> None:
    """One matrix, read at both ends: its gradient is the sum of what it gets as embedding and as answer."""
    model, read = language.model(name).eval(), words()
    logits = model(read).logits
    matrix = (model if name == "LSTM" else model.trunk).embedding.weight
    assert isinstance(logits, Factored) and logits.matrix is matrix
    right = targets(read)
    cross_entropy(logits, right).backward()
    found = matrix.grad.clone()
    model.zero_grad()
    logits = model(read).logits
    whole = logits.states[:, :-1] @ logits.matrix.T
    torch.nn.functional.cross_entropy(whole.flatten(0, 1), right.flatten()).backward()
    assert_close(found, matrix.grad)


@EACH
def test_states_are_what_enters_the_last_product(name: str) -> None:
    output = language.model(name).eval()(words())
    assert output.hidden["penultimate"] is output.logits.states
    assert output.logits.states.dtype == torch.float32


@EACH
def test_products_are_in_bf16_under_autocast(name: str) -> None:
    model = language.model(name).train()
    give_stream(model, stream(2))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(words()).logits
    assert logits.states.dtype == torch.bfloat16 and logits.matrix.dtype == torch.float32
    cross_entropy(logits, targets(words())).backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in model.parameters())


def test_first_weights() -> None:
    """Truncated normal, cut at two deviations: .88 of the deviation is left (F4.1)."""
    for config, deviation in (
        (LSTMLanguageModelConfig(width=64, layers=1), 1 / 8),
        (TransformerLanguageModelConfig(width=64, layers=1), 0.05),
    ):
        model = config.build(Spec(shape=(), classes=400, vocabulary=400))
        initialise(model, stream())
        for parameter in model.parameters():
            if parameter.ndim > 1:
                assert parameter.abs().max() <= 2 * deviation
                assert parameter.std().item() == pytest.approx(0.88 * deviation, rel=0.03)
    layer = language.model("LSTM").layers[0]
    assert layer.bias.tolist() == [0.0] * 8 + [1.0] * 8 + [0.0] * 16


def test_dropout_is_after_the_projection() -> None:
    model = LSTMLanguageModelConfig(width=8, layers=1, embedding_dropout=0.0, dropout=0.0, output_dropout=0.5).build(
        language.SPEC
    )
    initialise(model, stream())
    give_stream(model, stream(3))
    kept, dropped = model.eval()(words()).logits.states, model.train()(words()).logits.states
    assert 0.2 < (dropped == 0).float().mean() < 0.8
    assert_close(dropped[dropped != 0], 2 * kept[dropped != 0])
