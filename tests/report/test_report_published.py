"""The paper's numbers, checked against its tables by hand."""

import pytest

from distillbias.report.published import ARMS, PUBLISHED, TEST_SETS, Published, published


@pytest.mark.parametrize(
    ("arm", "test_set", "metric", "mean", "sd"),
    [
        ("CNN", "translated", "accuracy", 0.981, 0.0003),
        ("MLP", "translated", "accuracy", 0.373, 0.0151),
        ("CNN → MLP", "scaled", "accuracy", 0.904, 0.0073),  # row MLP, column ←CNN
        ("MLP → CNN", "scaled", "accuracy", 0.955, 0.0065),  # row CNN, column ←MLP
        ("MLP → MLP", "translated", "accuracy", 0.395, 0.0069),
        ("MLP", "translated", "paper_ece", 0.564, 0.0091),
        ("CNN → MLP", "mnist", "paper_ece", 0.013, 0.0004),
    ],
)
def test_spot_values(arm, test_set, metric, mean, sd):
    assert (PUBLISHED[arm, test_set, metric].mean, PUBLISHED[arm, test_set, metric].sd) == (mean, sd)


def test_how_many_cells():
    by_metric = {metric: [key for key in PUBLISHED if key[2] == metric] for metric in ("accuracy", "paper_ece")}
    assert len(by_metric["accuracy"]) == 18  # 2 models x 3 test sets, and 4 pairs x 3
    assert len(by_metric["paper_ece"]) == 6 + 3 + 4  # Table 5b, what survived of 6b, scaled from the logs
    assert {key[0] for key in PUBLISHED} == set(ARMS) and {key[1] for key in PUBLISHED} == set(TEST_SETS)


def test_lost_cells_are_absent_and_recovered_ones_say_so():
    assert published("MLP → MLP", "mnist", "paper_ece") is None
    assert all(published(arm, "translated", "paper_ece") is None for arm in ARMS[2:])
    logs = [key for key, number in PUBLISHED.items() if number.source == "logs"]
    assert sorted(logs) == sorted((arm, "scaled", "paper_ece") for arm in ARMS[2:])


def test_printed_as_in_the_paper():
    assert str(PUBLISHED["MLP → CNN", "mnist", "accuracy"]) == "0.990 ± 0.0007"
    assert str(Published(0.1090, 0.0053, "logs", 4)) == "0.1090 ± 0.0053"
