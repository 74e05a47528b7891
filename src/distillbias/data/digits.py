"""The embedded data: 1,797 real handwritten digits that come with scikit-learn, on a canvas like MNIST's.

Source: test part of the UCI "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998, CC BY 4.0), 13
writers. Each value, 0..16, counts the ink in a 4 x 4 block of a 32 x 32 bitmap. Writers are not named, so the same
hand is in training and test: an easy test, meant for demonstrations and not for claims.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from distillbias.data.images import SIDE, Images, checked
from distillbias.data.warp import bilinear

TEST_SIZE = 500
BOX = 20  # MNIST's digits were fitted into 20 x 20 before they were put on the canvas
FULL = 16  # the value of a block that is all ink


def load() -> tuple[Images, Images]:
    """Training (1,297) and test (500) images; every class has the same share in both, up to one image."""
    small, labels = read()
    pixels = on_canvas(small)
    test = split(labels)
    train_images = checked(pixels[~test], labels[~test], "scikit-learn digits on a 28 x 28 canvas, training part")
    return train_images, checked(pixels[test], labels[test], "scikit-learn digits on a 28 x 28 canvas, test part")


def read() -> tuple[np.ndarray, np.ndarray]:
    """Images [1797, 8, 8] of 0..16 and labels as `sklearn.datasets.load_digits` has them, out of the file that it
    reads: to import scikit-learn takes two seconds, of every process that trains."""
    found = find_spec("sklearn")
    file = Path(found.origin or "").parent / "datasets/data/digits.csv.gz" if found else Path()
    if not file.is_file():  # a release that keeps it elsewhere
        from sklearn.datasets import load_digits

        return load_digits().images, load_digits().target
    table = np.loadtxt(file, delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def on_canvas(small: np.ndarray) -> np.ndarray:
    """Enlarge digits [n, 8, 8] of 0..16 to 20 x 20 bilinearly, in the middle of uint8 [n, 28, 28]."""
    side = small.shape[-1]
    positions = (np.arange(BOX) + 0.5) * side / BOX - 0.5  # blocks are areas: centres, not corners, are aligned
    grey = np.rint(bilinear(small / FULL, positions) * 255.0).astype(np.uint8)
    margin = (SIDE - BOX) // 2
    return np.pad(grey, ((0, 0), (margin, margin), (margin, margin)))


def split(labels: np.ndarray) -> np.ndarray:
    """Which examples are for testing: bool [n], TEST_SIZE of them, the same on every machine, stratified by class."""
    shuffled = np.argsort(np.random.PCG64(0).random_raw(len(labels)), kind="stable")
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    quota = np.arange(len(labels) + 1) * TEST_SIZE // len(labels)
    test = np.zeros(len(labels), bool)
    test[by_class[np.diff(quota) == 1]] = True  # evenly spread over the classes laid end to end
    return test
