"""Maxout, batch norm, max pooling, ReLU and dropout. Each program takes some rows of a matrix with all its channels.

Maps are channels-last: to a kernel [pixels, channels * group], of which maxout makes [pixels, channels]; what pooling
makes of it is [windows, channels]. A map of the type bf16 is read as float32.
"""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def _largest(x, at, inside, group: tl.constexpr):
    """The largest of each group of channels."""
    best = tl.load(x + at * group, inside, 0).to(tl.float32)
    for one in tl.static_range(1, group):
        value = tl.load(x + at * group + one, inside, 0).to(tl.float32)
        best = tl.where(value <= best, best, value)
    return best


@triton.jit
@no_type_check
def _pixel(window, out_columns, down: tl.constexpr, right: tl.constexpr, pool: tl.constexpr):
    """The row of the pixel at one place of each window."""
    pixel = window
    if pool > 1:
        column = window % out_columns
        row = window // out_columns  # of all images' rows
        pixel = (row * pool + down) * out_columns * pool + column * pool + right
    return pixel


@triton.jit
@no_type_check
def sum_values(
    x, sums, pixels, channels, part: tl.constexpr, group: tl.constexpr, rows: tl.constexpr, block: tl.constexpr
):
    """Of each program's pixels the mean and the squares about it. Summed about the mean of its first tile: squares
    about 0 would lose digits."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    channel = tl.arange(0, block)[None, :]
    start = program * part * rows
    pixel = start + tl.arange(0, rows)[:, None]
    inside = (pixel < pixels) & (channel < channels)
    first = tl.where(inside, _largest(x, pixel * channels + channel, inside, group), 0.0)
    about = tl.sum(first, 0)[None, :] / tl.minimum(pixels - start, rows)
    first = tl.zeros((rows, block), tl.float32)
    second = tl.zeros((rows, block), tl.float32)
    for tile in range(part):
        pixel = start + tile * rows + tl.arange(0, rows)[:, None]
        inside = (pixel < pixels) & (channel < channels)
        value = _largest(x, pixel * channels + channel, inside, group)
        value = tl.where(inside, value - about, 0.0)
        first += value
        second += value * value
    count = tl.minimum(pixels - start, part * rows).to(tl.float32)
    total = tl.sum(first, 0)[None, :]
    squares = tl.sum(second, 0)[None, :] - total * total / count
    tl.store(sums + channel * programs + program, about + total / count, channel < channels)
    tl.store(sums + (channels + channel) * programs + program, squares, channel < channels)


@triton.jit
@no_type_check
def keep_statistics(
    sums, found, running_mean, running_variance, pixels, most, eps, momentum, programs, block: tl.constexpr
):
    """Of one channel mean and 1 / deviation, from those of its parts (Chan, Golub & LeVeque 1979)."""
    channel, channels = tl.program_id(0), tl.num_programs(0)
    part = tl.arange(0, block)
    inside = part < programs
    means = tl.load(sums + channel * programs + part, inside, 0)
    squares = tl.load(sums + (channels + channel) * programs + part, inside, 0)
    count = tl.where(inside, tl.minimum(pixels - part * most, most), 0).to(tl.float32)
    mean = tl.sum(means * count) / pixels
    apart = means - mean
    variance = tl.sum(squares + count * apart * apart) / pixels
    tl.store(found + channel, mean)
    tl.store(found + channels + channel, 1 / tl.sqrt(variance + eps))
    before = tl.load(running_mean + channel)
    tl.store(running_mean + channel, before + momentum * (mean - before))
    before = tl.load(running_variance + channel)
    unbiased = variance * (pixels / (pixels - 1))
    tl.store(running_variance + channel, before + momentum * (unbiased - before))


@triton.jit
@no_type_check
def finish(
    x,
    y,
    draws,
    found,
    weight,
    bias,
    first_kept,
    scale,
    out_columns,
    windows,
    channels,
    drop: tl.constexpr,
    group: tl.constexpr,
    pool: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
):
    """What comes of maxout, batch norm, pooling, ReLU and, where `drop`, dropout."""
    channel = tl.arange(0, block)[None, :]
    window = tl.program_id(0) * rows + tl.arange(0, rows)[:, None]
    real = channel < channels
    inside = (window < windows) & real
    mean, factor = tl.load(found + channel, real, 0), tl.load(found + channels + channel, real, 0)
    factor *= tl.load(weight + channel, real, 0).to(tl.float32)
    shift = tl.load(bias + channel, real, 0).to(tl.float32)
    best = tl.full((rows, block), float("-inf"), tl.float32)
    for down in tl.static_range(pool):
        for right in tl.static_range(pool):
            pixel = _pixel(window, out_columns, down, right, pool)
            value = _largest(x, pixel * channels + channel, inside, group)
            value = (value - mean) * factor + shift
            best = tl.where(value <= best, best, value)  # what is not a number stays that
    best = tl.where(best <= 0, 0.0, best)
    at = window * channels + channel
    if drop:
        best = tl.where(tl.load(draws + at, inside, 0) >= first_kept, best * scale, 0.0)
    tl.store(y + at, best.to(y.dtype.element_ty), inside)


@triton.jit
@no_type_check
def sum_slopes(
    x,
    y,
    upstream,
    found,
    weight,
    bias,
    sums,
    scale,
    out_columns,
    windows,
    channels,
    part: tl.constexpr,
    group: tl.constexpr,
    pool: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
):
    """Of each program's windows the sums of the slopes after batch norm, and of the slopes times what it made."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    channel = tl.arange(0, block)[None, :]
    real = channel < channels
    mean, scaled = tl.load(found + channel, real, 0), tl.load(found + channels + channel, real, 0)
    gain = tl.load(weight + channel, real, 0).to(tl.float32)
    shift = tl.load(bias + channel, real, 0).to(tl.float32)
    first = tl.zeros((rows, block), tl.float32)
    second = tl.zeros((rows, block), tl.float32)
    for tile in range(part):
        window = (program * part + tile) * rows + tl.arange(0, rows)[:, None]
        inside = (window < windows) & real
        at = window * channels + channel
        passed = tl.load(y + at, inside, 0) > 0
        slope = tl.where(passed, tl.load(upstream + at, inside, 0).to(tl.float32) * scale, 0.0)
        best = tl.full((rows, block), float("-inf"), tl.float32)
        normal = tl.zeros((rows, block), tl.float32)
        for down in tl.static_range(pool):
            for right in tl.static_range(pool):
                pixel = _pixel(window, out_columns, down, right, pool)
                value = (_largest(x, pixel * channels + channel, inside, group) - mean) * scaled
                better = value * gain + shift > best
                best = tl.where(better, value * gain + shift, best)
                normal = tl.where(better, value, normal)
        first += slope
        second += slope * normal
    tl.store(sums + channel * programs + program, tl.sum(first, 0)[None, :], real)
    tl.store(sums + (channels + channel) * programs + program, tl.sum(second, 0)[None, :], real)


@triton.jit
@no_type_check
def add(sums, slopes, programs, block: tl.constexpr):
    """What all programs have summed, [any, programs]."""
    part = tl.arange(0, block)
    found = tl.load(sums + tl.program_id(0) * programs + part, part < programs, 0)
    tl.store(slopes + tl.program_id(0), tl.sum(found))


@triton.jit
@no_type_check
def pass_down(
    x,
    y,
    upstream,
    found,
    weight,
    bias,
    slopes,
    below,
    scale,
    pixels,
    out_columns,
    windows,
    channels,
    group: tl.constexpr,
    pool: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
):
    """The slopes before batch norm and maxout."""
    channel = tl.arange(0, block)[None, :]
    window = tl.program_id(0) * rows + tl.arange(0, rows)[:, None]
    real = channel < channels
    inside = (window < windows) & real
    mean, scaled = tl.load(found + channel, real, 0), tl.load(found + channels + channel, real, 0)
    gain = tl.load(weight + channel, real, 0).to(tl.float32)
    shift = tl.load(bias + channel, real, 0).to(tl.float32)
    of_bias = tl.load(slopes + channel, real, 0) / pixels
    of_weight = tl.load(slopes + channels + channel, real, 0) / pixels
    at = window * channels + channel
    passed = tl.load(y + at, inside, 0) > 0
    slope = tl.where(passed, tl.load(upstream + at, inside, 0).to(tl.float32) * scale, 0.0)
    best = tl.full((rows, block), float("-inf"), tl.float32)
    place = tl.zeros((rows, block), tl.int32)
    for down in tl.static_range(pool):
        for right in tl.static_range(pool):
            pixel = _pixel(window, out_columns, down, right, pool)
            value = (_largest(x, pixel * channels + channel, inside, group) - mean) * scaled * gain + shift
            better = value > best
            best = tl.where(better, value, best)
            place = tl.where(better, down * pool + right, place)
    for down in tl.static_range(pool):
        for right in tl.static_range(pool):
            pixel = _pixel(window, out_columns, down, right, pool)
            value = _largest(x, pixel * channels + channel, inside, group)
            here = tl.where(place == down * pool + right, slope, 0.0)
            here = gain * scaled * (here - of_bias - (value - mean) * scaled * of_weight)
            free = inside
            for one in tl.static_range(group):
                source = (pixel * channels + channel) * group + one
                if group == 1:
                    tl.store(below + source, here.to(below.dtype.element_ty), inside)
                else:
                    first = free & (tl.load(x + source, inside, 0).to(tl.float32) == value)
                    tl.store(below + source, tl.where(first, here, 0.0).to(below.dtype.element_ty), inside)
                    free = free & (first == 0)
