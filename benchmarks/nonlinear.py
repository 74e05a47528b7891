"""Time of the functions that this project has its own of on a CPU, beside torch's: python -m benchmarks.nonlinear

Forward and backward on one thread, medians of ROUNDS calls, ours and torch's in turn.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from distillbias.models.nonlinear import gelu, softmax
from distillbias.models.recurrence import lstm
from distillbias.studies.processes import keep_large_blocks
from distillbias.studies.provenance import provenance

ROUNDS = 50
DRAWS = 360_448  # 128 x 11 x 256


def both_ways(function: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    upstream = torch.ones_like(x)
    return lambda: torch.autograd.grad(function(x), x, upstream)


def straight(draws: Tensor, dtype: torch.dtype) -> Tensor:
    mask = torch.empty(len(draws), dtype=dtype)
    torch.ge(draws, 0, out=mask)
    return mask


def layers(width: int, rate: float, words: int, dtype: torch.dtype) -> tuple[Callable[[], object], ...]:
    """A layer that spares itself what recurrent dropout empties, and torch's; weights are float32, as in training."""
    x = torch.randn(128, words, width).to(dtype).requires_grad_()
    weights = [(torch.randn(shape) / 16).requires_grad_() for shape in ((4 * width, width),) * 2 + ((4 * width,),)]
    mask, nothing = (torch.rand(width) >= rate) / (1 - rate), torch.zeros(4 * width)

    def theirs(x: Tensor) -> Tensor:
        start = x.new_zeros(1, len(x), width)
        carrying = [weights[0], weights[1] * mask, weights[2], nothing]
        return torch.lstm(x, (start, start), carrying, True, 1, 0.0, True, False, True)[0]

    def trained(function: Callable[[Tensor], Tensor]) -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            said = function(x)
        return torch.autograd.grad(said, [x, *weights], torch.ones_like(said))

    return lambda: trained(lambda x: lstm(x, *weights, mask)), lambda: trained(theirs)


def milliseconds(*calls: Callable[[], object]) -> list[float]:
    """Of each call, all of them in turn."""
    seen: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, seen, strict=True):
            began = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - began))
    return [median(times) for times in seen]


def main() -> None:
    torch.set_num_threads(1)
    keep_large_blocks()
    known = provenance("cpu")
    print(f"{known['device']}, one thread, torch {known['torch']}, commit {known['commit']}, ms: ours, torch's")
    draws = torch.empty(DRAWS // 4, dtype=torch.int64).random_().view(torch.int16)
    for dtype in (torch.bfloat16, torch.float32):
        pairs = {
            f"mask of {DRAWS:,} draws": (
                lambda dtype=dtype: straight(draws, dtype),
                lambda dtype=dtype: (draws >= 0).to(dtype),
            ),
        }
        for width, rate, words in ((256, 0.8, 9), (512, 0.5, 30)):
            pairs[f"LSTM of {width}, {words} words, rate {rate}"] = layers(width, rate, words, dtype)
        for rows in (1_408, 4_096):
            wide = torch.randn(rows, 1_024).to(dtype).requires_grad_()
            theirs = both_ways(lambda x: F.gelu(x, approximate="tanh"), wide)
            pairs[f"GELU of {rows:,} x 1,024"] = both_ways(gelu, wide), theirs
        for words in (11, 24, 32, 47):
            scores = torch.randn(1_024, words, words).to(dtype).requires_grad_()
            theirs = both_ways(lambda x: x.softmax(-1), scores)
            pairs[f"softmax of 1,024 x {words} x {words}"] = both_ways(softmax, scores), theirs
        for name, calls in pairs.items():
            own, other = milliseconds(*calls)
            print(f"{name}, {str(dtype).removeprefix('torch.')}: {own:.2f} {other:.2f}")


if __name__ == "__main__":
    main()
