"""Laws of the probes: what they must say of models whose bias is known."""

import numpy as np
import pytest
import torch
from tests import tiny
from torch import nn

from distillbias.data import digits
from distillbias.data.mnist_c import scale
from distillbias.errors import InputError
from distillbias.evaluation.metrics import accuracy
from distillbias.evaluation.predict import predict
from distillbias.evaluation.probes import (
    by_distance,
    equivariance_error,
    moved,
    scale_probe,
    scaled,
    shift_probe,
    within,
)
from distillbias.models.output import Output, initialise
from distillbias.tasks.task import Examples

TEST = digits.load()[1]
IMAGES, LABELS = TEST.pixels[:30], TEST.labels[:30]
DOTS = np.zeros((6, 28, 28), np.uint8)
DOTS[np.arange(6), 10 + np.arange(6), 12] = np.arange(40, 240, 34)  # far from the edge: nothing leaves the image


class Sum(nn.Module):
    """Sees the sum of all ink, so no place."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-1.0, 1.0, 10))

    def forward(self, images: torch.Tensor) -> Output:
        ink = images.flatten(1).double().sum(1, keepdim=True).float()
        return Output(ink * self.scale, {"penultimate": ink})


class Map(nn.Module):
    """One convolution without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 3)
        initialise(self, torch.Generator().manual_seed(1))

    def forward(self, images: torch.Tensor) -> Output:
        found = self.layer(images[:, None])
        return Output(found.mean((2, 3))[:, :1].expand(-1, 10), {"map": found, "penultimate": found.mean((2, 3))})


def test_a_model_that_sees_no_place_never_changes() -> None:
    probe = shift_probe(Sum(), DOTS, np.zeros(6, np.int64), reach=5)
    assert probe.change.shape == (11, 11) and probe.change.max() < 1e-6
    found = equivariance_error(Sum(), DOTS, [(0, 3), (-2, 2)], {})
    assert found.invariance == pytest.approx([0.0, 0.0], abs=1e-6)


def test_the_middle_is_the_image_as_it_is_and_offsets_are_down_and_right() -> None:
    model = tiny.mlp()
    probe = shift_probe(model, IMAGES, LABELS, reach=2)
    assert probe.error[2, 2] == 1 - accuracy(predict(model, examples(IMAGES))[0], LABELS) and probe.change[2, 2] == 0
    by_hand = np.zeros_like(IMAGES)
    by_hand[:, 2:, :-1] = IMAGES[:, :-2, 1:]  # down by 2, left by 1
    assert np.array_equal(moved(IMAGES, (2, -1)), by_hand)
    assert probe.error[4, 1] == 1 - accuracy(predict(model, examples(by_hand))[0], LABELS)


def test_scales_are_those_of_the_corrupted_tests() -> None:
    assert np.array_equal(scaled(IMAGES, 0.7), scale(IMAGES, 3)) and np.array_equal(scaled(IMAGES, 1.0), IMAGES)
    probe = scale_probe(tiny.mlp(), IMAGES, LABELS, (0.7, 1.0))
    assert probe.change[1] == 0 and probe.change[0] > 0


def test_a_convolution_is_equivariant_inside_and_its_mlp_is_not_invariant() -> None:
    found = equivariance_error(Map(), IMAGES, [(0, 1), (-3, 2), (28, 0)], {"map": 1})
    assert found.maps["map"][:2] == pytest.approx([0.0, 0.0], abs=1e-5) and np.isnan(found.maps["map"][2])
    strided = equivariance_error(Map(), IMAGES, [(0, 1), (2, 0)], {"map": 2})
    assert np.isnan(strided.maps["map"][0])  # half a place
    assert equivariance_error(tiny.mlp(), IMAGES, [(0, 3)]).invariance[0] > 0.1


def test_distances_are_the_larger_axis() -> None:
    values = np.array([[3.0, 3.0, 3.0], [3.0, 1.0, 3.0], [3.0, 3.0, 11.0]])
    assert by_distance(values) == pytest.approx([1.0, 4.0]) and within(values, 1) == pytest.approx(4.0)
    with pytest.raises(InputError, match="distance 2; it must be 1 to 1"):
        within(values, 2)


def test_what_cannot_be_probed_is_one_line() -> None:
    with pytest.raises(InputError, match="reach 28; it must be 0 to 27"):
        shift_probe(tiny.mlp(), IMAGES, LABELS, 28)
    with pytest.raises(InputError, match="1 images"):
        equivariance_error(tiny.mlp(), IMAGES[:1], [(0, 1)])
    with pytest.raises(InputError, match="scale 0"):
        scale_probe(tiny.mlp(), IMAGES, LABELS, (0.0,))


def examples(images: np.ndarray) -> Examples:
    return Examples(images, LABELS, np.arange(len(images)), "digits", "")
