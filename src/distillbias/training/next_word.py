"""Losses over the next word, chunk by chunk: the logits of a batch over a vocabulary are never whole in memory.

    row        <bos> the  keys are  here <eos>
    targets    the   keys are  here <eos>         what the states at <bos> the keys are here must say

A loss is a mean over the targets of a batch, so all that comes back to it from behind is one number. Each chunk can
therefore give its gradient at once, in the forward pass, and be forgotten: at most a few blocks of chunk x vocabulary
live at a time. Of 1,536 positions, 10,034 words and width 256 `benchmarks/next_word.py` measured, forward and backward
in bf16 on one thread: cross-entropy 54 us a token and 50 MiB, whole 110 us and 171 MiB; KL 69 us and 67 MiB, whole 206
us and 326 MiB (`results/benchmarks/next_word.txt`). On a CPU's one thread what is made of a chunk's logits is compiled
(`models/native.c`).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillbias.errors import InputError
from distillbias.models.native import native
from distillbias.models.output import Factored
from distillbias.training.distillation import Factor, temperature_factor

CHUNK = 512  # positions whose logits are made together: one product with the vocabulary
BLOCK = 32  # positions whose softmax is made together: on a CPU they stay in the cache

Targets = Int[Tensor, "batch answers"]
# (logits [block, words], what they are compared with) -> losses [block]; gradients by the logits take their place
Kernel = Callable[[Tensor, Tensor], Tensor]


def targets(words: Int[Tensor, "batch time"]) -> Int[Tensor, "batch time-1"]:
    """The word that follows each word of a row; 0 where none does, which no loss counts (T34)."""
    return words[:, 1:]


def cross_entropy(student: Factored, targets: Targets, chunk: int = CHUNK) -> Float[Tensor, ""]:
    """Mean over all targets of -log p(target), in nats. States behind the last target are left aside."""
    right = targets.flatten()[:, None]
    return _mean(student, targets, _label_kernel, lambda where: right[where], chunk)


def kl_from_teacher(
    student: Factored,
    teacher: Factored,
    targets: Targets,
    temperature: float = 1.0,
    factor: Factor = "tau2",
    chunk: int = CHUNK,
) -> Float[Tensor, ""]:
    """Mean over all targets of KL(teacher || student) of the softened answers, in nats, times the temperature factor.

    What the right word is does not matter, only that there is one. Zero exactly when both give the same probabilities;
    conventions as in `distillation.kl_from_teacher`. No gradient goes to the teacher.
    """
    if not temperature > 0:
        raise InputError(f"temperature is {temperature}; it must be positive")
    states, words = _states(teacher.detach(), targets, student.states.dtype)

    def kernel(logits: Tensor, said: Tensor) -> Tensor:
        if functions := native(logits):
            losses = torch.empty(len(logits))
            functions("kl_from_teacher", logits, said, 1 / temperature, 1.0, logits, losses, *logits.shape)
            return losses
        z, t = _precise(logits) / temperature, _precise(said) / temperature
        (q, log_total_q), (p, log_total_p) = _softmax(z), _softmax(t)
        divergence = torch.linalg.vecdot(p, t.sub_(z)) - log_total_p + log_total_q
        logits.copy_(q.sub_(p).mul_(1 / temperature))
        return divergence

    mean = _mean(student, targets, kernel, lambda where: states[where] @ words.T, chunk)
    return temperature_factor(factor, temperature) * mean


def losses(logits: Factored, targets: Targets, chunk: int = CHUNK) -> Float[Tensor, "batch answers"]:
    """-log p(target) in nats for each target, 0 where there is none. No gradient."""
    states, words = _states(logits.detach(), targets, logits.states.dtype)
    pairs = zip(states.split(chunk), targets.flatten().split(chunk), strict=True)
    found = [F.cross_entropy(_precise(part @ words.T), right, reduction="none") for part, right in pairs]
    return torch.cat(found).view(targets.shape) * (targets != 0)


def _label_kernel(logits: Tensor, right: Tensor) -> Tensor:
    if functions := native(logits):
        losses = torch.empty(len(logits))
        functions("cross_entropy", logits, right.contiguous(), losses, *logits.shape)
        return losses
    z = _precise(logits)
    q, log_total = _softmax(z)
    losses = log_total - z.gather(1, right)[:, 0]
    logits.copy_(q.scatter_add_(1, right, q.new_full((1, 1), -1.0).expand_as(right)))
    return losses


def _softmax(z: Float[Tensor, "block words"]) -> tuple[Float[Tensor, "block words"], Float[Tensor, " block"]]:
    """Probabilities and log sum exp. The second follows from the first: one exponential a word, the costly part."""
    q = z.softmax(-1)
    return q, z.amax(-1) - q.amax(-1).log()


def _mean(
    student: Factored, targets: Targets, kernel: Kernel, beside: Callable[[slice], Tensor], chunk: int
) -> Float[Tensor, ""]:
    """Mean of the kernel's losses over the positions that have a target; 0 if none has."""
    counted = _precise((targets.flatten() != 0).to(student.states.dtype))
    states = student.states[:, : targets.shape[1]].flatten(0, 1)
    return _Mean.apply(states, student.matrix, counted / counted.sum().clamp(min=1), kernel, beside, chunk)


class _Mean(torch.autograd.Function):
    """Sum of weight * loss over positions. The gradients are made in the forward pass; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        matrix: Tensor,
        weights: Tensor,
        kernel: Kernel,
        beside: Callable[[slice], Tensor],
        chunk: int,
    ) -> Tensor:
        words = matrix.to(states.dtype)
        mean = weights.new_zeros(())
        for_states, for_matrix = torch.empty_like(states), torch.zeros_like(matrix)
        block = BLOCK if states.device.type == "cpu" else chunk
        for start in range(0, len(states), chunk):
            where = slice(start, start + chunk)
            seen, weight = states[where], weights[where]
            logits, compared = seen @ words.T, beside(where)
            losses = torch.empty_like(weight)
            for rows in (slice(at, at + block) for at in range(0, len(seen), block)):
                losses[rows] = kernel(logits[rows], compared[rows])
            mean += weight @ losses
            # the weights go on the narrow factors: scaling a block of the vocabulary's width costs another pass
            weight = weight.to(states.dtype)[:, None]
            for_states[where] = logits @ words * weight
            for_matrix += logits.T @ (seen * weight)
        ctx.save_for_backward(for_states, for_matrix)
        return mean

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        for_states, for_matrix = ctx.saved_tensors
        scale = upstream[0]
        return for_states * scale.to(for_states.dtype), for_matrix * scale.to(for_matrix.dtype), None, None, None, None


def _states(logits: Factored, targets: Targets, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """[positions, width] and the matrix, in the type that products are made in."""
    return logits.states[:, : targets.shape[1]].flatten(0, 1).to(dtype), logits.matrix.to(dtype)


def _precise(x: Tensor) -> Tensor:
    """float32 at least: exponentials and their sums are never made in bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
