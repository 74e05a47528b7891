"""Against a literal twin in float64: losses and gradients, whatever the chunks and the padding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import next_word as twin
from tests.ways import way  # noqa: F401
from torch.testing import assert_close

from distillbias.errors import InputError
from distillbias.models.output import Factored, Output
from distillbias.training import next_word
from distillbias.training.distillation import temperature_factor
from distillbias.training.next_word import cross_entropy, kl_from_teacher, losses, targets
from distillbias.training.objectives import Batch, from_labels, from_teacher

WORDS = 11


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.double) -> torch.Tensor:
    return torch.randn(*shape, generator=stream(seed), dtype=dtype)


def factored(batch: int, time: int, width: int, seed: int = 0, dtype: torch.dtype = torch.double) -> Factored:
    made = random(batch, time, width, seed=seed, dtype=dtype), random(WORDS, width, seed=seed + 1, dtype=dtype)
    return Factored(*(tensor.requires_grad_() for tensor in made))


def rows(batch: int, time: int, seed: int = 0) -> torch.Tensor:
    """Rows of at least 2 words, 0 after their end."""
    words = torch.randint(1, WORDS, (batch, time), generator=stream(seed))
    lengths = torch.randint(2, time + 1, (batch, 1), generator=stream(seed + 1))
    return words * (torch.arange(time) < lengths)


def gradients(loss: torch.Tensor, student: Factored) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, student)


sizes = st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(1, 5), st.integers(1, 30), st.integers(0, 99))


def test_targets_by_hand() -> None:
    assert targets(torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])).tolist() == [[7, 8, 3], [9, 3, 0]]


@settings(max_examples=30)
@given(sizes)
def test_cross_entropy_is_the_twins(size) -> None:
    batch, time, width, chunk, seed = size
    student, right = factored(batch, time, width, seed), targets(rows(batch, time, seed))
    loss, expected = cross_entropy(student, right, chunk), twin.cross_entropy(*student, right)
    assert_close(loss, expected)
    assert_close(gradients(2.5 * loss, student), gradients(2.5 * expected, student))


@settings(max_examples=30)
@given(sizes, st.sampled_from(["tau2", "one", "inv_tau2"]), st.floats(0.5, 5))
def test_divergence_is_the_twins(size, factor, temperature) -> None:
    batch, time, width, chunk, seed = size
    student, right = factored(batch, time, width, seed), targets(rows(batch, time, seed))
    teacher = factored(batch, time - 1, width + 2, seed + 5)  # another width; it says nothing behind the last target
    loss = kl_from_teacher(student, teacher, right, temperature, factor, chunk)
    expected = twin.divergence(student, teacher, right, temperature) * temperature_factor(factor, temperature)
    assert_close(loss, expected)
    assert_close(gradients(2.5 * loss, student), gradients(2.5 * expected, student))


@pytest.mark.parametrize("taught", [False, True])
def test_gradients_by_differences(taught: bool) -> None:
    right, teacher = targets(rows(2, 3)), factored(2, 3, 2, 7)

    def loss(*student: torch.Tensor) -> torch.Tensor:
        if taught:
            return kl_from_teacher(Factored(*student), teacher, right, 2.0, chunk=3)
        return cross_entropy(Factored(*student), right, chunk=3)

    assert torch.autograd.gradcheck(loss, tuple(factored(2, 3, 2)), fast_mode=True)


@pytest.mark.parametrize("block", [1, 3, 32])
def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    student, right = factored(4, 6, 5), targets(rows(4, 6))
    expected = cross_entropy(student, right)
    monkeypatch.setattr(next_word, "BLOCK", block)
    assert_close(cross_entropy(student, right), expected)


def test_a_batch_is_the_sum_of_its_parts_by_their_words() -> None:
    student, teacher, right = factored(6, 7, 4), factored(6, 7, 4, 8), targets(rows(6, 7))
    for loss in (
        lambda part: cross_entropy(Factored(student.states[part], student.matrix), right[part]),
        lambda part: kl_from_teacher(
            Factored(student.states[part], student.matrix), Factored(teacher.states[part], teacher.matrix), right[part]
        ),
    ):
        parts = [slice(0, 1), slice(1, 4), slice(4, 6)]
        share = [(right[part] != 0).sum() / (right != 0).sum() for part in parts]
        split = sum(weight * loss(part) for weight, part in zip(share, parts, strict=True))
        assert_close(gradients(split, student), gradients(loss(slice(None)), student))


@pytest.mark.parametrize("dtype", [torch.double, torch.float32, torch.bfloat16])
def test_a_perfect_student_has_nothing_to_learn(dtype: torch.dtype) -> None:
    student, right = factored(3, 5, 4, dtype=dtype), targets(rows(3, 5))
    loss = kl_from_teacher(student, student, right, 2.0)
    assert loss.item() == 0
    assert all(gradient.abs().max() == 0 for gradient in gradients(loss, student))


def test_padding_gets_no_gradient_and_no_gradient_goes_to_the_teacher() -> None:
    student, teacher, right = factored(4, 6, 3), factored(4, 6, 3, 9), targets(rows(4, 6))
    for loss in (cross_entropy(student, right), kl_from_teacher(student, teacher, right)):
        found = gradients(loss, student)[0]
        assert found[:, -1].abs().max() == 0 and found[:, :-1][right == 0].abs().max() == 0
        assert (found[:, :-1][right != 0].abs().amax(-1) > 0).all()
    kl_from_teacher(student, teacher, right).backward()
    assert teacher.states.grad is None and teacher.matrix.grad is None


def test_products_in_bf16_softmax_in_float32() -> None:
    exact = factored(8, 12, 16, dtype=torch.float32)
    rough = Factored(exact.states.detach().bfloat16().requires_grad_(), exact.matrix)
    right = targets(rows(8, 12))
    loss, expected = cross_entropy(rough, right), cross_entropy(exact, right)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-2)
    for found, wanted in zip(gradients(loss, rough), gradients(expected, exact), strict=True):
        assert torch.nn.functional.cosine_similarity(found.flatten().float(), wanted.flatten(), dim=0) > 0.999
    assert gradients(cross_entropy(rough, right), rough)[1].dtype == torch.float32


def test_losses_of_each_word_have_the_mean_of_all() -> None:
    student, right = factored(4, 6, 3), targets(rows(4, 6))
    each = losses(student, right, chunk=5)
    assert each.shape == right.shape and (each[right == 0] == 0).all() and not each.requires_grad
    assert_close(each.sum() / (right != 0).sum(), cross_entropy(student, right).detach())


def test_objectives_take_language_models() -> None:
    words, student, teacher = rows(4, 6), factored(4, 6, 3), factored(4, 5, 2, 9)
    batch = Batch(words, torch.zeros(4, dtype=torch.int64), teacher)
    output = Output(student, {"penultimate": student.states})
    label, taught = cross_entropy(student, targets(words)), kl_from_teacher(student, teacher, targets(words), 2.0)
    assert_close(from_labels().loss(output, batch), label)
    assert_close(from_teacher(2.0, 1.0, "tau2", True).loss(output, batch), taught)
    assert_close(from_teacher(2.0, 0.25, "tau2", True).loss(output, batch), 0.25 * taught + 0.75 * label)


def test_a_temperature_is_positive() -> None:
    with pytest.raises(InputError, match="temperature is 0.0; it must be positive"):
        kl_from_teacher(factored(1, 3, 2), factored(1, 3, 2), targets(rows(1, 3)), 0.0)
