"""Probes of vision models: laws that hold for models whose behaviour is known, and references made another way."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import affine_transform
from scipy.spatial.distance import cdist
from scipy.special import softmax
from tests import tiny
from torch import nn

from distillbias.data.mnist_c import scale
from distillbias.errors import InputError
from distillbias.evaluation.metrics import accuracy
from distillbias.evaluation.predict import predict
from distillbias.evaluation.probes import (
    by_distance,
    equivariance_error,
    map_strides,
    moved,
    scale_probe,
    scaled,
    shift_probe,
    within,
)
from distillbias.models.output import Output, initialise

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 3, 4, 5])
CENTRED = np.pad(NOISE[:, :20, :20], ((0, 0), (4, 4), (4, 4)))  # 4 empty pixels on each side


class Known(nn.Module):
    """Answers and activations by formula; the parameter only tells where the model is."""

    def __init__(self, logits: Callable, **hidden: Callable):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))
        self.logits, self.hidden = logits, {"penultimate": lambda x: x.flatten(1)} | hidden

    def forward(self, images: torch.Tensor) -> Output:
        return Output(self.logits(images), {name: of(images) for name, of in self.hidden.items()})


def brightness(images: torch.Tensor) -> torch.Tensor:
    total = images.double().sum((1, 2)).float()
    return torch.stack([torch.zeros_like(total), total - 180], 1)


def test_a_model_that_ignores_position_does_not_change() -> None:
    model = Known(brightness, penultimate=brightness)
    labels = np.array([0, 1, 0, 1, 1, 1])
    probe = shift_probe(model, CENTRED, labels, reach=4)
    assert probe.change.shape == (9, 9) and probe.change.max() < 1e-5
    assert 0 < probe.error[4, 4] < 1 and (probe.error == probe.error[4, 4]).all()
    assert equivariance_error(model, CENTRED, [(1, 2), (-4, 4)]).invariance == pytest.approx([0, 0], abs=1e-6)
    assert shift_probe(model, CENTRED, labels, reach=5).change[0].max() > 0.01  # now ink leaves


def test_the_middle_is_the_image_as_it_is_exactly() -> None:
    model, asked = tiny.mlp(), replace(tiny.examples(6), inputs=NOISE)
    probe = shift_probe(model, NOISE, LABELS, reach=1)
    assert probe.error[1, 1] == 1 - accuracy(predict(model, asked)[0], LABELS)
    assert probe.change[1, 1] == 0.0 and probe.change[0, 0] > 0
    scales = scale_probe(model, NOISE, LABELS, (0.5, 1.0))
    assert scales.error[1] == probe.error[1, 1] and scales.change[1] == 0.0 and scales.change[0] > 0


def logits(model: nn.Module, images: np.ndarray) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        return model(torch.as_tensor(images).float() / 255).logits.numpy()


def test_rows_are_down_and_columns_are_right() -> None:
    """The model sees one pixel, and the image has one: they meet at one offset alone."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 10, 10] = 255
    model = Known(lambda x: torch.stack([torch.full((len(x),), 0.5), x[:, 12, 9]], 1))
    probe = shift_probe(model, image, np.array([1]), reach=3)
    assert np.argwhere(probe.error == 0).tolist() == [[3 + 2, 3 - 1]]
    before, after = 1 / (1 + np.exp(0.5)), 1 / (1 + np.exp(-0.5))
    assert probe.change[5, 2] == pytest.approx(after - before) and probe.change.sum() == pytest.approx(after - before)


@given(st.integers(-4, 4), st.integers(-4, 4))
def test_moving_rolls_where_nothing_leaves(dy: int, dx: int) -> None:
    np.testing.assert_array_equal(moved(CENTRED, (dy, dx)), np.roll(CENTRED, (dy, dx), (1, 2)))


def test_change_is_total_variation_from_softmax() -> None:
    model = tiny.mlp()
    before, after = (softmax(logits(model, np.roll(CENTRED, step, (1, 2))), 1) for step in ((0, 0), (2, -1)))
    expected = np.maximum(after - before, 0).sum(1).mean()  # what one gains the others lose
    assert shift_probe(model, CENTRED, LABELS, reach=2).change[4, 1] == pytest.approx(expected, rel=1e-4)


def test_scales_are_mnist_cs_and_scipys() -> None:
    np.testing.assert_array_equal(scaled(NOISE, 1.0), NOISE)
    for severity, size in ((1, 0.9), (3, 0.7), (5, 0.5)):
        np.testing.assert_array_equal(scaled(NOISE, size), scale(NOISE, severity))
    for size in (0.55, 1.15, 1.3):
        shift = 13.5 - 13.5 / size
        expected = [
            affine_transform(image.astype(float), [1 / size] * 2, shift, order=1, mode="grid-constant")
            for image in NOISE
        ]
        assert np.abs(scaled(NOISE, size) - np.array(expected)).max() <= 0.51


def convolution() -> Callable:
    weight = torch.as_tensor(RANDOM.normal(size=(3, 1, 3, 3)).astype(np.float32))
    return lambda x: torch.conv2d(x[:, None], weight)


def test_a_convolution_is_equivariant_inside() -> None:
    model = Known(brightness, map=convolution())
    probe = equivariance_error(model, NOISE, [(0, 0), (1, 0), (-2, 3), (5, -7), (26, 0)], {"map": 1})
    assert probe.maps["map"][:4].max() < 1e-6 and np.isnan(probe.maps["map"][4])  # 26 rows: no place is left
    assert probe.invariance[0] == 0 and probe.invariance[1:].min() > 0.5


def test_a_map_that_stands_still_is_not_equivariant() -> None:
    """f = the number of the row, whatever the image: moved by one row every place is off by one."""
    rows = torch.arange(28.0)[:, None].expand(28, 28)
    model = Known(brightness, map=lambda x: rows.expand(len(x), 1, 28, 28))
    probe = equivariance_error(model, NOISE, [(1, 0), (0, 1)], {"map": 1})
    assert probe.maps["map"][0] == pytest.approx((27 / sum(row**2 for row in range(1, 28))) ** 0.5, rel=1e-6)
    assert probe.maps["map"][1] == 0


def test_stages_of_the_cnn_are_equivariant_at_multiples_of_their_strides() -> None:
    model = tiny.CNN.build(tiny.SPEC)
    initialise(model, torch.Generator().manual_seed(0))
    assert map_strides(model) == {"stage0": 1, "stage1": 2, "stage2": 4} and map_strides(tiny.mlp()) == {}
    offsets = [(dy, dx) for dy in (-4, 0, 2, 3) for dx in (0, 4)]
    probe = equivariance_error(model, NOISE, offsets)
    for name, stride in (("stage0", 1), ("stage1", 2), ("stage2", 4)):
        fits = np.array([dy % stride == 0 and dx % stride == 0 for dy, dx in offsets])
        np.testing.assert_array_equal(np.isfinite(probe.maps[name]), fits)
        assert probe.maps[name][fits].max() < 1e-5
    wrong = equivariance_error(model, NOISE, [(4, 4)], {"stage1": 4})
    assert wrong.maps["stage1"][0] > 0.1


def test_invariance_is_measured_against_other_images() -> None:
    probe = equivariance_error(Known(brightness), CENTRED, [(2, 1), (0, 0)])
    flat = CENTRED.reshape(6, -1) / 255
    far = np.linalg.norm(np.roll(CENTRED, (2, 1), (1, 2)).reshape(6, -1) / 255 - flat, axis=1).mean()
    apart = cdist(flat, flat)[~np.eye(6, dtype=bool)].mean()
    assert probe.invariance == pytest.approx([far / apart, 0], rel=1e-5)
    same = Known(brightness, penultimate=lambda x: torch.ones(len(x), 3))
    assert np.isnan(equivariance_error(same, CENTRED, [(1, 1)]).invariance).all()


@given(st.integers(1, 5), st.integers(0, 100))
def test_distances_are_of_the_larger_axis(reach: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((2 * reach + 1, 2 * reach + 1))
    rings: dict[int, list[float]] = {}
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            rings.setdefault(max(abs(dy), abs(dx)), []).append(values[dy + reach, dx + reach])
    assert by_distance(values) == pytest.approx([np.mean(rings[each]) for each in range(reach + 1)])
    inside = [value for each in range(1, reach) for value in rings[each]]
    if inside:
        assert within(values, reach - 1) == pytest.approx(np.mean(inside))
    assert within(values, reach) == pytest.approx((values.sum() - values[reach, reach]) / (values.size - 1))


def test_what_cannot_be_is_refused() -> None:
    model = tiny.mlp()
    with pytest.raises(InputError, match="reach 28; it must be 0 to 27"):
        shift_probe(model, NOISE, LABELS, reach=28)
    with pytest.raises(InputError, match="scale 0.0; it must be above 0"):
        scale_probe(model, NOISE, LABELS, (1.0, 0.0))
    with pytest.raises(InputError, match="1 images; .* at least 2"):
        equivariance_error(model, NOISE[:1], [(0, 1)])
    with pytest.raises(InputError, match="distance 2; it must be 1 to 1"):
        within(np.zeros((3, 3)), 2)
    with pytest.raises(InputError, match="one label per row"):
        shift_probe(model, NOISE, LABELS[:2], reach=0)
