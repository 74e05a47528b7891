"""A tiny stand-in for MNIST, so that everything but its content is tested without it and without a network."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distillbias.data import catalogue, digits, mnist


@pytest.fixture(scope="session")
def digit_pixels() -> np.ndarray:
    """Real handwriting on the canvas: uint8 [500, 28, 28]."""
    return digits.load()[1].pixels


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch, digit_pixels: np.ndarray) -> dict[str, bytes]:
    """The idx files of a small "MNIST" (30 training, 10,000 test labels as MNIST-C needs), catalogued as genuine."""
    labels = np.random.default_rng(0).integers(0, 10, 10_000).astype(np.uint8)
    arrays = [digit_pixels[:30], labels[:30], np.resize(digit_pixels, (10_000, 28, 28)), labels]
    names = [file.name for file in catalogue.MNIST.files]
    made = {name: mnist.write_idx(array) for name, array in zip(names, arrays, strict=True)}
    listed = tuple(
        catalogue.File(name, len(data), hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest())
        for name, data in made.items()
    )
    monkeypatch.setitem(catalogue.DATA_SETS, "mnist", replace(catalogue.MNIST, files=listed))
    return made


@pytest.fixture
def source(contents: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder with the four plain idx files."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder
