"""What the command says of memory is what a process grew by, and one line says where that cannot be known."""

import sys
from pathlib import Path

import pytest
import torch

from benchmarks import next_word

pytestmark = pytest.mark.skipif(not next_word.STATUS.exists(), reason="memory is told by Linux alone")


def test_growth_is_the_most_that_was_held_at_once() -> None:
    def work() -> None:
        for _ in range(3):  # freed in between
            torch.ones(2**24)  # 64 MiB

    # the kernel counts pages by the dozen (proc(5): "inaccurate"); held all three it would be 192
    assert abs(next_word.growth(work) / next_word.MEGABYTE - 64) < 16


@pytest.mark.parametrize("name", next_word.MODELS)
def test_each_model_takes_its_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_word, "SENTENCES", 4)
    monkeypatch.setattr(next_word, "growth", lambda work: work() and 7 * next_word.MEGABYTE)
    own = 4 * 4 * next_word.TIME * next_word.WORDS / next_word.MEGABYTE
    assert f"7 MiB, {7 / own:5.2f} times its own logits" in next_word.step_memory(name, "in chunks", "float32")


def test_where_memory_is_not_told_a_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr(next_word, "STATUS", tmp_path / "status")
    monkeypatch.setattr(sys, "argv", ["next_word", "--memory"])
    assert next_word.main() == 2
    assert capsys.readouterr().out.count("\n") == 1
