"""A language model's states on disk: what its teacher says at every word, or an error."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tests import language
from torch.testing import assert_close

from distillbias.errors import RunError
from distillbias.models.dropout import give_stream
from distillbias.models.output import Factored
from distillbias.studies.files import write_whole
from distillbias.training import teacher
from distillbias.training.batching import ResidentData
from distillbias.training.next_word import kl_from_teacher, targets
from distillbias.training.teacher import asked_signal, cached_signal, live_signal

EXAMPLES = language.examples(repeats=3)
ROWS = torch.tensor([4, 0, 2, 17])
EACH = pytest.mark.parametrize("name", language.MODELS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signal.safetensors"


def signal(path: Path, name: str = "LSTM", seed: int = 0, examples=EXAMPLES):
    return cached_signal(language.model(name, seed), examples, path, write_whole)


@EACH
def test_states_on_disk_are_what_the_teacher_says(path: Path, name: str) -> None:
    data, asked = ResidentData(EXAMPLES), asked_signal(language.model(name))
    for kept in (signal(path, name), signal(path, name)):  # computed, and from the file
        batch = data.rows(ROWS, kept)
        right, said = targets(batch.inputs), asked(ROWS, batch.inputs)
        assert isinstance(batch.signal, Factored) and not batch.signal.states.requires_grad
        assert batch.signal.states.shape == (4, right.shape[1], 8)
        assert_close(batch.signal.states[right != 0], said.states[:, :-1][right != 0])
        assert_close(batch.signal.matrix, said.matrix)
        assert kl_from_teacher(said, batch.signal, right).item() == pytest.approx(0, abs=1e-6)


def test_a_file_has_one_state_for_each_word_to_predict(path: Path) -> None:
    signal(path)
    tensors = load_file(path)
    assert {name: array.shape for name, array in tensors.items()} == {
        "states": (int((EXAMPLES.inputs != 0).sum()) - len(EXAMPLES), 8)
    }
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_file_is_written_once(path: Path) -> None:
    signal(path)
    before = path.stat().st_mtime_ns
    signal(path)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"name": "Transformer"}, {"examples": language.examples(4)}])
def test_a_signal_of_something_else_is_refused(path: Path, change) -> None:
    signal(path)
    with pytest.raises(RunError, match="signal.safetensors has fingerprint .* delete the file and run again"):
        signal(path, **change)


def test_words_that_the_teacher_did_not_say_are_refused(path: Path) -> None:
    signal(path)
    with teacher.safe_open(path, framework="np") as opened:
        metadata = opened.metadata()
    save_file({"states": load_file(path)["states"] + np.float32(1)}, path, metadata)
    with pytest.raises(RunError, match="does not match its teacher on 18 of 18 rows, the first is example 0"):
        signal(path)
    save_file({"states": load_file(path)["states"][:-1].copy()}, path, metadata)
    with pytest.raises(RunError, match="has shape"):
        signal(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match="cannot be read"):
        signal(path)


def test_no_file_that_would_be_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "MOST_STATES", 1000)
    inputs = torch.as_tensor(EXAMPLES.inputs[ROWS]).long()
    said, asked = (made(ROWS, inputs) for made in (signal(path), asked_signal(language.model())))
    assert not path.exists()
    assert_close(said.states, asked.states)


def test_a_teacher_in_training_mode_has_dropout() -> None:
    taught = language.model()
    give_stream(taught, torch.Generator().manual_seed(0))
    live, inputs = live_signal(taught), torch.as_tensor(EXAMPLES.inputs[ROWS]).long()
    first, again = live(ROWS, inputs), live(ROWS, inputs)
    assert not torch.equal(first.states, again.states) and not first.states.requires_grad


def test_examples_carry_their_own_fingerprint(path: Path) -> None:
    signal(path)
    with pytest.raises(RunError, match="fingerprint"):
        signal(path, examples=replace(EXAMPLES, fingerprint="0" * 16))
