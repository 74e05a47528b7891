"""Each control keeps what it says and drops the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from distillbias.errors import InputError
from distillbias.training.controls import controlled, mean_entropy, prior, shuffled, smoothed, smoothed_entropy

LABELS = np.array([0, 2, 1, 1, 0, 2, 2, 1, 0, 0], np.int64)
LOGITS = np.random.default_rng(3).normal(size=(10, 3)).astype(np.float32) * 3


def test_shuffled_keeps_the_answers_of_each_class_and_moves_them() -> None:
    found = shuffled(LOGITS, LABELS, seed=1)
    for label in range(3):
        ours, theirs = (np.sort(part[LABELS == label], axis=0) for part in (found, LOGITS))
        assert np.array_equal(ours, theirs)
        rows = {tuple(row) for row in LOGITS[LABELS == label]}
        assert {tuple(row) for row in found[LABELS == label]} == rows  # whole answers, not numbers
    assert not np.array_equal(found, LOGITS)
    assert np.array_equal(found, shuffled(LOGITS, LABELS, seed=1))
    assert not np.array_equal(found, shuffled(LOGITS, LABELS, seed=2))


@given(st.integers(2, 12), st.floats(0.3, 30.0), st.floats(0.5, 8.0), st.integers(0, 99))
def test_smoothed_labels_have_the_teachers_mean_entropy(
    classes: int, sharpness: float, temperature: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    logits = sharpness * random.normal(size=(40, classes))
    labels = random.integers(classes, size=40)
    found = smoothed(logits, labels, temperature)
    assert mean_entropy(found / temperature) == pytest.approx(mean_entropy(logits / temperature), abs=1e-9)
    heard = softmax(found / temperature, axis=1)
    off = heard[np.arange(classes)[None, :] != labels[:, None]]
    assert np.ptp(off) < 1e-12  # the same for every example and every wrong class
    assert np.ptp(heard[np.arange(40), labels]) < 1e-12
    assert (heard[np.arange(40), labels] >= off.max() - 1e-12).all()


def test_the_entropy_of_smoothed_labels_by_hand() -> None:
    assert smoothed_entropy(0.0, 10) == 0.0
    assert smoothed_entropy(1.0, 10) == pytest.approx(np.log(10))
    # eps .2 of two classes: .9 and .1
    assert smoothed_entropy(0.2, 2) == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1))


def test_a_sure_teacher_gives_labels_and_a_blank_one_the_uniform_answer() -> None:
    sure = 1000.0 * np.eye(3)[LABELS]
    assert softmax(smoothed(sure, LABELS, 1.0), axis=1)[np.arange(10), LABELS].min() == pytest.approx(1.0, abs=1e-9)
    assert softmax(smoothed(np.zeros((10, 3)), LABELS, 2.0) / 2.0, axis=1) == pytest.approx(np.full((10, 3), 1 / 3))


def test_the_prior_is_the_share_of_each_class_for_every_example() -> None:
    heard = softmax(prior(LABELS, 4, 5.0) / 5.0, axis=1)
    assert heard == pytest.approx(np.tile([0.4, 0.3, 0.3, 0.0], (10, 1)), abs=1e-6)


def test_an_untrained_teacher_is_heard_as_it_is() -> None:
    assert controlled("untrained", LOGITS, LABELS, 5.0, seed=1) is LOGITS


def test_entropy_is_that_of_scipy() -> None:
    logs = log_softmax(LOGITS.astype(np.float64), axis=1)
    assert mean_entropy(LOGITS) == pytest.approx(float(-(np.exp(logs) * logs).sum(1).mean()))


def test_an_unknown_control_is_one_line_with_the_choices() -> None:
    with pytest.raises(InputError, match="unknown control 'louder'; it is one of shuffled, smoothed, untrained, prior"):
        from distillbias.training.controls import check_control

        check_control("louder")
