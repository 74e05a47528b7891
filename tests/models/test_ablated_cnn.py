"""Each switch takes one ingredient away and nothing else."""

import pytest
import torch
import torch.nn.functional as F

from distillbias.models.ablated_cnn import AblatedCNNConfig, LocallyConnected
from distillbias.models.cnn import CNNConfig
from distillbias.models.output import initialise, parameter_count
from distillbias.tasks.task import Spec

SPEC = Spec(shape=(28, 28), classes=10)
SMALL = {"filters": (4, 6, 8), "maxout": (4, 3, 4), "pools": (1, 2, 2), "dropout": 0.0}


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(seed: int = 0, **switches: bool) -> torch.nn.Module:
    model = AblatedCNNConfig(**SMALL, **switches).build(SPEC)
    initialise(model, stream(seed))
    return model.eval()


def moved(images: torch.Tensor, pixels: int) -> torch.Tensor:
    return F.pad(images, (pixels, -pixels))


def blobs() -> torch.Tensor:
    """Patterns in the middle, nothing near the border."""
    return F.pad(torch.rand(3, 6, 6, generator=stream(3)), (8, 14, 8, 14))


def test_with_everything_on_it_is_the_cnn() -> None:
    ours, theirs = built(), CNNConfig(**SMALL).build(SPEC).eval()
    initialise(theirs, stream())
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    images = torch.rand(5, 28, 28, generator=stream(1))
    assert torch.equal(ours(images).logits, theirs(images).logits)


def test_without_locality_only_the_places_differ() -> None:
    local, shuffled = built(), built(local=False)
    assert parameter_count(local) == parameter_count(shuffled)
    assert all(torch.equal(a, b) for a, b in zip(local.parameters(), shuffled.parameters(), strict=True))
    even = torch.full((2, 28, 28), 0.4)
    assert torch.allclose(local(even).logits, shuffled(even).logits, atol=1e-6)
    images = torch.rand(2, 28, 28, generator=stream(1))
    assert not torch.allclose(local(images).logits, shuffled(images).logits, atol=1e-3)
    assert torch.equal(shuffled(images).logits, built(local=False)(images).logits)


def test_a_locally_connected_layer_with_equal_kernels_is_a_convolution() -> None:
    layer, convolution = LocallyConnected(2, 5, (9, 7)), torch.nn.Conv2d(2, 5, 3)
    with torch.no_grad():
        layer.weight.copy_(convolution.weight.flatten(1).T.expand_as(layer.weight))
        layer.bias.copy_(convolution.bias.expand_as(layer.bias))
    images = torch.rand(4, 2, 9, 7, generator=stream(1))
    assert torch.allclose(layer(images), convolution(images), atol=1e-6)


def test_a_locally_connected_layer_sees_three_by_three_and_shares_nothing() -> None:
    layer = LocallyConnected(1, 1, (6, 6))
    layer.initialise(stream())
    image = torch.zeros(1, 1, 6, 6)
    image[0, 0, 2, 2] = 1.0
    answer = layer(image)[0, 0]
    reached = {tuple(place) for place in answer.nonzero().tolist()}
    assert reached == {(row, column) for row in range(3) for column in range(3)}
    assert len(set(layer.weight.flatten().tolist())) == layer.weight.numel()


@pytest.mark.parametrize(("switches", "stays"), [({}, True), ({"shared": False}, False), ({"local": False}, False)])
def test_who_answers_alike_wherever_the_pattern_stands(switches: dict[str, bool], stays: bool) -> None:
    """By 4 pixels, which the pooling divides."""
    model = built(**switches)
    here, there = model(blobs()).logits, model(moved(blobs(), 4)).logits
    assert torch.allclose(here, there, atol=1e-5) is stays


def test_without_pooling_the_answer_knows_the_place() -> None:
    model = built(pooled=False)
    here, there = (model(images).hidden for images in (blobs(), moved(blobs(), 4)))
    assert here["penultimate"].shape == (3, 4 * 5 * 5)
    assert not torch.allclose(model.answer(here["penultimate"]), model.answer(there["penultimate"]), atol=1e-5)
    assert here["stage1"].shape == (3, 3, 12, 12)


def test_names_say_what_is_missing() -> None:
    assert AblatedCNNConfig(local=False, pooled=False).name == "CNN − locality − pooling"
    assert AblatedCNNConfig().name == "CNN"
