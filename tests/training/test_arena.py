"""Where what recorded steps make lies."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from distillbias.training.arena import LINE, Life, planned, view_of


@some.composite
def lives(draw: some.DrawFn) -> list[Life]:
    first, lasts, size = some.integers(0, 20), some.integers(0, 10), some.integers(0, 5 * LINE)
    made = draw(some.lists(some.tuples(first, lasts, size), max_size=30))
    return [Life(start, start + long, size) for start, long, size in made]


@given(lives())
def test_no_two_share_both_time_and_place(given: list[Life]) -> None:
    starts, end = planned(given)
    placed = list(zip(given, starts, strict=True))
    assert all(start % LINE == 0 and 0 <= start <= start + life.size <= end for life, start in placed)
    for (one, here), (other, there) in combinations(placed, 2):
        together = one.first <= other.last and other.first <= one.last
        assert not (together and here < there + other.size and there < here + one.size)
    at_once = (sum(each.size for each in given if each.first <= call <= each.last) for call in range(31))
    assert end >= max(at_once)


def test_a_place_is_used_again_and_gaps_become_one() -> None:
    """By hand: 1 and 2 leave two gaps side by side, which 3 fills to the last byte; 0 is there all the time."""
    made = [Life(0, 9, LINE), Life(0, 1, LINE), Life(0, 2, 2 * LINE - 5), Life(3, 4, 3 * LINE), Life(5, 6, 1)]
    assert planned(made) == ([0, LINE, 2 * LINE, LINE, LINE], 4 * LINE)


def test_the_last_gap_grows() -> None:
    assert planned([Life(0, 0, LINE), Life(1, 1, 3 * LINE)]) == ([0, 0], 3 * LINE)
    assert planned([]) == ([], 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_a_view_looks_the_same_way_at_another_memory(dtype: torch.dtype) -> None:
    tensor = torch.arange(24, dtype=dtype)
    looked = tensor.view(4, 6)[1:, ::2].t()
    other = torch.zeros(24 + LINE // dtype.itemsize, dtype=dtype)
    other[LINE // dtype.itemsize :] = tensor
    again = view_of(looked, 3).on(other.untyped_storage(), LINE)
    assert torch.equal(again, looked) and again.stride() == looked.stride()
    assert again.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
