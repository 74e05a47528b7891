"""The loop against a literal twin, weight by weight, and what must hold whatever the model."""

from copy import deepcopy

import pytest
import torch
from tests import tiny
from tests.reference import training as twin
from torch import Tensor, nn

from distillbias.models.mlp import MLPConfig
from distillbias.models.output import Output, initialise
from distillbias.tasks.task import Spec
from distillbias.training.loop import train
from distillbias.training.objectives import Batch, Objective, from_labels, from_teacher
from distillbias.training.recipe import ExponentialDecay, Recipe, WarmupCosine

STEPS, SIZE, RATE, CLIP = 10, 12, 0.01, 0.5
TEMPERATURE = 3.0
FACTORS = ("tau2", "one", "inv_tau2")


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batches(dtype: torch.dtype, steps: int = STEPS) -> list[Batch]:
    draw = stream(0)
    return [
        Batch(
            torch.randn(SIZE, 4, 4, generator=draw, dtype=dtype),
            torch.randint(3, (SIZE,), generator=draw),
            torch.randn(SIZE, 3, generator=draw, dtype=dtype) * 4,
        )
        for _ in range(steps)
    ]


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """With batch norm, without dropout."""
    model = MLPConfig(widths=(6, 5), dropout=0.0).build(Spec(shape=(4, 4), classes=3))
    initialise(model, stream(1))
    return model.to(dtype)


class Plain(nn.Module):
    """Without batch norm: no example looks at another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 5), nn.Linear(5, 3)
        initialise(self, stream(2))

    def forward(self, x: Tensor) -> Output:
        return Output(self.last(torch.tanh(self.first(x.flatten(1)))), {})


def recipe(**changed) -> Recipe:
    wanted = {"schedule": WarmupCosine(0.3), "clip": CLIP, "l1": 2e-3, "l2": 3e-3}
    return Recipe(1, SIZE, RATE, **(wanted | changed))


def compare(dtype, objective: Objective, loss, scale: float = 1.0, chosen: Recipe | None = None, rates=None) -> None:
    """Same start, same batches: the same weights, up to what the arithmetic allows."""
    chosen = chosen or recipe()
    ours, theirs, start = network(dtype), network(dtype), network(dtype)
    made = batches(dtype)
    assert len(list(train(ours, objective, made, chosen, STEPS))) == STEPS
    rates = rates or [RATE * twin.warmup_cosine(step, STEPS, 0.3) for step in range(STEPS)]
    optimizer = {"adam": torch.optim.Adam, "radam": torch.optim.RAdam}[chosen.optimizer]
    twin.train(
        theirs, [batch[:3] for batch in made], loss, rates, chosen.l1 * scale, chosen.l2 * scale, CLIP, optimizer
    )
    # objectives are float32 even where weights are double, and PyTorch's clipping divides by norm + 1e-6; the rest
    # is how far a step of Adam, RATE at most, can pass on a relative error of its gradient
    relative = 1e-6 / CLIP + 100 * torch.finfo(torch.float32).eps
    for name, mine in ours.named_parameters():
        wanted = theirs.get_parameter(name)
        assert (wanted - start.get_parameter(name)).abs().max() > 100 * STEPS * RATE * relative, "it must have moved"
        torch.testing.assert_close(
            mine, wanted, rtol=0, atol=STEPS * RATE * relative, msg=lambda m, n=name: f"{n}: {m}"
        )
    for mine, wanted in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_learning_from_labels_is_its_literal_twin(dtype) -> None:
    compare(dtype, from_labels(), twin.label_loss)


def test_radam_with_exponential_decay_is_its_literal_twin() -> None:
    chosen = recipe(schedule=ExponentialDecay(period=5, decay=0.5), optimizer="radam")
    rates = [RATE * twin.exponential(step, 5, 0.5) for step in range(STEPS)]
    compare(torch.float64, from_labels(), twin.label_loss, chosen=chosen, rates=rates)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("weight", [1.0, 0.7])
@pytest.mark.parametrize("relative", [True, False])
def test_learning_from_a_teacher_is_its_literal_twin(factor, weight: float, relative: bool) -> None:
    """The twin minimises cross-entropy, we KL: they have one gradient."""
    size = {"tau2": 1.0, "one": 1 / 9, "inv_tau2": 1 / 81}[factor]  # of the soft loss against tau2's; tau is 3
    scale = weight * size + (1 - weight) if relative else 1.0
    objective = from_teacher(TEMPERATURE, weight, factor, relative)
    compare(torch.float64, objective, twin.taught_loss(TEMPERATURE, weight, factor), scale)


def gradients(model: nn.Module, objective: Objective, batch: Batch) -> list[Tensor]:
    loss = objective.loss(model(batch.inputs), batch).mean()
    return list(torch.autograd.grad(loss, list(model.parameters())))


OBJECTIVES = {
    "labels": from_labels(),
    "teacher": from_teacher(TEMPERATURE, 1.0, "tau2", True),
    "mixed": from_teacher(TEMPERATURE, 0.4, "inv_tau2", False),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_batch_in_parts_has_the_same_gradient(name: str) -> None:
    model, whole = Plain(), batches(torch.float32)[0]
    expected = gradients(model, OBJECTIVES[name], whole)
    parts = [Batch(*(member[rows] for member in whole[:3])) for rows in (slice(0, 1), slice(1, 5), slice(5, SIZE))]
    found = [gradients(model, OBJECTIVES[name], part) for part in parts]
    for index, wanted in enumerate(expected):
        mean = sum(len(part.labels) / SIZE * found[k][index] for k, part in enumerate(parts))
        torch.testing.assert_close(mean, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("factor", FACTORS)
def test_a_perfect_student_has_nothing_to_learn(factor) -> None:
    student = network().eval()
    batch = batches(torch.float32)[0]._replace(signal=None)
    batch = batch._replace(signal=student(batch.inputs).logits.detach())
    pure = from_teacher(5.0, 1.0, factor, True)
    assert pure.loss(student(batch.inputs), batch).abs().max() < 1e-5
    of_labels = gradients(student, from_labels(), batch)
    for gradient, from_label in zip(gradients(student, pure, batch), of_labels, strict=True):
        assert gradient.abs().max() < 1e-5 * from_label.abs().max()
    mixed = gradients(student, from_teacher(5.0, 0.25, factor, True), batch)
    for gradient, from_label in zip(mixed, of_labels, strict=True):
        torch.testing.assert_close(gradient, 0.75 * from_label, rtol=1e-4, atol=1e-5)


def test_the_factor_is_a_scale_of_the_whole_objective_when_penalties_are_relative() -> None:
    model, batch = network(), batches(torch.float32)[0]
    reference = gradients(model, from_teacher(TEMPERATURE, 1.0, "tau2", True), batch)
    for factor, size in (("one", 1 / 9), ("inv_tau2", 1 / 81)):
        objective = from_teacher(TEMPERATURE, 1.0, factor, True)
        assert objective.penalty_scale == pytest.approx(size)
        for gradient, wanted in zip(gradients(model, objective, batch), reference, strict=True):
            torch.testing.assert_close(gradient, size * wanted, rtol=1e-4, atol=1e-7)


def test_evaluating_between_steps_changes_nothing() -> None:
    """Neither the mode the caller leaves the model in, nor a look at other data."""
    undisturbed, watched = network(), network()
    for _ in train(undisturbed, from_labels(), batches(torch.float32), recipe(), STEPS):
        pass
    for _ in train(watched, from_labels(), batches(torch.float32), recipe(), STEPS):
        watched.eval()
        watched(torch.ones(3, 4, 4))
    for first, other in zip(undisturbed.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(first, other)


def test_the_loop_yields_once_a_batch_and_stops_with_them() -> None:
    model, made = network(), batches(torch.float32, steps=4)
    before = [from_labels().loss(deepcopy(model).train()(made[0].inputs), made[0]).mean()]
    steps = list(train(model, from_labels(), iter(made), recipe(), total=100))
    assert [step.done for step in steps] == [1, 2, 3, 4]
    assert not any(step.loss.requires_grad for step in steps)
    torch.testing.assert_close(steps[0].loss, before[0].detach())  # before its update, without penalties
    assert list(train(model, from_labels(), [], recipe(), total=1)) == []


def test_dropout_takes_part_in_training() -> None:
    """Two streams, two results; one stream, one result: else the seed of a run would not decide it."""
    from distillbias.models.dropout import give_stream

    def trained(seed: int) -> Tensor:
        model = tiny.mlp(dropout=0.5)
        give_stream(model, stream(seed))
        inputs = torch.rand(8, 28, 28, generator=stream(9))
        made = [Batch(inputs, torch.arange(8), None)] * 2
        list(train(model, from_labels(), made, recipe(), 2))
        return model.answer.weight.detach()

    assert torch.equal(trained(0), trained(0)) and not torch.equal(trained(0), trained(1))
