"""Operations are counted as worked out by hand, and a share is of the right limit."""

from pathlib import Path

import pytest
import torch
from benchmarks.peers.export import export
from benchmarks.utilisation import LAYERS, counted, main, table
from torch.utils.flop_counter import FlopCounterMode

from distillbias.models.lstm import LSTMLayer
from distillbias.training.precision import has_bfloat16


def test_the_operations_of_an_mlp_are_those_of_its_products(tmp_path: Path) -> None:
    export("V", tmp_path / "no data here", tmp_path, steps=3)
    sizes = (784, 512, 128, 32, 10)
    forward = 2 * 128 * sum(before * after for before, after in zip(sizes, sizes[1:], strict=False))
    first = 2 * 128 * sizes[0] * sizes[1]
    assert counted(tmp_path, 3) == 3 * forward - first, "forward, twice that backward, no gradient for the images"


HALF = pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="torch has no LSTM in bf16 for this processor")


@pytest.mark.parametrize("autocast", [False, pytest.param(True, marks=HALF)])
def test_the_operations_of_an_lstm_are_its_two_products(autocast: bool) -> None:
    batch, time, width, hidden = 5, 7, 8, 4
    layer, words = LSTMLayer(width, hidden, 0.0), torch.randn(batch, time, width, requires_grad=True)
    for parameter in layer.parameters():
        torch.nn.init.ones_(parameter)
    with FlopCounterMode(display=False, custom_mapping=LAYERS) as counter:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            said = layer(words)
        said.float().sum().backward()
    forward = batch * time * 2 * (4 * hidden * width + 4 * hidden * hidden)
    assert counter.get_total_flops() == 3 * forward


def test_a_share_is_what_a_step_does_of_what_the_machine_can_do() -> None:
    machine = {"device": "P", "cores": 2, "load_before": 0.0, "date": "2020-01-01", "commit": "c", "torch": "t"}
    machine |= {"precision": "bfloat16"}
    found = {
        "operations": {"V": 3e9, "C": 3e9},
        "seconds": {"V": [0.01, 0.02, 0.03], "C": [0.02]},
        "limits": {"product": [3e11, 2e11, 9e11], "convolution": [2e11]},
        "machine": machine,
    }
    digits, convolved = table(found).splitlines()[-2:]
    assert digits.endswith("| 3.00 | 20.00 | 150 | 50% | – |")  # 3 GFLOP in 0.02 s, of 300 GFLOP/s
    assert convolved.endswith("| 3.00 | 20.00 | 150 | 50% | 75% |")


def test_what_cannot_be_measured_is_one_line(capsys: pytest.CaptureFixture) -> None:
    assert main(["--workloads", "X"]) == 2
    assert "unknown workload 'X'; it is one of V,C,L" in capsys.readouterr().out.replace(", ", ",")
    assert main(["--repeats", "0"]) == 2
    assert "0 repeats; at least 1 is needed" in capsys.readouterr().out
