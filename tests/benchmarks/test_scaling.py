"""Growth: its power from exact laws, the table's numbers, and that each axis measures what it says."""

import sys

import pytest
from benchmarks.scaling import AXES, Point, slope, table

from benchmarks import scaling


def test_a_power_is_found_again() -> None:
    values = (10, 100, 1_000, 10_000)
    for power in (0.5, 1.0, 2.0):
        assert slope(values, [3 * value**power for value in values]) == pytest.approx(power)
    late = [7.0, 7.0, 7.0, 70.0]  # what is constant at first does not hide the growth behind it
    assert slope(values, late) == pytest.approx(1.0)


def test_the_table_has_every_point_and_one_power_an_axis() -> None:
    points = {1: Point(1.0, 100), 2: Point(2.0, 100), 4: Point(4.0, 110)}
    *_, first, second, third = table({"trials": points})
    assert first == "| trials | 1 | 1.00 | 1 | 100 |  |" and second.endswith("|  |")
    assert third == "| trials | 4 | 4.00 | 1 | 110 | 1.00 |"


@pytest.mark.parametrize(("name", "value"), [("examples", 300), ("evaluated", 1_000), ("vocabulary", 50)])
def test_a_point_is_measured(name: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "STEPS", 4)
    seconds, megabytes = AXES[name].measure(value)
    assert seconds > 0 and megabytes > 50


def test_an_unknown_axis_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["scaling", "--axes", "trials,depth"])
    with pytest.raises(SystemExit):
        scaling.main()
    assert "axis 'depth'; it is one of trials, examples" in capsys.readouterr().err


def test_numbers_at_the_axes_are_short() -> None:
    assert [scaling.short(value) for value in (0.01, 1, 300, 64_000, 1_400_000)] == ["0.01", "1", "300", "64k", "1.4M"]
