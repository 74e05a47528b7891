"""Seeds are a hash of their names: what they are is written down here, so that no update changes them unseen."""

import random
from hashlib import sha256

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from distillbias.training.seeds import seed, stream

names = st.lists(st.one_of(st.text(max_size=5), st.integers(-5, 5)), min_size=1, max_size=4).map(tuple)


@given(names, names)
def test_other_names_other_seeds(one, other) -> None:
    assert (seed(*one) == seed(*other)) == (one == other)
    assert 0 <= seed(*one) < 2**63


def test_neighbours_do_not_run_into_each_other() -> None:
    alike = [("ab", "c"), ("a", "bc"), ("abc",), ("a", 1), ("a", "1"), ("a", 11), ("a", 1, 1), ("a", 1, "1")]
    assert len({seed(*each) for each in alike}) == len(alike)


def test_seeds_are_the_first_63_bits_of_sha256() -> None:
    def by_hand(text: str) -> int:
        return int(sha256(text.encode()).hexdigest()[:16], 16) // 2

    assert seed("order", "mnist", 3) == by_hand("('order', 'mnist', 3)")
    assert seed("weights", "MLPConfig(widths=(16, 8), dropout=0.1)", 0) == by_hand(
        "('weights', 'MLPConfig(widths=(16, 8), dropout=0.1)', 0)"
    )
    assert seed("alone") == by_hand("('alone',)")


def test_a_stream_is_pytorchs_generator_at_that_seed() -> None:
    expected = torch.rand(5, generator=torch.Generator().manual_seed(seed("a", 1)))
    assert torch.equal(torch.rand(5, generator=stream("a", 1)), expected)


def test_no_global_stream_is_touched() -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    torch.rand(3, generator=stream("a"))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all() and random.getstate() == before[2]
