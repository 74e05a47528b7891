"""Recorded steps against steps taken as they come.

A CUDA graph is a list of launches with the addresses and numbers that they had when it was recorded. `Tape` is one of
torch's operators for the CPU: whatever a step reads from Python anew, keeps nowhere or asks the device for is as wrong
there. On a machine with a GPU the graphs themselves are compared.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from math import inf
from typing import Any, NamedTuple

import pytest
import torch
from tests import language, tiny
from tests.training.test_parallel import WORDS, sentences
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMConfig
from distillbias.models.native import put_aside
from distillbias.models.output import ModelConfig, fresh, initialise
from distillbias.models.transformer import TransformerConfig
from distillbias.tasks.task import Examples, Spec
from distillbias.training import graphs, loop
from distillbias.training.batching import ResidentData
from distillbias.training.graphs import BEFORE, Record, Replay
from distillbias.training.loop import train
from distillbias.training.objectives import from_labels, from_teacher
from distillbias.training.recipe import Recipe, WarmupCosine, make_optimizer
from distillbias.training.seeds import stream
from distillbias.training.teacher import asked_signal

ASKS_THE_DEVICE = torch.ops.aten._local_scalar_dense.default
EPOCHS, BATCH = 8, 13
# clipping looks at the norms on a CPU, which it does not on a GPU
RECIPE = Recipe(EPOCHS, BATCH, 1e-2, WarmupCosine(0.3), clip=inf, l1=1e-4, l2=1e-3)

LSTM = LSTMConfig(width=8, embedding_dropout=0.2, dropout=0.3, output_dropout=0.2)
TRANSFORMER = TransformerConfig("last", width=8, layers=2, heads=2)
# (model, spec, examples, its teacher or None)
CASES: dict[str, tuple[ModelConfig, Spec, Callable[[], Examples], ModelConfig | None]] = {
    "MLP": (tiny.MLP, tiny.SPEC, lambda: tiny.examples(4 * BATCH), None),
    "MLP by RAdam": (tiny.MLP, tiny.SPEC, lambda: tiny.examples(4 * BATCH), None),
    "CNN to MLP": (tiny.MLP, tiny.SPEC, lambda: tiny.examples(4 * BATCH), tiny.CNN),
    "CNN": (tiny.CNN, tiny.SPEC, lambda: tiny.examples(4 * BATCH), None),
    "LSTM": (LSTM, WORDS, sentences, None),
    "LSTM to Transformer": (TRANSFORMER, WORDS, sentences, LSTM),
    "LSTM to Transformer, of the next word": (
        language.TRANSFORMER,
        language.SPEC,
        lambda: language.examples(9),
        language.LSTM,
    ),
}


@pytest.fixture(autouse=True)
def as_on_a_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a CPU torch's own operators, and its LSTM, which several threads take, too: one thread takes one whose shapes
    are the masks' doing."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with nullcontext() if request.node.get_closest_marker("skipif") else put_aside():
        yield


class Tape(TorchDispatchMode):
    """The operators that ran, with the memory that they read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, bool, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, torch.is_grad_enabled(), out))
        return out

    def play(self) -> None:
        for func, args, kwargs, taught, out in self.calls:
            # an LSTM keeps what its backward pass needs only where gradients are wanted; none is looked for here
            with torch.set_grad_enabled(taught), torch._C._AutoDispatchBelowAutograd():
                for kept, found in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(kept, Tensor) and kept is not found and kept.numel():
                        kept.copy_(found)


def tape_recorder(model: nn.Module, draws: torch.Generator, optimizer: torch.optim.Optimizer, tapes: list) -> Record:
    """Like a CUDA graph a tape takes no step when it is made: all that the step changed is put back."""

    def record(step: Replay) -> Replay:
        held = [*model.state_dict().values(), *(each for kept in optimizer.state.values() for each in kept.values())]
        before, state = [each.clone() for each in held], draws.get_state()
        with Tape() as tape:
            loss = step()
        for each, value in zip(held, before, strict=True):
            each.copy_(value)
        draws.set_state(state)
        tapes.append(tape)

        def play() -> Tensor:
            tape.play()
            return loss

        return play

    return record


class Taught(NamedTuple):
    losses: list[float]
    model: nn.Module
    tapes: list[Tape]


def taught(name: str, precision: str, make: Callable | None, device: str = "cpu") -> Taught:
    """A whole training; `make` makes its recorder, None takes each step as it comes."""
    config, spec, examples, teacher = CASES[name]
    recipe = replace(RECIPE, precision=precision, optimizer="radam" if "RAdam" in name else "adam")
    model, draws = fresh(config, spec), stream("draws", device=device)
    tapes: list[Tape] = []
    initialise(model, stream("weights"))
    model.to(device)
    give_stream(model, draws)
    signal, objective = None, from_labels()
    if teacher is not None:
        teaches = fresh(teacher, spec)
        initialise(teaches, stream("teacher"))
        signal, objective = asked_signal(teaches.to(device)), from_teacher(2.0, 0.7, "tau2", True)
    data = ResidentData(examples(), device)
    optimizer = make_optimizer(model, recipe)
    batches = data.batches(EPOCHS, BATCH, lambda epoch: stream("order", epoch), signal)
    total = recipe.steps(len(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "recorder", lambda one: make and make(one, draws, optimizer, tapes))
        steps: Iterator[loop.Step] = train(model, objective, batches, recipe, total, optimizer)
        losses = [step.loss for step in steps]  # read at the end, as `fit` does
    return Taught([loss.item() for loss in losses], model, tapes)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_replayed_steps_have_the_same_bits(name: str, precision: str) -> None:
    losses, model, _ = taught(name, precision, None)
    again, replayed, tapes = taught(name, precision, tape_recorder)
    assert again == losses
    for key, value in model.state_dict().items():
        assert torch.equal(replayed.state_dict()[key], value), key
    assert tapes, "no step was recorded"
    assert not any(func is ASKS_THE_DEVICE for tape in tapes for func, *_ in tape.calls)


def test_a_shape_is_recorded_once_and_only_if_it_comes_often() -> None:
    lengths = [int(part.inputs.shape[1]) for part in ResidentData(sentences()).batches(EPOCHS, BATCH, stream)]
    often = sum(lengths.count(length) > BEFORE for length in set(lengths))
    _, _, tapes = taught("LSTM", "float32", tape_recorder)
    assert 0 < len(tapes) == often < len(lengths)


def test_what_cannot_be_recorded_is_said_once_and_trained_as_it_comes(capsys: pytest.CaptureFixture) -> None:
    def refuse(step: Replay) -> Replay:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    losses, model, _ = taught("MLP", "float32", None)
    again, other, _ = taught("MLP", "float32", lambda *given: refuse)
    assert again == losses and all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))
    said = capsys.readouterr().out
    assert said.count("steps cannot be recorded") == 1 and "capturing" in said and "more of it" not in said


def test_a_batch_is_copied_and_another_teachers_matrix_is_another_shape() -> None:
    config, spec, examples, teacher = CASES["LSTM to Transformer, of the next word"]
    assert teacher is not None
    teachers = [fresh(teacher, spec) for _ in range(2)]
    for each in teachers:
        initialise(each, stream("teacher"))
    signals = [asked_signal(each) for each in teachers]
    data = ResidentData(examples())
    one, other = (data.rows(torch.arange(5), signal) for signal in signals)
    assert graphs.shape_of(one) == graphs.shape_of(one) != graphs.shape_of(other)
    copied, whole = graphs.own(one), copy.deepcopy([each.clone() for each in graphs.contents(one)])
    for each in graphs.contents(one):
        each.zero_()
    assert all(map(torch.equal, graphs.contents(copied), whole))
    assert copied.signal.matrix is one.signal.matrix


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


@NEEDS_GPU
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_cuda_graphs_take_the_same_steps(name: str, precision: str) -> None:
    """Sums on a GPU may come in another order; a training answers to it with other last digits."""
    losses, _, _ = taught(name, precision, None, "cuda")
    again, _, _ = taught(name, precision, lambda model, *_: graphs.recorder(model), "cuda")
    assert again == pytest.approx(losses, rel=1e-3 if precision == "float32" else 3e-2)


@NEEDS_GPU
def test_a_step_that_waits_for_the_gpu_is_taken_as_it_comes(capsys: pytest.CaptureFixture) -> None:
    """Also after its recording has failed: streams that dropout draws from are as if it had never been tried."""

    def waits(model: nn.Module, *_: Any) -> Record | None:
        record = graphs.recorder(model)

        def try_to(step: Replay) -> Replay:
            assert record is not None
            return record(lambda: torch.full_like(step(), step().item()))

        return try_to

    losses, _, _ = taught("MLP", "float32", None, "cuda")
    again, _, _ = taught("MLP", "float32", waits, "cuda")
    assert again == pytest.approx(losses, rel=1e-3)
    assert "cannot be recorded" in capsys.readouterr().out
