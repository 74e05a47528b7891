import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from distillbias.errors import InputError
from distillbias.evaluation import metrics


def drawn(n=200, classes=7, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(scale=3, size=(n, classes)), random.integers(classes, size=n)


def test_scores_by_hand():  # right, right, wrong; class 0 is right 1 of 2 times, class 1 once of once
    logits, labels = np.log([[0.5, 0.5], [0.2, 0.8], [0.4, 0.6]]), np.array([0, 1, 0])
    assert metrics.predicted(logits).tolist() == [0, 1, 1]  # a tie goes to the lowest class
    assert metrics.accuracy(logits, labels) == pytest.approx(2 / 3)
    assert metrics.balanced_accuracy(logits, labels) == pytest.approx((1 / 2 + 1) / 2)
    expected = -(np.log(0.5) + np.log(0.8) + np.log(0.4)) / 3
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_match_scipy_and_sklearn(dtype):
    logits, labels = drawn()
    logits = logits.astype(dtype)
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_allclose(metrics.softmax(logits), probabilities, rtol=1e-13)
    loss = sklearn.metrics.log_loss(labels, probabilities, labels=range(7))
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(loss, rel=1e-12)
    guess = probabilities.argmax(1)
    assert metrics.accuracy(logits, labels) == pytest.approx(sklearn.metrics.accuracy_score(labels, guess))
    balanced = sklearn.metrics.balanced_accuracy_score(labels, guess)
    assert metrics.balanced_accuracy(logits, labels) == pytest.approx(balanced)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(shift=st.floats(-1e6, 1e6), seed=st.integers(0, 99))
def test_a_shift_of_a_row_changes_nothing(shift, seed):
    logits, labels = drawn(n=20, seed=seed)
    plain, shifted = metrics.log_softmax(logits), metrics.log_softmax(logits + shift)
    np.testing.assert_allclose(shifted, plain, atol=1e-9)


def test_extreme_logits_stay_finite_and_exact():
    logits, labels = np.array([[1000.0, 0.0], [0.0, 1000.0]], np.float32), np.array([1, 1])
    assert metrics.negative_log_likelihood(logits, labels) == 500.0
    ruled_out = np.array([[0.0, -np.inf]])
    assert metrics.softmax(ruled_out).tolist() == [[1.0, 0.0]]
    assert metrics.negative_log_likelihood(ruled_out, np.array([1])) == np.inf
    assert str(metrics.negative_log_likelihood(ruled_out, np.array([0]))) == "0.0"


def test_balanced_accuracy_leaves_out_absent_classes():
    assert metrics.balanced_accuracy(np.eye(5)[[2, 4]], np.array([2, 4])) == 1.0


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), r"labels must lie in 0..2, label 1 is 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), r"label 0 is -1"),
        (np.zeros((2, 3)), np.array([0]), r"got 1 labels for 2 rows"),
        (np.zeros((0, 3)), np.zeros(0, int), r"at least one row"),
        (np.array([[0.0, np.nan]]), np.array([0]), r"row 0 has nan"),
        (np.array([[0.0], [np.inf]]), np.array([0, 0]), r"row 1 has inf"),
    ],
)
@pytest.mark.parametrize("score", [metrics.negative_log_likelihood, metrics.accuracy, metrics.balanced_accuracy])
def test_wrong_input_is_refused(score, logits, labels, message):
    with pytest.raises(InputError, match=message):
        score(logits, labels)
