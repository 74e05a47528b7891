"""Literal twins of the next-word losses: whole logits in float64, gradients by autograd."""

from torch import Tensor


def logits(states: Tensor, matrix: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """[targets, words] of all positions that have a target, and which positions those are."""
    there = targets != 0
    return (states.double()[:, : targets.shape[1]] @ matrix.double().T)[there], there


def cross_entropy(states: Tensor, matrix: Tensor, targets: Tensor) -> Tensor:
    z, there = logits(states, matrix, targets)
    return -z.log_softmax(-1).gather(1, targets[there][:, None]).mean()


def divergence(student: tuple, teacher: tuple, targets: Tensor, temperature: float) -> Tensor:
    q = (logits(*student, targets)[0] / temperature).softmax(-1)
    p = (logits(*teacher, targets)[0] / temperature).softmax(-1)
    return (p * (p / q).log()).sum(-1).mean()
