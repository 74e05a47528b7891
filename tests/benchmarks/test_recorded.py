"""That both ways are measured, and the recorded one is recorded."""

import pytest
from tests import tiny

from benchmarks import recorded
from distillbias.training import loop, replays, tapes


def test_a_row_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("WARMUP", 6), ("TURNS", 2), ("TOGETHER", 3)):
        monkeypatch.setattr(recorded, name, count)
    monkeypatch.setattr(replays, "WORTH", 0)  # steps are few here
    kind, recorder = tapes.Tape, loop.recorder
    plain, replayed, held = recorded.measure((tiny.MLP, recorded.IMAGES, "float32", 16, 0))
    assert plain > 0 and replayed > 0 and 0 < held < 2**24
    assert tapes.Tape is kind and loop.recorder is recorder  # as they were


def test_every_case_can_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    for config, spec, precision, batch, words in recorded.CASES.values():
        step = next(recorded.training(config, spec, precision, min(batch, 4), words))
        assert step.loss.isfinite()
