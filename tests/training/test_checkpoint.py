"""A training that was interrupted ends with the bits of one that was not, wherever it was interrupted."""

import pytest
import torch
from tests import language, tiny
from torch import nn

from distillbias.models.dropout import give_stream
from distillbias.tasks.task import Examples
from distillbias.training.batching import ResidentData
from distillbias.training.checkpoint import Course, freeze, thaw
from distillbias.training.loop import train
from distillbias.training.objectives import from_labels
from distillbias.training.recipe import Recipe, WarmupCosine, make_optimizer
from distillbias.training.seeds import stream

FACTS = {"run": "one", "threads": 1}
EPOCHS, BATCH = 3, 8


class Training:
    """A model in training that can be stopped after any step."""

    def __init__(self, model: nn.Module, examples: Examples, recipe: Recipe):
        self.model, self.examples, self.recipe = model, examples, recipe
        self.optimizer = make_optimizer(model, recipe)
        self.streams = {"dropout": stream("dropout", 1)}
        self.course = Course()
        give_stream(model, self.streams["dropout"])

    def go(self, until: int) -> "Training":
        data, done = ResidentData(self.examples), self.course.done
        batches = data.batches(EPOCHS, BATCH, lambda epoch: stream("order", epoch), start=done)
        total = self.recipe.steps(len(data))
        for step in train(self.model, from_labels(), batches, self.recipe, total, self.optimizer, done):
            self.course.done = step.done
            self.course.pending.append(step.loss)
            if step.done == until:
                break
        return self

    def frozen(self) -> bytes:
        return freeze(FACTS, self.course, self.model, self.optimizer, self.streams)


def cnn() -> nn.Module:
    model = tiny.CNN.build(tiny.SPEC)
    return model.to(memory_format=torch.channels_last)


MAKERS = {
    "MLP": (lambda: tiny.mlp(), lambda: tiny.examples(40)),
    "CNN": (cnn, lambda: tiny.examples(40)),
    "LSTM": (lambda: language.model("LSTM"), lambda: language.examples(8)),
    "Transformer": (lambda: language.model("Transformer"), lambda: language.examples(8)),
}


def training(name: str, optimizer: str = "adam", precision: str = "float32") -> Training:
    torch.manual_seed(0)
    model, examples = (make() for make in MAKERS[name])
    recipe = Recipe(EPOCHS, BATCH, 1e-2, WarmupCosine(), optimizer=optimizer, precision=precision, l2=1e-3)
    return Training(model, examples, recipe)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("optimizer", "precision"), [("adam", "float32"), ("radam", "float32"), ("adam", "bfloat16")])
def test_going_on_gives_the_same_bits(name: str, optimizer: str, precision: str) -> None:
    whole = training(name, optimizer, precision).go(until=-1)
    assert whole.course.done == {"MLP": 15, "CNN": 15, "LSTM": 18, "Transformer": 18}[name]
    for stop in (1, 5, 6, 7, whole.course.done):  # 5 or 6 is the end of an epoch
        first = training(name, optimizer, precision).go(until=stop)
        second = training(name, optimizer, precision)
        course = thaw(first.frozen(), FACTS, second.model, second.optimizer, second.streams)
        assert course is not None and course.done == stop
        second.course = course
        second.go(until=-1)
        assert second.frozen() == whole.frozen(), (name, stop)


def test_the_bits_do_not_depend_on_whether_states_are_kept() -> None:
    watched = training("CNN")
    for step in (3, 4, 9):
        watched.go(until=step).frozen()
    assert watched.go(until=-1).frozen() == training("CNN").go(until=-1).frozen()


def test_the_course_comes_back() -> None:
    done = training("MLP").go(until=4)
    done.course.losses, done.course.seconds = [0.1 + 0.2, 1e-300], 12.5
    one, other = {"a.b/c": torch.tensor([1.0, float("nan")])}, {"a.b/c": torch.zeros(2)}
    done.course.stages = [one, one, other]
    fresh = training("MLP")
    course = thaw(done.frozen(), FACTS, fresh.model, fresh.optimizer, fresh.streams)
    assert course is not None
    assert (course.done, course.losses, course.seconds) == (4, [0.1 + 0.2, 1e-300], 12.5)
    assert torch.equal(torch.stack(course.pending), torch.stack(done.course.pending))
    kept = [stage["a.b/c"] for stage in course.stages]
    assert [each[0].item() for each in kept] == [1.0, 1.0, 0.0] and kept[0].isnan().tolist() == [False, True]


@pytest.mark.parametrize("facts", [{"run": "two", "threads": 1}, {"run": "one", "threads": 2}, {**FACTS, "new": 1}])
def test_the_state_of_something_else_is_left_alone(facts: dict) -> None:
    data, fresh = training("MLP").go(until=4).frozen(), training("MLP")
    before = fresh.frozen()
    assert thaw(data, facts, fresh.model, fresh.optimizer, fresh.streams) is None
    assert fresh.frozen() == before


def test_damage_anywhere_is_seen() -> None:
    data, fresh = training("MLP").go(until=4).frozen(), training("MLP")
    before = fresh.frozen()
    flipped = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), len(data) // 50)]
    cut = [data[:length] for length in range(0, len(data), len(data) // 20)]
    for bad in (*flipped, *cut, data + b"0"):
        assert thaw(bad, FACTS, fresh.model, fresh.optimizer, fresh.streams) is None
    assert fresh.frozen() == before
