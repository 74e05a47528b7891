"""Sizes from the paper's fact sheet (F4.3), and a contract every model keeps."""

import copy

import pytest
import torch
from torch import nn

from distillbias.models.cnn import CNNConfig, Maxout, unbiased
from distillbias.models.dropout import Dropout, give_stream
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import Factored, initialise, parameter_count
from distillbias.models.registry import MODELS
from distillbias.tasks.task import Spec

SPEC = Spec(shape=(28, 28), classes=10)
WORDS = Spec(shape=(), classes=2, vocabulary=50)
IMAGE_MODELS = ("CNN", "AblatedCNN", "MLP")


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spec_of(name: str) -> Spec:
    return SPEC if name in IMAGE_MODELS else WORDS


def inputs_of(name: str) -> torch.Tensor:
    if name in IMAGE_MODELS:
        return torch.rand(6, 28, 28, generator=stream(1))
    return torch.randint(4, 50, (6, 9), generator=stream(1))


def norms(model: nn.Module) -> int:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return sum(parameter_count(module) for module in model.modules() if isinstance(module, kinds))


@pytest.mark.parametrize(
    ("config", "with_norm", "without"), [(CNNConfig(), 112_586, 112_170), (MLPConfig(), 473_386, 472_042)]
)
def test_parameter_counts_of_the_paper(config, with_norm: int, without: int) -> None:
    model = config.build(SPEC)
    assert parameter_count(model) == with_norm
    assert parameter_count(model) - norms(model) == without


def test_cnn_shape_chain() -> None:
    model = CNNConfig().build(SPEC).eval()
    sizes = []
    for stage in model.stages:
        stage.convolution.register_forward_hook(lambda m, i, o: sizes.append((o.shape[1], o.shape[-1])))
    hidden = model(torch.rand(2, 28, 28)).hidden
    assert sizes == [(128, 26), (64, 24), (64, 10)]
    assert [tuple(hidden[f"stage{i}"].shape[1:]) for i in range(3)] == [(128, 26, 26), (64, 12, 12), (16, 5, 5)]
    assert hidden["penultimate"].shape == (2, 16)


def test_mlp_penultimate_follows_norm_and_dropout() -> None:
    model = MLPConfig().build(SPEC).eval()
    initialise(model, stream())
    output = model(torch.rand(3, 28, 28))
    assert output.hidden["penultimate"].shape == (3, 32)
    torch.testing.assert_close(model.answer(output.hidden["penultimate"]), output.logits)
    kinds = [type(layer).__name__ for layer in model.hidden[-1]]
    assert kinds == ["Linear", "ReLU", "BatchNorm1d", "Dropout"]


def test_maxout_takes_consecutive_channels() -> None:
    x = torch.arange(8.0).reshape(1, 8, 1, 1) * torch.tensor([1, -1, 1, -1, 1, 1, 1, -1]).reshape(1, 8, 1, 1)
    assert Maxout(2)(x).flatten().tolist() == [2.0, 6.0]  # max(0, -1, 2, -3), max(4, 5, 6, -7)


@pytest.mark.parametrize("name", MODELS)
def test_same_stream_same_weights_and_no_global_draw(name: str) -> None:
    before = torch.random.get_rng_state()
    models = [MODELS[name]().build(spec_of(name)) for _ in range(2)]
    torch.random.set_rng_state(before)  # building draws PyTorch's own first weights, which initialise replaces
    for model in models:
        initialise(model, stream(3))
    assert torch.equal(torch.random.get_rng_state(), before)
    for first, again in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(first, again)


@pytest.mark.parametrize("name", MODELS)
def test_answers_do_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    model = MODELS[name]().build(spec_of(name)).eval()
    initialise(model, stream())
    inputs = inputs_of(name)
    torch.testing.assert_close(answers(model(inputs))[:2], answers(model(inputs[:2])))
    if hasattr(model, "answer") or hasattr(model, "head"):  # a language model's last layer is its embedding
        last = model.answer if name in IMAGE_MODELS else model.head
        torch.testing.assert_close(last(model(inputs).hidden["penultimate"]), model(inputs).logits)


def answers(output) -> torch.Tensor:
    logits = output.logits
    return logits.states @ logits.matrix.T if isinstance(logits, Factored) else logits


def test_batch_norm_follows_keras() -> None:
    for config in (CNNConfig(), MLPConfig()):
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
        for module in config.build(SPEC).modules():
            if isinstance(module, kinds):
                assert (module.momentum, module.eps) == (0.01, 1e-3)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("shape", [(1001, 37), (8, 16, 26, 26)])
def test_dropout_keeps_the_mean_and_drops_its_share(rate: float, shape: tuple[int, ...]) -> None:
    layer = Dropout(rate).train()
    give_stream(layer, stream())
    x = torch.ones(shape)
    if len(shape) == 4:
        x = x.to(memory_format=torch.channels_last)
    y = layer(x)
    zeros = (y == 0).double().mean().item()
    sigma = (rate * (1 - rate) / x.numel()) ** 0.5
    assert abs(zeros - rate) < 5 * sigma + 1 / 65536
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - rate)))
    assert layer.eval()(x) is x


def test_dropout_masks_are_independent_from_place_to_place() -> None:
    layer = Dropout(0.5).train()
    give_stream(layer, stream())
    kept = (layer(torch.ones(400_000)) != 0).double()
    for lag in (1, 2, 3, 4, 8):  # four draws come from one word
        correlation = torch.corrcoef(torch.stack([kept[:-lag], kept[lag:]]))[0, 1].item()
        assert abs(correlation) < 5 / 400_000**0.5


def test_dropout_without_a_stream_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no random stream"):
        Dropout(0.5).train()(torch.ones(3))


@pytest.mark.parametrize("momentum", [0.01, 0.0, None])
def test_a_bias_before_batch_norm_has_no_influence(momentum: float | None) -> None:
    """Written out, with biases that are not zero: the same answer, statistics and gradients; that of the bias is 0."""
    torch.manual_seed(0)
    convolution, plain = nn.Conv2d(2, 3, 3).double(), nn.BatchNorm2d(3, momentum=momentum).double()
    assert convolution.bias is not None
    nn.init.normal_(convolution.bias, std=5.0)
    ours = copy.deepcopy(plain)
    x, weights = torch.randn(4, 2, 6, 6).double(), torch.randn(4, 3, 4, 4).double()
    found = []
    for normalised in (lambda: plain(convolution(x)), lambda: unbiased(convolution, ours, ours, x)):
        for _ in range(3):
            answer = normalised()
        convolution.zero_grad()
        (answer * weights).sum().backward()
        found.append((answer, convolution.weight.grad.clone(), convolution.bias.grad.clone()))
    (expected, weight, bias), (answer, our_weight, our_bias) = found
    assert torch.allclose(answer, expected, atol=1e-12) and torch.allclose(our_weight, weight, atol=1e-11)
    assert bias.abs().max() < 1e-10 and our_bias.abs().max() == 0
    assert torch.allclose(ours.running_mean, plain.running_mean, atol=1e-12)
    assert torch.allclose(ours.running_var, plain.running_var, atol=1e-12)
