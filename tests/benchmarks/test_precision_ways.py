"""Ways to train are compared pair by pair."""

import sys

import pytest
from benchmarks.precision import lines, main


def test_differences_are_between_pairs() -> None:
    first, second, apart = lines({"one": [0.90, 0.94], "other": [0.91, 0.95]})
    assert first == "one: 92.00%, trials 2.83% apart: 90.00% 94.00%"  # by hand: .04 / sqrt 2
    assert second == "other: 93.00%, trials 2.83% apart: 91.00% 95.00%"
    assert apart == "other - one: +1.00%, standard error 0.00%"  # trials differ by more, their pairs by nothing
    *_, apart = lines({"one": [0.90, 0.94], "other": [0.92, 0.94]})
    assert apart == "other - one: +1.00%, standard error 1.00%"


@pytest.mark.parametrize(
    ("option", "why"), [("--trials", "1 trials; a deviation"), ("--epochs", "0 epochs; a training")]
)
def test_what_cannot_be_compared_is_one_line(
    option: str, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["precision", "--data", "nowhere", option, why[0]])
    with pytest.raises(SystemExit):
        main()
    assert why in capsys.readouterr().err
