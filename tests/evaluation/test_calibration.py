import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import calibration as literal
from torchmetrics.functional.classification import multiclass_calibration_error

from distillbias.errors import InputError
from distillbias.evaluation.calibration import (
    bin_of,
    expected_calibration_error,
    paper_calibration_error,
    reliability_curve,
)
from distillbias.evaluation.metrics import softmax


def drawn(n, classes, seed=0):
    random = np.random.default_rng(seed)
    return softmax(random.normal(scale=2, size=(n, classes))), random.integers(classes, size=n)


def binary(confidences):
    """Rows whose guess is class 0, for confidences of at least one half."""
    return np.stack([confidences, 1.0 - np.asarray(confidences)], axis=1)


def test_by_hand():  # confidences 0.8, 0.8 (one right): |0.5 - 0.8|; 1.0 (right): 0
    probabilities = np.array([[0.8, 0.2], [0.2, 0.8], [1.0, 0.0]])
    assert expected_calibration_error(probabilities, np.array([0, 0, 0]), bins=10) == pytest.approx(2 / 3 * 0.3)


def test_with_one_bin_it_is_accuracy_against_mean_confidence():  # |2/4 - 0.75|
    probabilities = binary([0.6, 0.7, 0.8, 0.9])
    assert expected_calibration_error(probabilities, np.array([0, 1, 0, 1]), bins=1) == pytest.approx(0.25)


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("bins", [1, 7, 15, 20])
def test_matches_the_literal_twin_and_torchmetrics(classes, bins):
    probabilities, labels = drawn(300, classes)  # no confidence on an edge, where torchmetrics differs
    found = expected_calibration_error(probabilities, labels, bins)
    assert found == pytest.approx(literal.expected_calibration_error(probabilities, labels, bins), abs=1e-13)
    theirs = multiclass_calibration_error(
        torch.as_tensor(probabilities), torch.as_tensor(labels), num_classes=classes, n_bins=bins, norm="l1"
    )
    assert found == pytest.approx(theirs.item(), abs=1e-6)  # their bin edges and sums are float32


@pytest.mark.parametrize("bins", [3, 10, 15, 20, 100, 1000])
def test_every_edge_belongs_to_the_bin_below_it(bins):
    edges = np.arange(1, bins + 1) / bins
    assert bin_of(edges, bins).tolist() == list(range(1, bins + 1))
    assert bin_of(np.nextafter(edges[:-1], 1), bins).tolist() == list(range(2, bins + 1))
    assert bin_of(np.array([0.0, 5e-324]), bins).tolist() == [1, 1]


def test_edges_are_exact_for_a_million_bins():
    which = np.random.default_rng(0).integers(1, 1_000_000, size=20_000)
    edges = which / 1_000_000
    assert (bin_of(edges, 1_000_000) == which).all()
    assert (bin_of(np.nextafter(edges, 1), 1_000_000) == which + 1).all()


def test_a_confidence_on_an_edge_is_grouped_with_those_below():
    # 0.75 shares (0.5, 0.75] with 0.6: |1/2 - 0.675|; closed on the left it would be 0.6 and 0.25 apart: 0.425
    assert expected_calibration_error(binary([0.75, 0.6]), np.array([0, 1]), bins=4) == pytest.approx(0.175)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(which=st.lists(st.integers(500_001, 1_000_000), min_size=1, max_size=50, unique=True), seed=st.integers(0, 9))
def test_paper_error_is_mean_absolute_error_when_no_two_rows_share_a_bin(which, seed):
    confidences = (np.array(which) - 0.5) / 1_000_000
    labels = np.random.default_rng(seed).integers(2, size=len(which))
    expected = np.abs((labels == 0) - confidences).mean()
    assert paper_calibration_error(binary(confidences), labels) == pytest.approx(expected, abs=1e-12)


def test_paper_error_is_less_where_rows_share_the_last_bin():
    # sure 1 (right) and 1 - 1e-7 (wrong) share the bin: |1/2 - (1 - 5e-8)|; apart, the mean would be 0.5 - 5e-8
    probabilities = binary([1.0, 1.0 - 1e-7, 0.7, 0.7])  # 0.7 twice, once right: |1/2 - 0.7|; apart, (0.3 + 0.7) / 2
    found = paper_calibration_error(probabilities, np.array([0, 1, 0, 1]))
    assert found == pytest.approx((0.5 - 5e-8 + 0.2) / 2, abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(bins=st.integers(1, 60), seed=st.integers(0, 99))
def test_the_error_lies_between_its_extremes_and_ignores_order(bins, seed):
    probabilities, labels = drawn(40, 3, seed)
    found = expected_calibration_error(probabilities, labels, bins)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    assert abs(right.mean() - confidence.mean()) - 1e-12 <= found <= np.abs(right - confidence).mean() + 1e-12
    order = np.random.default_rng(seed).permutation(40)
    assert expected_calibration_error(probabilities[order], labels[order], bins) == pytest.approx(found, abs=1e-13)


def test_reliability_curve_by_hand():
    curve = reliability_curve(binary([0.5, 0.7, 0.9, 1.0]), np.array([0, 1, 0, 0]), bins=4)
    assert curve.lower.tolist() == [0, 0.25, 0.5, 0.75] and curve.upper.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.count.tolist() == [0, 1, 1, 2]
    np.testing.assert_array_equal(curve.accuracy, [np.nan, 1, 0, 1])
    np.testing.assert_allclose(curve.confidence, [np.nan, 0.5, 0.7, 0.95])


def test_reliability_gaps_add_up_to_the_error():
    probabilities, labels = drawn(500, 4)
    curve = reliability_curve(probabilities, labels, bins=20)
    total = np.nansum(curve.count * np.abs(curve.accuracy - curve.confidence)) / 500
    assert total == pytest.approx(expected_calibration_error(probabilities, labels, bins=20), abs=1e-14)
    assert curve.count.sum() == 500


@pytest.mark.parametrize(
    ("rows", "bins", "message"),
    [
        ([[0.5, 0.5], [3.0, 4.2]], 15, "rows of probabilities must sum to 1, row 1 sums to 7.2"),
        ([[0.5, 0.5], [1.5, -0.5]], 15, r"must lie in \[0, 1\], row 1 holds -0.5"),
        ([[0.5, 0.5], [np.nan, 0.5]], 15, "row 1 sums to nan"),
        ([[0.5, 0.5], [0.5, 0.5]], 0, "bins must be at least 1, got 0"),
    ],
)
def test_wrong_input_is_refused(rows, bins, message):
    with pytest.raises(InputError, match=message):
        expected_calibration_error(np.array(rows), np.array([0, 1]), bins)
