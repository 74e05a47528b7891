"""The fixed example of thirteen projects' conventions: values from the formulas, not from our code."""

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import distillation as twin

from distillbias.errors import InputError
from distillbias.models.output import Output
from distillbias.training.distillation import kl_from_teacher, temperature_factor
from distillbias.training.objectives import Batch, from_labels, from_teacher

TEACHER = torch.tensor([[2, 1, 0.1], [0.5, 2.5, -1]], dtype=torch.double)
STUDENT = torch.tensor([[1.5, 1.2, 0.3], [0.2, 1.9, -0.5]], dtype=torch.double)
LABELS = torch.tensor([0, 1])


def double(row: list[float]) -> torch.Tensor:
    return torch.tensor([row], dtype=torch.double)


logits = st.lists(st.floats(-8, 8), min_size=3, max_size=3)


@pytest.mark.parametrize(
    ("temperature", "factor", "value"),
    [(4.0, "tau2", 0.07518086), (4.0, "one", 0.00469880), (5.0, "tau2", 0.07694661), (1.0, "one", 0.04169308)],
)
def test_published_values(temperature: float, factor, value: float) -> None:
    assert kl_from_teacher(STUDENT, TEACHER, temperature, factor).mean().item() == pytest.approx(value, abs=1e-8)


def test_reverse_is_another_divergence() -> None:
    assert kl_from_teacher(TEACHER, STUDENT, 1.0, "one").mean().item() == pytest.approx(0.04659236, abs=1e-8)


@given(logits, logits, st.floats(0.5, 10))
def test_matches_its_literal_twin(student, teacher, temperature) -> None:
    ours = kl_from_teacher(double(student), double(teacher), temperature, "one")
    assert ours.item() == pytest.approx(twin.divergence(student, teacher, temperature), abs=1e-9)


@given(logits, logits, st.floats(0.5, 10))
def test_cross_entropy_differs_by_the_teachers_entropy_so_the_gradient_is_the_same(student, teacher, temperature):
    leaf = double(student).requires_grad_()
    kl_from_teacher(leaf, double(teacher), temperature, "one").sum().backward()
    again = double(student).requires_grad_()
    p = (double(teacher) / temperature).softmax(-1)
    (-(p * (again / temperature).log_softmax(-1)).sum()).backward()
    torch.testing.assert_close(leaf.grad, again.grad, atol=1e-9, rtol=1e-7)
    entropy = scipy.stats.entropy(twin.softened(teacher, temperature))
    difference = twin.cross_entropy(student, teacher, temperature) - twin.divergence(student, teacher, temperature)
    assert difference == pytest.approx(entropy, abs=1e-9)


@given(logits, st.floats(-5, 5), st.floats(0.5, 10))
def test_a_perfect_student_has_zero_divergence(teacher, shift, temperature) -> None:
    z = double(teacher)
    assert kl_from_teacher(z + shift, z, temperature).abs().max() < 1e-9  # softmax ignores a shift


def test_factors_at_five() -> None:
    assert [temperature_factor(f, 5.0) for f in ("tau2", "one", "inv_tau2")] == pytest.approx([25, 1, 0.04])
    with pytest.raises(InputError, match="'tau'.*tau2, one, inv_tau2"):
        temperature_factor("tau", 5.0)
    with pytest.raises(InputError, match="positive"):
        kl_from_teacher(STUDENT, TEACHER, 0.0)


def objective_value(objective) -> torch.Tensor:
    return objective.loss(Output(STUDENT.float(), {}), Batch(torch.zeros(2), LABELS, TEACHER.float()))


def test_objectives_give_one_value_an_example() -> None:
    hard = objective_value(from_labels())
    assert hard.mean().item() == pytest.approx(0.47781373, abs=1e-6)
    taught = objective_value(from_teacher(4.0, 1.0, "tau2", True))
    torch.testing.assert_close(taught, kl_from_teacher(STUDENT, TEACHER, 4.0).float())
    mixed = objective_value(from_teacher(4.0, 0.5, "tau2", True))
    assert mixed.mean().item() == pytest.approx(0.27649729, abs=1e-6)  # torchdistill at alpha 0.5


def test_relative_penalties_follow_the_data_term() -> None:
    assert from_labels().penalty_scale == 1
    assert from_teacher(5.0, 1.0, "tau2", True).penalty_scale == pytest.approx(1)
    assert from_teacher(5.0, 1.0, "one", True).penalty_scale == pytest.approx(1 / 25)
    assert from_teacher(5.0, 1.0, "inv_tau2", True).penalty_scale == pytest.approx(1 / 625)
    assert from_teacher(5.0, 1.0, "inv_tau2", False).penalty_scale == 1
