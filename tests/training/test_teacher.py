"""A signal is what its teacher says, or an error: never somebody else's answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tests import tiny
from torch import nn

from distillbias.errors import RunError
from distillbias.evaluation.predict import predict
from distillbias.models.dropout import give_stream
from distillbias.studies.files import write_whole
from distillbias.training.batching import Signal
from distillbias.training.teacher import cached_signal, live_signal, weights_fingerprint

EXAMPLES = tiny.examples(100)
ROWS = torch.tensor([7, 3, 99, 0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signal.safetensors"


def signal(path: Path, teacher: nn.Module | None = None, examples=EXAMPLES) -> Signal:
    return cached_signal(teacher or tiny.mlp(), examples, path, write_whole)


def rewrite(path: Path, change) -> None:
    """Change the tensors of the file and nothing else."""
    with safe_open(path, framework="np") as opened:
        metadata = opened.metadata()
    save_file(change(load_file(path)), path, metadata=metadata)


def test_the_signal_is_the_teachers_prediction(path: Path) -> None:
    expected, _ = predict(tiny.mlp(), EXAMPLES)
    said = signal(path)(ROWS, torch.zeros(4, 28, 28))
    assert torch.equal(said, torch.as_tensor(expected)[ROWS])
    assert torch.equal(signal(path)(ROWS, torch.zeros(4, 28, 28)), said)  # from the file


def test_the_teacher_keeps_its_weights_and_gets_no_gradient(path: Path) -> None:
    teacher = tiny.mlp()
    before = weights_fingerprint(teacher)
    assert not signal(path, teacher)(ROWS, torch.zeros(4, 28, 28)).requires_grad
    assert weights_fingerprint(teacher) == before == weights_fingerprint(tiny.mlp())


def test_the_order_in_the_file_does_not_matter(path: Path) -> None:
    expected = signal(path)(torch.arange(100), torch.zeros(100, 28, 28))
    other = np.random.default_rng(1).permutation(100)
    rewrite(path, lambda tensors: {name: tensor[other] for name, tensor in tensors.items()})
    assert torch.equal(signal(path)(torch.arange(100), torch.zeros(100, 28, 28)), expected)


def test_the_file_is_written_once(path: Path) -> None:
    signal(path)
    before = path.stat().st_mtime_ns, path.read_bytes()
    signal(path)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def nudged() -> nn.Module:
    """The usual teacher, one running mean a little off."""
    model = tiny.mlp()
    model.hidden[0][2].running_mean[0] += 1e-3
    return model


@pytest.mark.parametrize(
    ("teacher", "examples"),
    [(tiny.mlp(1), EXAMPLES), (nudged(), EXAMPLES), (tiny.mlp(), tiny.examples(100, seed=1))],
    ids=["another teacher", "another buffer", "other data"],
)
def test_a_signal_of_something_else_is_refused(path: Path, teacher, examples) -> None:
    signal(path)
    with pytest.raises(
        RunError, match=r"signal.safetensors has fingerprint \w{12}, this teacher.* have \w{12}: delete"
    ):
        signal(path, teacher, examples)


def test_rows_that_the_teacher_did_not_say_are_refused(path: Path) -> None:
    signal(path)
    rewrite(path, lambda tensors: tensors | {"logits": tensors["logits"] + np.float32(0.5)})
    with pytest.raises(RunError, match="does not match its teacher on 64 of 64 rows"):
        signal(path)


def test_answers_given_to_the_wrong_examples_are_refused(path: Path) -> None:
    signal(path)
    rewrite(path, lambda tensors: tensors | {"ids": np.roll(tensors["ids"], 1)})
    with pytest.raises(RunError, match="does not match its teacher"):
        signal(path)


def test_missing_examples_are_refused(path: Path) -> None:
    signal(path)
    rewrite(path, lambda tensors: {name: tensor[:-1].copy() for name, tensor in tensors.items()})
    with pytest.raises(RunError, match="lacks some of the 100"):
        signal(path)


@pytest.mark.parametrize("left", [0, 5, 60, 2000])
def test_a_truncated_file_is_refused(path: Path, left: int) -> None:
    signal(path)
    whole = path.read_bytes()
    assert left < len(whole)
    path.write_bytes(whole[:left])
    with pytest.raises(RunError, match="signal.safetensors cannot be read.*delete the file"):
        signal(path)


def test_a_live_signal_has_dropout_and_leaves_the_teacher_as_it_was() -> None:
    teacher = tiny.mlp(dropout=0.5)
    give_stream(teacher, torch.Generator().manual_seed(0))
    means = {name: tensor.clone() for name, tensor in teacher.state_dict().items() if "running" in name}
    live = live_signal(teacher)
    inputs = torch.rand(20, 28, 28, generator=torch.Generator().manual_seed(1))
    first, again = live(torch.arange(20), inputs), live(torch.arange(20), inputs)
    assert not torch.equal(first, again) and not first.requires_grad
    assert means and all(torch.equal(teacher.state_dict()[name], tensor) for name, tensor in means.items())


def test_a_live_signal_normalises_by_its_batch() -> None:
    """Without dropout: an example's answer depends on the company it is in, as the authors' teachers had it."""
    live = live_signal(tiny.mlp(dropout=0.0))
    inputs = torch.rand(20, 28, 28, generator=torch.Generator().manual_seed(1))
    alone = live(torch.arange(10), inputs[:10])
    assert not torch.allclose(alone, live(torch.arange(20), inputs)[:10], atol=1e-3)
    model = tiny.mlp(dropout=0.0).train()
    with torch.no_grad():  # as signals are made: with gradients other products may serve
        assert torch.equal(alone, model(inputs[:10]).logits)


def test_fingerprints_change_with_names_shapes_and_bytes() -> None:
    model = nn.Linear(4, 3)
    plain = weights_fingerprint(model)
    reshaped, renamed = nn.Linear(3, 4), nn.Sequential(model)
    with torch.no_grad():
        reshaped.weight.copy_(model.weight.reshape(4, 3))
        reshaped.bias = nn.Parameter(model.bias.new_zeros(4))
    assert len({plain, weights_fingerprint(reshaped), weights_fingerprint(renamed)}) == 3
    assert weights_fingerprint(model) == plain
    with torch.no_grad():
        model.weight[0, 0] = torch.nextafter(model.weight[0, 0], torch.tensor(9.0))
    assert weights_fingerprint(model) != plain


def test_examples_carry_their_own_fingerprint(path: Path) -> None:
    signal(path)
    with pytest.raises(RunError, match="fingerprint"):
        signal(path, examples=replace(EXAMPLES, fingerprint="0" * 16))
