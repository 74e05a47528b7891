"""The paper's numbers on agreement, checked against its tables by hand."""

import pytest

from distillbias.report.published_agreement import CLASSIFICATION, LANGUAGE_MODEL


@pytest.mark.parametrize(
    ("numbers", "arm", "metric", "printed", "source"),
    [
        (CLASSIFICATION, "LSTM", "A", "0.928 ± 0.0007", "Table 2"),
        (CLASSIFICATION, "Transformer-seq", "D", "0.909 ± 0.0037", "Table 2"),
        (CLASSIFICATION, "LSTM → Transformer", "micro", "0.9596 ± 0.0008", "Table 4"),  # row student, column teacher
        (CLASSIFICATION, "Transformer → LSTM", "micro", "0.9682 ± 0.0002", "Table 4"),
        (CLASSIFICATION, "UniversalTransformer-seq → LSTM", "A", "0.8447 ± 0.0180", "logs"),
        (CLASSIFICATION, "Transformer", "ece20", "0.0165 ± 0.0022", "logs"),
        (CLASSIFICATION, "LSTM", "train micro", "0.9862", "Table 8"),
        (LANGUAGE_MODEL, "Small Transformer", "perplexity", "55.31 ± 0.0847", "Table 1"),
        (LANGUAGE_MODEL, "Small LSTM → Transformer", "A", "0.9316 ± 0.0012", "Table 3"),
        (LANGUAGE_MODEL, "Transformer → Small LSTM", "perplexity", "63.45 ± 0.0644", "Table 3"),
        (LANGUAGE_MODEL, "LSTM", "train A", "0.955 ± 0.0030", "Table 7"),
    ],
)
def test_spot_values(numbers, arm, metric, printed, source):
    assert (str(numbers[arm, metric]), numbers[arm, metric].source) == (printed, source)


def test_how_many_cells():
    by_source = {
        source: sum(
            number.source == source for numbers in (CLASSIFICATION, LANGUAGE_MODEL) for number in numbers.values()
        )
        for source in ("Table 1", "Table 2", "Table 3", "Table 4", "Table 7", "Table 8", "logs")
    }
    assert by_source == {
        "Table 1": 12,
        "Table 2": 12,
        "Table 3": 32,
        "Table 4": 16,
        "Table 7": 12,
        "Table 8": 4,
        "logs": 2 * 2 + 8 * 4,
    }
