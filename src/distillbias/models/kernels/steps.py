"""Passes over tensors that lie here and there, each cut into blocks: penalties, clipping, steps of optimisers.

Tuples have an entry for each tensor: its address, the first of its programs, how many values it has.
"""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def _own(tensors, firsts, program):
    """That of the tensor which this program has a block of."""
    found = tensors[0]
    for one in tl.static_range(1, len(tensors)):
        found = tl.where(program >= firsts[one], tensors[one], found)
    return found


@triton.jit
@no_type_check
def penalise(weights, gradients, firsts, sizes, l1, l2, sums, block: tl.constexpr):
    """Adds the gradient of l1 * sum |w| + l2 * sum w**2; of each block the sum of squares of what that makes."""
    program = tl.program_id(0)
    at = (program - _own(firsts, firsts, program)) * block + tl.arange(0, block)
    inside = at < _own(sizes, firsts, program)
    gradient = _own(gradients, firsts, program) + at
    weight = tl.load(_own(weights, firsts, program) + at, inside, 0)
    sign = tl.where(weight > 0, 1.0, 0.0) - tl.where(weight < 0, 1.0, 0.0)
    slope = tl.load(gradient, inside, 0) + 2 * _own(l2, firsts, program) * weight + _own(l1, firsts, program) * sign
    tl.store(gradient, slope, inside)
    tl.store(sums + program, tl.sum(tl.where(inside, slope * slope, 0.0)))


@triton.jit
@no_type_check
def clip(gradients, firsts, sizes, sums, limit, block: tl.constexpr, most: tl.constexpr):
    """Makes the gradient of each tensor as long as `limit` if it is longer; `most` blocks has the largest."""
    program = tl.program_id(0)
    first, size = _own(firsts, firsts, program), _own(sizes, firsts, program)
    part = tl.arange(0, most)
    norm = tl.sqrt(tl.sum(tl.load(sums + first + part, part * block < size, 0)))
    if (norm <= limit) == 0:  # nor where it is not a number
        at = (program - first) * block + tl.arange(0, block)
        gradient = _own(gradients, firsts, program) + at
        tl.store(gradient, tl.load(gradient, at < size, 0) * (limit / norm), at < size)


@triton.jit
@no_type_check
def adapt(
    weights,
    gradients,
    means,
    squares,
    firsts,
    sizes,
    numbers,
    counts,
    first_rest,
    second_rest,
    eps,
    rectified: tl.constexpr,
    block: tl.constexpr,
):
    """A step of Adam: `numbers` has the rate, `counts` of each tensor the step's number. `rectified`: of RAdam, by two
    numbers that have all this in them. Rests are what betas leave of 1: in float32 1 - .999 has more digits than .999.
    """
    program = tl.program_id(0)
    at = (program - _own(firsts, firsts, program)) * block + tl.arange(0, block)
    inside = at < _own(sizes, firsts, program)
    if rectified:
        adaptive, plain = tl.load(numbers), tl.load(numbers + 1)
    else:
        which = 0
        for one in tl.static_range(1, len(firsts)):
            which += tl.where(program >= firsts[one], 1, 0)
        done = tl.load(counts + which).to(tl.float64)
        first = 1 - tl.exp(done * tl.log(1 - (0 * done + first_rest)))  # in double precision, as the steps are
        second = tl.sqrt(1 - tl.exp(done * tl.log(1 - (0 * done + second_rest))))
        adaptive, plain = (tl.load(numbers) * second / first).to(tl.float32), 0.0
        eps *= second.to(tl.float32)
    weight = _own(weights, firsts, program) + at
    mean, square = _own(means, firsts, program) + at, _own(squares, firsts, program) + at
    slope = tl.load(_own(gradients, firsts, program) + at, inside, 0)
    new_mean = tl.load(mean, inside, 0)
    new_mean += (slope - new_mean) * first_rest
    new_square = tl.load(square, inside, 0)
    new_square += (slope * slope - new_square) * second_rest
    tl.store(mean, new_mean, inside)
    tl.store(square, new_square, inside)
    move = new_mean * (adaptive / (tl.sqrt(new_square) + eps) + plain)
    tl.store(weight, tl.load(weight, inside, 0) - move, inside)
