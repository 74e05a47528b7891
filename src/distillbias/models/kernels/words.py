"""What Transformers compute of words between their products, and dropout."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def drop(x, draws, y, first_kept, scale, values, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < values
    kept = tl.load(draws + at, inside, 0) >= first_kept
    value = tl.where(kept, tl.load(x + at, inside, 0).to(tl.float32) * scale, 0.0)
    tl.store(y + at, value.to(y.dtype.element_ty), inside)


@triton.jit
@no_type_check
def add_and_norm(
    x,
    added,
    draws,
    weight,
    bias,
    total,
    y,
    statistics,
    first_kept,
    scale,
    eps,
    rows,
    width,
    drop: tl.constexpr,
    tile: tl.constexpr,
    block: tl.constexpr,
):
    """The sum of x and, dropped out where `drop`, what is added; its layer norm; of each row mean and 1 / deviation."""
    row, column = tl.program_id(0) * tile + tl.arange(0, tile)[:, None], tl.arange(0, block)[None, :]
    inside = (row < rows) & (column < width)
    at = row * width + column
    value = tl.load(added + at, inside, 0).to(tl.float32)
    if drop:
        value = tl.where(tl.load(draws + at, inside, 0) >= first_kept, value * scale, 0.0)
    value += tl.load(x + at, inside, 0)
    tl.store(total + at, value, inside)
    mean = tl.sum(value, 1)[:, None] / width
    apart = tl.where(inside, value - mean, 0.0)
    factor = 1 / tl.sqrt(tl.sum(apart * apart, 1)[:, None] / width + eps)
    tl.store(statistics + row, mean, row < rows)
    tl.store(statistics + rows + row, factor, row < rows)
    value = apart * factor * tl.load(weight + column, column < width, 0) + tl.load(bias + column, column < width, 0)
    tl.store(y + at, value.to(y.dtype.element_ty), inside)


@triton.jit
@no_type_check
def add_and_norm_back(
    above,
    upstream,
    total,
    weight,
    draws,
    statistics,
    down,
    on_added,
    sums,
    first_kept,
    scale,
    rows,
    width,
    part: tl.constexpr,
    over: tl.constexpr,
    drop: tl.constexpr,
    tile: tl.constexpr,
    block: tl.constexpr,
):
    """The slopes of x and of what was added, from those of the norm and, where `over`, of the sum; of each program's
    rows the sums of the slopes of weight and bias."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    column = tl.arange(0, block)[None, :]
    gain = tl.load(weight + column, column < width, 0)
    on_weight = tl.zeros((tile, block), tl.float32)
    on_bias = tl.zeros((tile, block), tl.float32)
    for one in range(part):
        row = (program * part + one) * tile + tl.arange(0, tile)[:, None]
        inside = (row < rows) & (column < width)
        at = row * width + column
        mean = tl.load(statistics + row, row < rows, 0)
        factor = tl.load(statistics + rows + row, row < rows, 0)
        normal = (tl.load(total + at, inside, 0) - mean) * factor
        slope = tl.load(upstream + at, inside, 0).to(tl.float32)
        on_weight += slope * normal
        on_bias += slope
        slope *= gain
        mean = tl.sum(slope, 1)[:, None] / width
        slope = factor * (slope - mean - normal * (tl.sum(slope * normal, 1)[:, None] / width))
        if over:
            slope += tl.load(above + at, inside, 0)
        tl.store(down + at, slope, inside)
        if drop:
            slope = tl.where(tl.load(draws + at, inside, 0) >= first_kept, slope * scale, 0.0)
        tl.store(on_added + at, slope.to(on_added.dtype.element_ty), inside)
    at = program * width + column
    tl.store(sums + at, tl.sum(on_weight, 0)[None, :], column < width)
    tl.store(sums + programs * width + at, tl.sum(on_bias, 0)[None, :], column < width)


@triton.jit
@no_type_check
def _shares(query, key, hidden, word_stride, softness, time, size: tl.constexpr):
    """Softmax of each word's scores, plus what is hidden."""
    word, other = tl.arange(0, size)[:, None], tl.arange(0, size)[None, :]
    scores = tl.dot(query, tl.trans(key), input_precision="ieee") * softness
    scores += tl.load(hidden + word * word_stride + other, (word < time) & (other < time), 0)
    scores = tl.where(other < time, scores, -3e38)  # not infinite, or nothing would be left of a row of no numbers
    shares = tl.exp(scores - tl.max(scores, 1)[:, None])
    return shares / tl.sum(shares, 1)[:, None]


@triton.jit
@no_type_check
def attend(
    qkv,
    hidden,
    draws,
    looked,
    row_stride,
    word_stride,
    first_kept,
    scale,
    softness,
    time,
    heads,
    drop: tl.constexpr,
    size: tl.constexpr,
    each: tl.constexpr,
):
    """Of one head of one sentence what its words get from those that they look at."""
    program = tl.program_id(0)
    sentence, head = program // heads, program % heads
    word, place, other = tl.arange(0, size)[:, None], tl.arange(0, each)[None, :], tl.arange(0, size)[None, :]
    width = heads * each
    at = (sentence * time + word) * 3 * width + head * each + place
    query, key = tl.load(qkv + at, word < time, 0), tl.load(qkv + at + width, word < time, 0)
    value = tl.load(qkv + at + 2 * width, word < time, 0)
    shares = _shares(query, key, hidden + sentence * row_stride, word_stride, softness, time, size)
    if drop:
        draw = tl.load(draws + (program * time + word) * time + other, (word < time) & (other < time), 0)
        shares = tl.where(draw >= first_kept, shares * scale, 0.0)
    found = tl.dot(shares.to(value.dtype), value, input_precision="ieee")
    at = (sentence * time + word) * width + head * each + place
    tl.store(looked + at, found.to(looked.dtype.element_ty), word < time)


@triton.jit
@no_type_check
def attend_back(
    upstream,
    qkv,
    hidden,
    draws,
    down,
    row_stride,
    word_stride,
    first_kept,
    scale,
    softness,
    time,
    heads,
    drop: tl.constexpr,
    size: tl.constexpr,
    each: tl.constexpr,
):
    """The slopes of `qkv`; shares are made again."""
    program = tl.program_id(0)
    sentence, head = program // heads, program % heads
    word, place, other = tl.arange(0, size)[:, None], tl.arange(0, each)[None, :], tl.arange(0, size)[None, :]
    width = heads * each
    at = (sentence * time + word) * 3 * width + head * each + place
    query, key = tl.load(qkv + at, word < time, 0), tl.load(qkv + at + width, word < time, 0)
    value = tl.load(qkv + at + 2 * width, word < time, 0)
    slope = tl.load(upstream + (sentence * time + word) * width + head * each + place, word < time, 0)
    shares = _shares(query, key, hidden + sentence * row_stride, word_stride, softness, time, size)
    on_shares = tl.dot(slope, tl.trans(value), input_precision="ieee")
    left = shares
    if drop:
        draw = tl.load(draws + (program * time + word) * time + other, (word < time) & (other < time), 0)
        left = tl.where(draw >= first_kept, shares * scale, 0.0)
        on_shares = tl.where(draw >= first_kept, on_shares * scale, 0.0)
    on_scores = shares * (on_shares - tl.sum(on_shares * shares, 1)[:, None]) * softness
    on_scores = on_scores.to(query.dtype)
    on_query = tl.dot(on_scores, key, input_precision="ieee")
    on_key = tl.dot(tl.trans(on_scores), query, input_precision="ieee")
    on_value = tl.dot(tl.trans(left.to(slope.dtype)), slope, input_precision="ieee")
    tl.store(down + at, on_query.to(down.dtype.element_ty), word < time)
    tl.store(down + at + width, on_key.to(down.dtype.element_ty), word < time)
    tl.store(down + at + 2 * width, on_value.to(down.dtype.element_ty), word < time)
