"""What an MLP and its loss compute of a row for each example."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def normalise(
    x,
    added,
    y,
    draws,
    found,
    weight,
    bias,
    running_mean,
    running_variance,
    batches,
    first_kept,
    scale,
    rows,
    channels,
    eps,
    momentum,
    drop: tl.constexpr,
    size: tl.constexpr,
    block: tl.constexpr,
):
    """What comes of a bias, ReLU, batch norm and, where `drop`, dropout, of all rows of some channels."""
    row = tl.arange(0, size)[:, None]
    channel = tl.program_id(0) * block + tl.arange(0, block)[None, :]
    real = channel < channels
    inside = (row < rows) & real
    at = row * channels + channel
    value = tl.load(x + at, inside, 0).to(tl.float32) + tl.load(added + channel, real, 0).to(tl.float32)
    value = tl.where((value <= 0) | (row >= rows), 0.0, value)  # what is not a number stays that
    mean = tl.sum(value, 0)[None, :] / rows
    apart = tl.where(inside, value - mean, 0.0)
    variance = tl.sum(apart * apart, 0)[None, :] / rows
    factor = 1 / tl.sqrt(variance + eps)
    tl.store(found + channel, mean, real)
    tl.store(found + channels + channel, factor, real)
    before = tl.load(running_mean + channel, real, 0)
    tl.store(running_mean + channel, before + momentum * (mean - before), real)
    before = tl.load(running_variance + channel, real, 0)
    unbiased = variance * (rows / (rows - 1))
    tl.store(running_variance + channel, before + momentum * (unbiased - before), real)
    if tl.program_id(0) == 0:
        tl.store(batches, tl.load(batches) + 1)
    factor *= tl.load(weight + channel, real, 0).to(tl.float32)
    value = apart * factor + tl.load(bias + channel, real, 0).to(tl.float32)
    if drop:
        value = tl.where(tl.load(draws + at, inside, 0) >= first_kept, value * scale, 0.0)
    tl.store(y + at, value.to(y.dtype.element_ty), inside)


@triton.jit
@no_type_check
def normalise_back(
    x,
    added,
    upstream,
    draws,
    found,
    weight,
    below,
    slopes,
    first_kept,
    scale,
    rows,
    channels,
    drop: tl.constexpr,
    size: tl.constexpr,
    block: tl.constexpr,
):
    """The slopes before `normalise`, and those of the norm's bias and weight and of the bias that was added."""
    row = tl.arange(0, size)[:, None]
    channel = tl.program_id(0) * block + tl.arange(0, block)[None, :]
    real = channel < channels
    inside = (row < rows) & real
    at = row * channels + channel
    value = tl.load(x + at, inside, 0).to(tl.float32) + tl.load(added + channel, real, 0).to(tl.float32)
    value = tl.where((value <= 0) | (row >= rows), 0.0, value)
    mean, factor = tl.load(found + channel, real, 0), tl.load(found + channels + channel, real, 0)
    normal = (value - mean) * factor
    slope = tl.load(upstream + at, inside, 0).to(tl.float32)
    if drop:
        slope = tl.where(tl.load(draws + at, inside, 0) >= first_kept, slope * scale, 0.0)
    of_bias, of_weight = tl.sum(slope, 0)[None, :], tl.sum(slope * normal, 0)[None, :]
    tl.store(slopes + channel, of_bias, real)
    tl.store(slopes + channels + channel, of_weight, real)
    factor *= tl.load(weight + channel, real, 0).to(tl.float32)
    slope = factor * (slope - of_bias / rows - normal * of_weight / rows)
    slope = tl.where(value <= 0, 0.0, slope)
    tl.store(slopes + 2 * channels + channel, tl.sum(slope, 0)[None, :], real)
    tl.store(below + at, slope.to(below.dtype.element_ty), inside)


@triton.jit
@no_type_check
def _log_softmax(logits, at, inside, real, temperature):
    value = tl.where(real, tl.load(logits + at, inside, 0) / temperature, float("-inf"))
    value -= tl.max(value, 1)[:, None]
    return tl.where(real, value - tl.log(tl.sum(tl.exp(value), 1))[:, None], 0.0)


@triton.jit
@no_type_check
def diverge(student, teacher, losses, temperature, factor, rows, classes, tile: tl.constexpr, block: tl.constexpr):
    """Of each row `factor` times KL(teacher || student) of the softened answers."""
    row, column = tl.program_id(0) * tile + tl.arange(0, tile)[:, None], tl.arange(0, block)[None, :]
    inside = (row < rows) & (column < classes)
    at = row * classes + column
    log_p = _log_softmax(teacher, at, inside, column < classes, temperature)
    log_q = _log_softmax(student, at, inside, column < classes, temperature)
    divergence = tl.sum(tl.exp(log_p) * (log_p - log_q), 1)[:, None]
    tl.store(losses + row, factor * divergence, row < rows)


@triton.jit
@no_type_check
def diverge_back(
    student, teacher, upstream, below, temperature, factor, rows, classes, tile: tl.constexpr, block: tl.constexpr
):
    """The slopes of the student's logits: those of each row's loss by factor / temperature * (q - p)."""
    row, column = tl.program_id(0) * tile + tl.arange(0, tile)[:, None], tl.arange(0, block)[None, :]
    inside = (row < rows) & (column < classes)
    at = row * classes + column
    p = tl.exp(_log_softmax(teacher, at, inside, column < classes, temperature))
    q = tl.exp(_log_softmax(student, at, inside, column < classes, temperature))
    slope = tl.load(upstream + row, row < rows, 0) * (factor / temperature)
    tl.store(below + at, slope * (q - p), inside)
