"""Moved copies: the same digits, within reach, as many as asked."""

import numpy as np
import pytest

from distillbias.data import digits
from distillbias.data.images import Images
from distillbias.data.mnist_c import SEVERITIES, scale, shifted
from distillbias.data.moved import REACH, copies
from distillbias.errors import InputError
from distillbias.tasks.vision import Vision

TRAIN = digits.load()[0]
FEW = Images(TRAIN.pixels[:300], TRAIN.labels[:300], TRAIN.origin)


def test_a_dot_lands_in_every_place_within_reach_and_nowhere_else() -> None:
    pixels = np.zeros((6_000, 28, 28), np.uint8)
    pixels[:, 13:15, 13:15] = 255  # about the centre, where shrinking leaves it
    made = copies(Images(pixels, np.zeros(6_000, np.int64), "dots"), 1, seed=1)
    rows, columns = (np.flatnonzero(made.pixels.max(axis=(0, axis))) for axis in (2, 1))
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (13 - REACH, 14 + REACH)
    assert (made.pixels.reshape(6_000, -1).max(1) > 0).all()


def test_every_copy_is_the_image_at_a_size_of_the_corrupted_tests_and_within_reach() -> None:
    one = Images(FEW.pixels[:1].repeat(400, 0), FEW.labels[:1].repeat(400), "one digit")
    sized = [FEW.pixels[:1], *(scale(FEW.pixels[:1], severity) for severity in SEVERITIES)]
    steps = range(-REACH, REACH + 1)
    known = {shifted(each, dx, dy).tobytes(): size for size, each in enumerate(sized) for dx in steps for dy in steps}
    found = [known[image.tobytes()] for image in copies(one, 1, seed=4).pixels]
    assert set(found) == {0, *SEVERITIES}


def test_labels_go_with_their_images_and_copies_differ() -> None:
    made = copies(FEW, 3, seed=1)
    assert np.array_equal(made.labels, np.tile(FEW.labels, 3)) and len(made.pixels) == 900
    assert not np.array_equal(made.pixels[:300], made.pixels[300:600])
    assert np.array_equal(copies(FEW, 3, seed=1).pixels, made.pixels)
    assert not np.array_equal(copies(FEW, 3, seed=2).pixels, made.pixels)


def test_only_the_training_set_of_the_task_is_moved() -> None:
    usual, moved = Vision("digits").load(None), Vision("digits", moved=2).load(None)
    assert len(moved.train) == 2 * len(usual.train) and len(set(moved.train.ids)) == len(moved.train)
    assert {name: each.fingerprint for name, each in moved.tests.items()} == {
        name: each.fingerprint for name, each in usual.tests.items()
    }
    with pytest.raises(InputError, match="moved is -1"):
        Vision("digits", moved=-1)
