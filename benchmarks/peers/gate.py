"""Equal losses first: an arm whose losses differ from those of the plain loop does other work, whatever its speed."""

from collections.abc import Sequence
from typing import NamedTuple

TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}  # relative


class Verdict(NamedTuple):
    passed: bool
    worst: float  # relative distance from the plain loop
    why: str  # "" if passed


def judge(losses: Sequence[float], expected: Sequence[float], precision: str) -> Verdict:
    """Whether all `losses`, one a step, are `expected`, within the tolerance of the precision."""
    tolerance = TOLERANCE[precision]
    if len(losses) != len(expected):
        return Verdict(False, float("inf"), f"{len(losses)} steps instead of {len(expected)}")
    apart = [abs(loss - right) / abs(right) for loss, right in zip(losses, expected, strict=True)]
    for step, distance in enumerate(apart):
        if not distance <= tolerance:  # a nan is not
            told = f"its loss {losses[step]:.6g} at step {step + 1} is {expected[step]:.6g} in the plain loop"
            return Verdict(False, distance, f"{told}, {distance:.1e} apart, more than {tolerance:.0e}")
    return Verdict(True, max(apart), "")
