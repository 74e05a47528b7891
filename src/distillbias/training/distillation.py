"""Distillation losses: pure functions of logits, one value per example; the caller averages.

A new loss goes here, and its literal twin into tests/reference/distillation.py.
"""

from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

from distillbias.errors import InputError
from distillbias.models import compiled

Logits = Float[Tensor, "batch classes"]
Factor = Literal["tau2", "one", "inv_tau2"]


def temperature_factor(factor: str, temperature: float) -> float:
    """What the divergence is multiplied by: tau**2 (Hinton et al. 2015, section 2.1), 1 (the paper's equation 2),
    or 1 / tau**2 (the authors' code; paper-facts T5)."""
    if factor not in get_args(Factor):
        raise InputError(f"unknown temperature factor {factor!r}; it is one of {', '.join(get_args(Factor))}")
    return {"tau2": temperature**2, "one": 1.0, "inv_tau2": temperature**-2}[factor]


def kl_from_teacher(
    student: Logits, teacher: Logits, temperature: float = 1.0, factor: Factor = "tau2"
) -> Float[Tensor, " batch"]:
    """KL(teacher || student) of the softened answers, in nats, times the temperature factor.

    Zero exactly when both give the same probabilities. The papers write the cross-entropy instead,
    which has the same gradient and differs by the teacher's entropy. With factor `tau2` the gradient
    keeps the size of a label's at every temperature (Hinton, Vinyals & Dean 2015, section 2.1).
    """
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}; it must be positive")
    scale = temperature_factor(factor, temperature)
    at_once = compiled.divergence(student, teacher, temperature, scale)
    if at_once is not None:
        return at_once
    log_p = (teacher / temperature).log_softmax(-1)
    log_q = (student / temperature).log_softmax(-1)
    return scale * (log_p.exp() * (log_p - log_q)).sum(-1)
