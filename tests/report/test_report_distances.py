"""Whole and packed runs are compared on the examples that both kept."""

import numpy as np

from distillbias.report.distances import common_rows


def test_a_whole_run_is_thinned_to_what_a_packed_one_kept() -> None:
    whole = np.arange(1000.0)[:, None]
    packed = whole[::4]
    both = common_rows([whole, packed])
    np.testing.assert_array_equal(both[0], both[1])
    assert common_rows([whole, whole])[0] is whole and common_rows([]) == []
