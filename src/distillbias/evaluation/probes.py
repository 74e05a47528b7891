"""Direct probes of a vision model's bias: how do its answer and its representation change when an image moves?

    offset (dy, dx)   the image moved down by dy and right by dx pixels; zeros move in, what leaves the image is lost
    scale             the image at so many times its size about its centre, read bilinearly (as MNIST-C's `scale`)

Images are uint8 [n, 28, 28], labels int64 [n]. Models are asked in evaluation mode, float32.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy.spatial.distance import pdist
from torch import nn

from distillbias.data.images import SIDE
from distillbias.data.mnist_c import shifted
from distillbias.data.warp import bilinear
from distillbias.errors import InputError
from distillbias.evaluation.metrics import Labels, accuracy, softmax
from distillbias.evaluation.predict import outputs, predict
from distillbias.models.cnn import CNN, Stage
from distillbias.tasks.task import Examples

Images = UInt8[np.ndarray, "n 28 28"]
Map = Float[np.ndarray, "side side"]
Offset = tuple[int, int]
PENULTIMATE = "penultimate"
BATCH = 100  # the activations of so many images fit a processor's cache better than those of 500


@dataclass(frozen=True)
class ShiftProbe:
    """Maps [2 * reach + 1, 2 * reach + 1]: offset (dy, dx) is at row dy + reach, column dx + reach.

    error    error rate, 0 to 1
    change   mean total-variation distance, sum |p - q| / 2, between the softmax at the offset and at (0, 0), 0 to 1
    """

    error: np.ndarray
    change: np.ndarray


@dataclass(frozen=True)
class ScaleProbe:
    """The same at each of `scales` [k]; `change` is from scale 1."""

    scales: np.ndarray
    error: np.ndarray
    change: np.ndarray


@dataclass(frozen=True)
class EquivarianceProbe:
    """What the representation does at each of `offsets` [k, 2], (dy, dx) = T.

    invariance   [k]: mean ||h(T x) - h(x)|| over images, as a share of the mean ||h(x) - h(x')|| over pairs of images;
                 0 is invariant, 1 as far as another image. h is the penultimate layer: a vector, which T cannot move,
                 so what is measured there is invariance. nan where h is the same for all images.
    maps         {activation: [k]}: ||f(T x) - T f(x)|| / ||f(T x)|| over all images, 0 is equivariant. f is a map
                 [channel, row, column] that T moves by offset / stride; only places that lie in both maps count.
                 nan where the offset is no multiple of the stride, where no place is left, or the map is 0.
    """

    offsets: np.ndarray
    invariance: np.ndarray
    maps: dict[str, np.ndarray]


def shift_probe(model: nn.Module, images: Images, labels: Labels, reach: int = 7) -> ShiftProbe:
    """Error and output change at every offset of up to `reach` pixels on each axis.

    Raises:
        InputError: a reach that leaves nothing of an image, or labels that do not fit.
    """
    if not 0 <= reach < SIDE:
        raise InputError(f"reach {reach}; it must be 0 to {SIDE - 1} pixels")
    every = range(-reach, reach + 1)
    versions = (moved(images, (dy, dx)) for dy in every for dx in every)
    error, change = _compared(model, images, labels, versions)
    return ShiftProbe(error.reshape(len(every), -1), change.reshape(len(every), -1))


def scale_probe(model: nn.Module, images: Images, labels: Labels, scales: Sequence[float]) -> ScaleProbe:
    """Error and output change at every scale: .5 is half the size, 1 as it is, 2 twice the size.

    Raises:
        InputError: a scale that is not above 0, or labels that do not fit.
    """
    error, change = _compared(model, images, labels, (scaled(images, scale) for scale in scales))
    return ScaleProbe(np.array(scales, float), error, change)


def equivariance_error(
    model: nn.Module, images: Images, offsets: Sequence[Offset], strides: Mapping[str, int] | None = None
) -> EquivarianceProbe:
    """Invariance of the penultimate layer, and equivariance of the maps.

    `strides` has the pixels between neighbouring places of each map that is looked at; None: `map_strides(model)`. The
    maps must come from layers without padding: then places in both maps saw the same pixels.

    Raises:
        InputError: fewer than two images.
    """
    if len(images) < 2:
        raise InputError(f"{len(images)} images; a representation needs at least 2 to be measured against another's")
    strides = map_strides(model) if strides is None else strides
    before = _activations(model, images, strides)
    apart = float(pdist(before[PENULTIMATE]).mean())
    invariance: list[float] = []
    maps: dict[str, list[float]] = {name: [] for name in strides}
    for dy, dx in offsets:
        wanted = {name: stride for name, stride in strides.items() if not (dy % stride or dx % stride)}
        after = _activations(model, moved(images, (dy, dx)), wanted)
        far = np.linalg.norm(after[PENULTIMATE] - before[PENULTIMATE], axis=1).mean()
        invariance.append(float(far) / apart if apart else np.nan)
        for name, stride in strides.items():
            step = dy // stride, dx // stride
            maps[name].append(_map_error(before[name], after[name], step) if name in wanted else np.nan)
    found = {name: np.array(errors, float) for name, errors in maps.items()}
    return EquivarianceProbe(np.array(offsets, int).reshape(-1, 2), np.array(invariance, float), found)


def moved(images: Images, offset: Offset) -> Images:
    """Every image moved down by dy and right by dx pixels."""
    dy, dx = offset
    return shifted(images, -dx, -dy)


def scaled(images: Images, scale: float) -> Images:
    """Every image at `scale` times its size about its centre, rounded to the nearest grey level."""
    if not scale > 0:
        raise InputError(f"scale {scale}; it must be above 0")
    factor, centre = 1.0 / scale, (SIDE - 1) / 2
    positions = factor * np.arange(SIDE) + centre * (1.0 - factor)  # rounded as in data.mnist_c, so equal to it
    return np.rint(bilinear(images / 255.0, positions) * 255.0).astype(np.uint8)


def map_strides(model: nn.Module) -> dict[str, int]:
    """{activation: pixels between neighbouring places}, first layer first; {} for a model that has no maps."""
    if not isinstance(model, CNN):
        return {}
    pools = [stage.pool for stage in model.stages if isinstance(stage, Stage)]
    return {f"stage{depth}": stride for depth, stride in enumerate(accumulate(pools, mul))}


def by_distance(values: Map) -> Float[np.ndarray, " distances"]:
    """Mean of a map of `ShiftProbe` over the offsets at each distance 0, 1, ..., reach: max(|dy|, |dx|) pixels."""
    distance = _distances(len(values))
    return np.bincount(distance.ravel(), weights=values.ravel()) / np.bincount(distance.ravel())


def within(values: Map, distance: int) -> float:
    """Mean of a map of `ShiftProbe` over the offsets of 1 to `distance` pixels, max(|dy|, |dx|); (0, 0) is not one.

    Raises:
        InputError: no such offset in the map.
    """
    distances = _distances(len(values))
    if not 1 <= distance <= distances.max():
        raise InputError(f"distance {distance}; it must be 1 to {distances.max()}, the reach of the map")
    return float(values[(distances >= 1) & (distances <= distance)].mean())


def _distances(side: int) -> np.ndarray:
    steps = np.abs(np.arange(side) - side // 2)
    return np.maximum(steps[:, None], steps[None, :])


def _compared(
    model: nn.Module, images: Images, labels: Labels, versions: Iterable[Images]
) -> tuple[np.ndarray, np.ndarray]:
    """Error, and total-variation distance from the answers on `images`, of each version of them."""
    before = softmax(_logits(model, images))
    error, change = [], []
    for version in versions:
        logits = _logits(model, version)
        error.append(1.0 - accuracy(logits, labels))
        change.append(float(np.abs(softmax(logits) - before).sum(1).mean() / 2))
    return np.array(error, float), np.array(change, float)


def _logits(model: nn.Module, images: Images) -> np.ndarray:
    return predict(model, _examples(images), batch=BATCH)[0]


def _activations(model: nn.Module, images: Images, names: Iterable[str]) -> dict[str, np.ndarray]:
    """{activation: [n, ...]} of the penultimate layer and `names`."""
    kept = (PENULTIMATE, *names)
    said = [part.hidden for _, part in outputs(model, _examples(images), torch.arange(len(images)), BATCH)]
    return {name: torch.cat([part[name] for part in said]).float().cpu().numpy() for name in kept}


def _examples(images: Images) -> Examples:
    rows = np.arange(len(images))
    return Examples(images, np.zeros(len(images), np.int64), rows, "a probe", "")


def _map_error(before: np.ndarray, after: np.ndarray, step: Offset) -> float:
    """`before` and `after` are [n, channel, row, column], `step` is T in places of the map."""
    for axis, places in zip((2, 3), step, strict=True):
        count = max(before.shape[axis] - abs(places), 0)
        before = before.take(np.arange(count) + max(-places, 0), axis)
        after = after.take(np.arange(count) + max(places, 0), axis)
    length = float(np.linalg.norm(after))
    return float(np.linalg.norm(after - before)) / length if length else np.nan
