"""Literal twins of the distillation losses: loops over plain floats, from the formulas."""

from math import exp, log


def softened(logits: list[float], temperature: float) -> list[float]:
    powers = [exp(z / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


def divergence(student: list[float], teacher: list[float], temperature: float) -> float:
    """sum_c p log(p / q), p of the teacher, q of the student."""
    p, q = softened(teacher, temperature), softened(student, temperature)
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))


def cross_entropy(student: list[float], teacher: list[float], temperature: float) -> float:
    """The paper's equation 2: H(p, q) = -sum_c p log q."""
    p, q = softened(teacher, temperature), softened(student, temperature)
    return -sum(a * log(b) for a, b in zip(p, q, strict=True))
