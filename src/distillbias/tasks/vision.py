"""Digits: an image of 28 x 28 grey values -> its digit. Tested as it is, shrunk, and moved (MNIST-C).

    a "7" in the middle of the canvas    -> 7    "mnist"
    the same, at 70 % of its size        -> 7    "scale-3"       (an MLP has never seen strokes there)
    the same, 3 pixels up and left       -> 7    "translate-3"

The right bias is that moving or shrinking a digit does not change it: a CNN has it built in.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from distillbias.data import cache, digits, mnist
from distillbias.data.images import Images, fingerprint
from distillbias.data.mnist_c import CORRUPTIONS, PUBLISHED_SEVERITY, SEVERITIES, corrupted
from distillbias.data.moved import copies
from distillbias.data.outside import read_slices
from distillbias.errors import InputError
from distillbias.tasks.task import ADDED, Examples, Outside, Spec, Splits, check_share

CLEAN = "clean"


def test_name(corruption: str, severity: int) -> str:
    return CLEAN if corruption == CLEAN else f"{corruption}-{severity}"


@dataclass(frozen=True)
class Vision:
    """`source` is the real MNIST, or scikit-learn's real digits, which need no download.

    `holdout` training examples are kept back for validation: 0 for a final study, some for tuning,
    which must never look at a test set (paper-facts T11). With `moved` the training images are that many copies of
    each, every one moved and shrunk at random (`data.moved`): the invariance itself, taught directly. `share` of the
    training images are used, the same ones for all trials.
    """

    source: Literal["mnist", "digits"] = "mnist"
    holdout: int = 0
    corruption_seed: str = "mnist-c"
    moved: int = field(default=0, metadata=ADDED)
    share: float = field(default=1.0, metadata=ADDED)

    def __post_init__(self) -> None:
        if self.moved < 0:
            raise InputError(f"moved is {self.moved}; it must be 0 or the number of copies of each training image")
        check_share(self.share)

    @property
    def name(self) -> str:
        return self.source

    @property
    def spec(self) -> Spec:
        return Spec(shape=(28, 28), classes=10)

    @property
    def headline(self) -> dict[str, str]:
        return {
            "mnist": CLEAN,
            "scaled": test_name("scale", PUBLISHED_SEVERITY),
            "translated": test_name("translate", PUBLISHED_SEVERITY),
        }

    @property
    def path(self) -> str:
        """Translated, as Figure 1."""
        return self.headline["translated"]

    def load(self, data: Path | None) -> Splits:
        home = cache.home(data)
        train, test = mnist.load(home) if self.source == "mnist" else digits.load()
        kept, held = self._holdout(len(train.labels))
        return Splits(
            train=self._training(train, kept),
            validation=_examples(train, held),
            tests=self.corruptions(test, home if self.source == "mnist" else None),
        )

    def read(self, path: Path, vocabulary: tuple[str, ...] = (), skip_bad: bool = False) -> Outside:
        """The slices of `data.outside.read_slices`; a bad image makes the whole array bad."""
        return Outside({title: _examples(images) for title, images in read_slices(path).items()})

    def corruptions(self, test: Images, home: Path | None) -> dict[str, Examples]:
        """The test set as it is and under every corruption and severity; tags name both."""
        sets = {CLEAN: _examples(test, corruption=CLEAN, severity=0)}
        for corruption in CORRUPTIONS:
            for severity in SEVERITIES:
                seed = f"{self.corruption_seed}/{corruption}/{severity}"
                images = corrupted(test, corruption, severity, home, seed)
                sets[test_name(corruption, severity)] = _examples(images, corruption=corruption, severity=severity)
        return sets

    def _training(self, images: Images, kept: np.ndarray) -> Examples:
        if self.moved == 0:
            return _examples(images, kept)
        part = images._replace(pixels=images.pixels[kept], labels=images.labels[kept])
        return _examples(copies(part, self.moved, seed=0))

    def _holdout(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and rows held out, each in file order; which rows is fixed, whatever the trial."""
        order = np.random.default_rng(0).permutation(count)
        last = self.holdout + round(self.share * (count - self.holdout))
        return np.sort(order[self.holdout : last]), np.sort(order[: self.holdout])


def _examples(images: Images, rows: np.ndarray | None = None, **tags: str | int) -> Examples:
    ids = np.arange(len(images.labels)) if rows is None else rows
    part = images._replace(pixels=images.pixels[ids], labels=images.labels[ids])
    return Examples(part.pixels, part.labels, ids, images.origin, fingerprint(part), tags)
