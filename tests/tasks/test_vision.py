"""The digits task: which examples, under which names, and that corruption touches pixels only."""

from dataclasses import replace

import numpy as np
import pytest

from distillbias.tasks.task import Task
from distillbias.tasks.vision import Vision

TASK = Vision("digits")
NAMES = ["clean", *(f"{kind}-{severity}" for kind in ("scale", "translate") for severity in (1, 2, 3, 4, 5))]


@pytest.fixture(scope="module")
def splits():
    return TASK.load(None)


def test_sizes_and_names(splits) -> None:
    assert (len(splits.train), len(splits.validation)) == (1297, 0)
    assert list(splits.tests) == NAMES and len(NAMES) == 11
    assert {len(test) for test in splits.tests.values()} == {500}
    assert isinstance(TASK, Task) and TASK.spec.shape == splits.train.inputs.shape[1:] == (28, 28)
    assert set(splits.train.labels) == set(range(TASK.spec.classes))


def test_tags_say_what_names_say(splits) -> None:
    for name, test in splits.tests.items():
        corruption, _, severity = name.partition("-")
        assert test.tags == {"corruption": corruption, "severity": int(severity or 0)}


def test_the_headline_is_the_papers_three_sets(splits) -> None:
    assert TASK.headline == {"mnist": "clean", "scaled": "scale-3", "translated": "translate-3"}
    assert set(TASK.headline.values()) <= set(splits.tests)


def test_corruption_changes_pixels_and_nothing_else(splits) -> None:
    clean = splits.tests["clean"]
    for name, test in splits.tests.items():
        np.testing.assert_array_equal(test.labels, clean.labels)
        np.testing.assert_array_equal(test.ids, clean.ids)
        changed = (test.inputs != clean.inputs).any(axis=(1, 2))
        assert changed.all() if name != "clean" else not changed.any()


def test_severities_shrink_and_move_more_and_more(splits) -> None:
    ink = [splits.tests[f"scale-{severity}"].inputs.astype(float).sum() for severity in (1, 2, 3, 4, 5)]
    assert ink == sorted(ink, reverse=True)
    clean = splits.tests["clean"].inputs[0]
    for severity in (1, 2, 3, 4):  # the digit has a margin of 4: so far nothing is lost, and it can be moved back
        moved = splits.tests[f"translate-{severity}"].inputs[0]
        places = [(dx, dy) for dx in (-severity, severity) for dy in (-severity, severity)]
        assert sum(np.array_equal(np.roll(moved, place, (0, 1)), clean) for place in places) == 1


def test_training_and_test_images_are_not_the_same(splits) -> None:
    train = {image.tobytes() for image in splits.train.inputs}
    assert not any(image.tobytes() in train for image in splits.tests["clean"].inputs)


def test_holdout_is_cut_from_training_alone(splits) -> None:
    held = replace(TASK, holdout=200).load(None)
    assert (len(held.train), len(held.validation)) == (1097, 200)
    assert set(held.train.ids) | set(held.validation.ids) == set(splits.train.ids)
    assert not set(held.train.ids) & set(held.validation.ids)
    for part in (held.train, held.validation):
        np.testing.assert_array_equal(part.inputs, splits.train.inputs[part.ids])
        np.testing.assert_array_equal(part.labels, splits.train.labels[part.ids])
    assert {test.fingerprint for test in held.tests.values()} == {test.fingerprint for test in splits.tests.values()}
    more = replace(TASK, holdout=300).load(None)
    assert set(held.validation.ids) < set(more.validation.ids)


def test_fingerprints_are_stable_and_tell_sets_apart(splits) -> None:
    again = TASK.load(None)
    assert again.train.fingerprint == splits.train.fingerprint
    found = [test.fingerprint for test in splits.tests.values()]
    assert [test.fingerprint for test in again.tests.values()] == found
    assert len({*found, splits.train.fingerprint}) == 12


def test_the_seed_decides_directions_and_nothing_else(splits) -> None:
    other = replace(TASK, corruption_seed="another").load(None)
    same = {name for name in NAMES if other.tests[name].fingerprint == splits.tests[name].fingerprint}
    assert same == {name for name in NAMES if not name.startswith("translate")}
    assert other.train.fingerprint == splits.train.fingerprint
