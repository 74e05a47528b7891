"""Recorded steps against steps taken as they come, on a CPU, and on a machine with a GPU on that, too.

A CUDA graph is a list of launches with the addresses and numbers that they had when it was recorded, and so is a tape:
whatever a step reads from Python anew, keeps nowhere or asks the device for is as wrong there. So where torch's
operators compute what they do on a GPU, every tape must be playable.
"""

import copy
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from math import inf
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from tests import language, tiny
from tests.training.test_parallel import WORDS, sentences
from torch import Tensor, nn
from torch.nn.utils import prune

from distillbias.models.dropout import Dropout, give_stream
from distillbias.models.lstm import LSTMConfig
from distillbias.models.native import put_aside
from distillbias.models.output import ModelConfig, fresh, initialise
from distillbias.models.transformer import TransformerConfig
from distillbias.tasks.task import Examples, Spec
from distillbias.training import graphs, loop, replays, tapes
from distillbias.training.batching import ResidentData
from distillbias.training.loop import train
from distillbias.training.objectives import from_labels, from_teacher
from distillbias.training.recipe import Recipe, WarmupCosine, make_optimizer
from distillbias.training.replays import BEFORE, Record, Replay, recorder
from distillbias.training.seeds import stream
from distillbias.training.teacher import asked_signal

EPOCHS, BATCH = 8, 13
# torch's way to clip looks at the norms on a CPU, which it does not on a GPU
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


class Heard(tapes.Tape):
    """Counts how often it is played; `all` has each one in turn."""

    all: ClassVar[list["Heard"]] = []

    def __init__(self) -> None:
        super().__init__()
        self.plays = 0
        self.all.append(self)

    def play(self) -> Tensor:
        self.plays += 1
        return super().play()


@pytest.fixture(autouse=True)
def fresh_tapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "Tape", Heard)
    monkeypatch.setattr(replays, "WORTH", -1000)  # trainings here are short
    Heard.all.clear()


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch's own operators, and its LSTM, which several threads take, too: one thread takes one whose shapes are the
    masks' doing."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with put_aside():
        yield


class Taught(NamedTuple):
    losses: list[float]
    model: nn.Module
    replayed: int  # of the steps, if every shape that came often was recorded


def taught(
    name: str,
    precision: str,
    make: Callable | None,
    device: str = "cpu",
    clip: float = inf,
    after: dict[int, Callable[[nn.Module], Any]] | None = None,
) -> Taught:
    """A whole training; `make` makes its recorder, None takes each step as it comes. `after`: what is done when."""
    config, spec, examples, teacher = CASES[name]
    recipe = replace(RECIPE, clip=clip, precision=precision, optimizer="radam" if "RAdam" in name else "adam")
    model, draws = fresh(config, spec), stream("draws", device=device)
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
    shapes: Counter[Hashable] = Counter()
    counted = (shapes.update([replays.shape_of(batch)]) or batch for batch in batches)  # type: ignore[func-returns-value]
    total = recipe.steps(len(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "recorder", make or (lambda *_: None))
        steps: Iterator[loop.Step] = train(model, objective, counted, recipe, total, optimizer)
        losses = []
        for step in steps:
            losses.append(step.loss)  # read at the end, as `fit` does
            if after and step.done in after:
                after[step.done](model)
    replayed = sum(max(0, count - BEFORE - 1) for count in shapes.values())
    return Taught([loss.item() for loss in losses], model, replayed)


def assert_equal(one: Taught, other: Taught) -> None:
    assert one.losses == other.losses
    theirs = other.model.state_dict()
    for key, value in one.model.state_dict().items():
        assert torch.equal(value, theirs[key]), key


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_replayed_steps_have_the_same_bits(name: str, precision: str) -> None:
    replayed = taught(name, precision, recorder)
    assert_equal(replayed, taught(name, precision, None))
    assert 0 < sum(tape.plays for tape in Heard.all) == replayed.replayed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_native_functions_are_replayed_to_the_bit(name: str, precision: str) -> None:
    replayed = taught(name, precision, recorder, clip=0.1)
    assert_equal(replayed, taught(name, precision, None, clip=0.1))
    assert sum(tape.plays for tape in Heard.all) == replayed.replayed


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_steps_that_compute_blocks_again_are_taken_as_they_come(precision: str, monkeypatch) -> None:
    """Their random streams go back for a while, which a tape does not hold: it is played once, and found to differ."""
    name = "LSTM to Transformer, of the next word"
    as_ever = taught(name, precision, None)
    again = replace(language.TRANSFORMER, recompute=True)
    monkeypatch.setitem(CASES, name, (again, *CASES[name][1:]))
    found = taught(name, precision, recorder)
    assert_equal(found, as_ever)
    assert max(tape.plays for tape in Heard.all) == 1 and found.replayed > len(Heard.all)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_shape_is_recorded_once_and_only_if_it_comes_often() -> None:
    lengths = [int(part.inputs.shape[1]) for part in ResidentData(sentences()).batches(EPOCHS, BATCH, stream)]
    often = sum(lengths.count(length) > BEFORE for length in set(lengths))
    taught("LSTM", "float32", recorder)
    assert 0 < len(Heard.all) == often < len(lengths)


def test_a_shape_is_recorded_if_it_promises_to_come_often_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its 4th step one has 4 of 4, so 16 of the 16 that are left; the other 4 of 17, so less than one of three."""
    one, other = (replays.Batch(torch.zeros(count), torch.zeros(1), None) for count in (1, 2))
    for worth, wanted in ((17, []), (16, [1]), (1, [1]), (0, [1, 2])):
        monkeypatch.setattr(replays, "WORTH", worth)
        recorded: list[int] = []

        def record(step: Replay, values: int, recorded: list[int] = recorded) -> Replay:
            recorded.append(values - 1)
            return step

        take = replays.Replays(lambda batch: batch.inputs.sum(), record, 20, nn.Module())
        for number in range(20):
            take(other if number in (4, 9, 13, 16, 18) else one)
        assert recorded == wanted, worth


def test_what_cannot_be_recorded_is_said_once_and_trained_as_it_comes(capsys: pytest.CaptureFixture) -> None:
    def refuse(step: Replay, values: int) -> Replay:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    assert_equal(taught("MLP", "float32", lambda *_: refuse), taught("MLP", "float32", None))
    said = capsys.readouterr().out
    assert said.count("steps cannot be recorded") == 1 and "capturing" in said and "more of it" not in said


def test_hooks_are_called_at_each_step_that_they_are_there() -> None:
    calls: list[str] = []
    hooks: list[Any] = []

    def hook(model: nn.Module) -> None:
        part = [each for each in model.modules() if isinstance(each, nn.Linear)][-1]
        hooks.append(part.register_full_backward_hook(lambda *_: calls.append("backward")))
        hooks.append(model.register_forward_hook(lambda *_: calls.append("forward")))

    def hooked(model: nn.Module, optimizer: torch.optim.Optimizer) -> Record | None:
        hook(model)
        return recorder(model, optimizer)

    losses = taught("MLP", "float32", hooked).losses
    assert Counter(calls) == {"forward": len(losses), "backward": len(losses)} and not Heard.all
    calls.clear()
    hooks.clear()
    after = {10: hook, 17: lambda model: [each.remove() for each in hooks]}
    found = taught("MLP", "float32", recorder, after=after)
    assert Counter(calls) == {"forward": 7, "backward": 7}
    assert sum(tape.plays for tape in Heard.all) >= len(losses) - 7 - BEFORE - 2
    hooks.clear()
    assert_equal(found, taught("MLP", "float32", None, after=after))


@pytest.mark.parametrize("name", ["MLP", "MLP by RAdam", "CNN"])
def test_what_a_caller_changes_between_steps_is_so_from_the_next(name: str) -> None:
    def drop_less(model: nn.Module) -> None:
        for each in model.modules():
            if isinstance(each, Dropout):
                each.rate /= 2

    def freeze(model: nn.Module) -> None:
        next(model.parameters()).requires_grad_(False)

    def fix(model: nn.Module) -> None:
        next(each for each in model.modules() if isinstance(each, nn.BatchNorm1d | Dropout)).eval()

    after = {9: drop_less, 17: freeze, 24: fix}
    one = taught(name, "float32", recorder, after=after)
    assert_equal(one, taught(name, "float32", None, after=after))
    assert one.losses != taught(name, "float32", None).losses
    assert sum(tape.plays > 0 for tape in Heard.all) == 4


def test_what_is_pruned_for_a_while_is_trained_on_from_where_it_then_lies() -> None:
    def first(model: nn.Module) -> nn.Linear:
        return next(each for each in model.modules() if isinstance(each, nn.Linear))

    after = {
        9: lambda model: prune.l1_unstructured(first(model), "weight", amount=0.5),
        17: lambda model: prune.remove(first(model), "weight"),
    }
    found = taught("MLP", "float32", recorder, after=after)
    assert_equal(found, taught("MLP", "float32", None, after=after))
    assert sum(tape.plays > 0 for tape in Heard.all) == 2


def test_what_takes_anothers_place_between_steps_counts_from_the_next() -> None:
    def no_dropout(model: nn.Module) -> None:
        for module in [*model.modules()]:
            for name, part in [*module.named_children()]:
                if isinstance(part, Dropout):
                    setattr(module, name, Dropout(0.0))

    def other_averages(model: nn.Module) -> None:
        norm = next(each for each in model.modules() if isinstance(each, nn.BatchNorm1d))
        norm.running_mean = torch.ones_like(norm.running_mean)

    def other_draws(model: nn.Module) -> None:
        give_stream(model, stream("others"))

    for after in ({9: other_draws}, {9: other_averages, 17: no_dropout}):
        Heard.all.clear()
        found = taught("MLP", "float32", recorder, after=after)
        assert_equal(found, taught("MLP", "float32", None, after=after))
        assert sum(tape.plays > 0 for tape in Heard.all) == 1 + len(after)


def test_a_batch_is_copied_and_another_teachers_matrix_is_another_shape() -> None:
    config, spec, examples, teacher = CASES["LSTM to Transformer, of the next word"]
    assert teacher is not None
    teachers = [fresh(teacher, spec) for _ in range(2)]
    for each in teachers:
        initialise(each, stream("teacher"))
    signals = [asked_signal(each) for each in teachers]
    data = ResidentData(examples())
    one, other = (data.rows(torch.arange(5), signal) for signal in signals)
    assert replays.shape_of(one) == replays.shape_of(one) != replays.shape_of(other)
    copied, whole = replays.own(one), copy.deepcopy([each.clone() for each in replays.contents(one)])
    for each in replays.contents(one):
        each.zero_()
    assert all(map(torch.equal, replays.contents(copied), whole))
    assert copied.signal.matrix is one.signal.matrix


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


@NEEDS_GPU
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_cuda_graphs_take_the_same_steps(name: str, precision: str) -> None:
    """Sums on a GPU may come in another order; a training answers to it with other last digits."""
    losses, again = (taught(name, precision, make, "cuda").losses for make in (None, recorder))
    assert again == pytest.approx(losses, rel=1e-3 if precision == "float32" else 3e-2)


@NEEDS_GPU
def test_a_step_that_waits_for_the_gpu_is_taken_as_it_comes(capsys: pytest.CaptureFixture) -> None:
    """Also after its recording has failed: streams that dropout draws from are as if it had never been tried."""

    def waits(model: nn.Module, *_: Any) -> Record:
        record = graphs.recorder(model)

        def try_to(step: Replay, values: int) -> Replay:
            return record(lambda: torch.full_like(step(), step().item()), values)

        return try_to

    losses, again = (taught("MLP", "float32", make, "cuda").losses for make in (None, waits))
    assert again == pytest.approx(losses, rel=1e-3)
    assert "cannot be recorded" in capsys.readouterr().out
