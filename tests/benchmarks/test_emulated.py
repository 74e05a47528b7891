"""That a row is of two precisions, and leaves the loop as it was."""

import pytest
import torch
from tests import tiny

from benchmarks import emulated, recorded
from distillbias.models.mlp import Layer
from distillbias.training import loop, precision


def test_a_row_is_measured_in_both_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the processor would emulate one of them."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    seen, usual = set(), (loop.recorder, loop.precision_on)

    def forward(layer: Layer, x: torch.Tensor) -> torch.Tensor:
        seen.add(layer[0](x).dtype)
        return torch.nn.Sequential.forward(layer, x)

    monkeypatch.setattr(Layer, "forward", forward)
    monkeypatch.setattr("distillbias.models.compiled.layers", lambda *given: None)
    exact, rough = emulated.measure((tiny.MLP, recorded.IMAGES, "bfloat16", 16, 0))
    assert exact > 0 and rough > 0 and seen == {torch.float32, torch.bfloat16}
    assert (loop.recorder, loop.precision_on) == usual
