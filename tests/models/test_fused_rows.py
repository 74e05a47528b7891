"""What an MLP and its loss compute of rows in one kernel each way, beside torch's operators in double precision."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillbias.models import fused_rows
from distillbias.models.dropout import Dropout
from distillbias.models.kernels import ready
from distillbias.models.output import batch_norm
from distillbias.training.distillation import kl_from_teacher

pytest.importorskip("triton")  # where torch has no builds for GPUs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROUNDED = 2**-8 if DEVICE == "cuda" else 2**-7  # of bf16; Triton's interpreter cuts digits off
SHAPES = [(5, 3, 0.0), (6, 16, 0.3), (37, 33, 0.1), (128, 40, 0.5)]  # (rows, channels, rate)


def layers(channels: int, rate: float) -> tuple[nn.BatchNorm1d, Dropout]:
    norm, dropout = batch_norm(nn.BatchNorm1d, channels).to(DEVICE), Dropout(rate)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels, generator=draws))  # of either sign
        norm.bias.copy_(torch.randn(channels, generator=draws))
    dropout.stream = torch.Generator(DEVICE).manual_seed(7)
    return norm, dropout


def values(rows: int, channels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Some channels mostly on either side of zero."""
    draws = torch.Generator().manual_seed(2)
    return (torch.randn(rows, channels, generator=draws) + torch.randn(channels, generator=draws)).to(DEVICE, dtype)


def biases(channels: int) -> Tensor:
    return torch.randn(channels, generator=torch.Generator().manual_seed(6)).to(DEVICE)


def by_torch(x: Tensor, added: Tensor, norm: nn.BatchNorm1d, dropout: Dropout) -> Tensor:
    return dropout(norm(F.relu(x + added)))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_slopes_and_statistics_are_those_of_torch(shape: tuple[int, int, float]) -> None:
    rows, channels, rate = shape
    x, (norm, dropout) = values(rows, channels).requires_grad_(), layers(channels, rate)
    added = biases(channels).requires_grad_()
    exact, right = copy.deepcopy(norm).double(), x.detach().double().requires_grad_()
    as_well = added.detach().double().requires_grad_()
    again = layers(channels, rate)[1]
    for _ in range(2):  # statistics add up
        found = fused_rows.normalise(x, added, norm, dropout)
        expected = by_torch(right, as_well, exact, again)
    assert torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    found.backward(upstream)
    expected.backward(upstream.double())
    pairs = (x, right), (added, as_well), (norm.weight, exact.weight), (norm.bias, exact.bias)
    for ours, theirs in pairs:
        assert ours.grad is not None and theirs.grad is not None
        assert (ours.grad.double() - theirs.grad).norm() < 1e-5 * theirs.grad.norm()
    for name, buffer in exact.named_buffers():
        assert torch.allclose(norm.get_buffer(name).double(), buffer.double(), rtol=1e-5, atol=1e-7), name
    assert norm.num_batches_tracked == 2


def test_bf16_is_rounded_once() -> None:
    x, (norm, dropout) = values(37, 33, torch.bfloat16), layers(33, 0.3)
    exact, right = copy.deepcopy(norm).double(), x.double().requires_grad_()
    expected = by_torch(right, biases(33).double(), exact, layers(33, 0.3)[1])
    found = fused_rows.normalise(x.requires_grad_(), biases(33), norm, dropout)
    assert found.dtype == torch.bfloat16
    assert (found.double() - expected).abs().le(expected.abs() * ROUNDED + 1e-5).all()
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3)).to(DEVICE, torch.bfloat16)
    expected.backward(upstream.double())
    found.backward(upstream)
    assert x.grad is not None and right.grad is not None and x.grad.dtype == torch.bfloat16
    assert (x.grad.double() - right.grad).norm() < ROUNDED * right.grad.norm()


def test_what_is_not_a_number_is_not_hidden() -> None:
    x, (norm, dropout) = values(6, 20), layers(20, 0.0)
    x[3, 17] = torch.nan
    found = fused_rows.normalise(x, biases(20), norm, dropout)
    assert found[:, 17].isnan().all() and not found[:, :17].isnan().any() and not found[:, 18:].isnan().any()


def test_only_what_a_program_holds_on_a_gpu_is_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_rows, "ready", lambda device: True)
    x = values(6, 20)
    assert fused_rows.usable(x) == x.is_cuda
    assert not fused_rows.usable(x.cpu())
    assert not fused_rows.usable(x.repeat(100, 1))


@pytest.mark.parametrize("shape", [(1, 2), (37, 10), (300, 3), (5, 200)], ids=str)
@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_the_divergence_is_that_of_torch(shape: tuple[int, int], temperature: float) -> None:
    draws = torch.Generator().manual_seed(4)
    student, teacher = (5 * torch.randn(shape, generator=draws).to(DEVICE) for _ in range(2))
    right = student.cpu().double().requires_grad_()
    student.requires_grad_()
    found = fused_rows.divergence(student, teacher, temperature, 0.7)
    # on the CPU, so by torch's operators; of factor "one"
    expected = 0.7 * kl_from_teacher(right, teacher.cpu().double(), temperature, "one")
    assert torch.allclose(found.cpu().double(), expected, rtol=1e-5, atol=1e-6)
    upstream = torch.randn(len(found), generator=draws)
    found.backward(upstream.to(DEVICE))
    expected.backward(upstream.double())
    assert student.grad is not None and right.grad is not None
    assert torch.allclose(student.grad.cpu().double(), right.grad, rtol=1e-5, atol=1e-6)


def test_a_perfect_student_diverges_by_nothing() -> None:
    logits = 9 * torch.randn(70, 10, generator=torch.Generator().manual_seed(5)).to(DEVICE)
    student = logits.clone().requires_grad_()
    found = fused_rows.divergence(student, logits, 3.0, 9.0)
    found.sum().backward()
    assert student.grad is not None
    assert not found.any() and not student.grad.any()


def test_what_is_not_a_number_diverges_by_what_is_none() -> None:
    logits = torch.randn(70, 10, generator=torch.Generator().manual_seed(5)).to(DEVICE)
    student = logits.clone()
    student[7, 3] = torch.nan
    assert fused_rows.divergence(student, logits, 1.0, 1.0).isnan().nonzero().flatten().tolist() == [7]


def test_only_small_float32_answers_on_a_gpu_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_rows, "ready", lambda device: True)
    student, teacher = torch.randn(3, 10, device=DEVICE, requires_grad=True), torch.randn(3, 10, device=DEVICE)
    usable = fused_rows.divergence_usable
    assert usable(student, teacher) == student.is_cuda
    assert not usable(student.cpu(), teacher.cpu())
    assert not usable(student.detach(), teacher)  # evaluation
    assert not usable(student, student)
    assert not usable(student.double(), teacher)
    assert not usable(student.repeat(1, 30), teacher.repeat(1, 30))


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_on_a_gpu_the_loss_takes_this_way() -> None:
    assert ready(torch.device(DEVICE))
    student, teacher = torch.randn(3, 10, device=DEVICE, requires_grad=True), torch.randn(3, 10, device=DEVICE)
    found = kl_from_teacher(student, teacher, 2.0)
    assert "Diverge" in type(found.grad_fn).__name__
