"""Scores by group: by hand, against the literal twin, and with groups that have no example."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import agreement as reference

from distillbias.errors import InputError
from distillbias.evaluation.agreement import EMPTY, GroupScore, group_score, group_scores, macro_accuracy

SINGULAR, PLURAL = [1.0, 0.0], [0.0, 1.0]  # logits


def arrays(answers, labels, values):
    return np.array(answers, np.float32), np.array(labels, np.int64), np.array(values, np.int32)


def test_groups_by_hand():
    answers = [SINGULAR, PLURAL, PLURAL, SINGULAR, SINGULAR, PLURAL]
    found = group_scores(*arrays(answers, [0, 1, 0, 0, 1, 1], [0, 0, 0, 0, 1, -1]), [0, 1])
    # group 0: right, right, wrong, right; singular 2 of 3, plural 1 of 1. Group 1: its one example is wrong.
    assert found == {0: GroupScore(4, 0.75, (2 / 3 + 1) / 2), 1: GroupScore(1, 0.0, 0.0)}
    assert macro_accuracy(found).accuracy == 0.375


def test_a_group_weighs_the_same_whatever_its_size():
    groups = {0: GroupScore(1_000_000, 1.0, 1.0), 1: GroupScore(2, 0.5, 0.5)}
    assert macro_accuracy(groups).accuracy == 0.75


def test_a_group_without_examples_is_a_hole():
    found = group_scores(*arrays([SINGULAR, PLURAL], [0, 0], [0, 2]), range(4))
    assert found[1] is EMPTY and found[3].n == 0 and isnan(found[1].accuracy) and isnan(found[3].balanced)
    macro = macro_accuracy(found)
    assert isnan(macro.accuracy) and macro.over_present == 0.5 and macro.missing == (1, 3)
    nothing = macro_accuracy({0: EMPTY})
    assert isnan(nothing.accuracy) and isnan(nothing.over_present) and nothing.missing == (0,)


def test_a_tie_goes_to_the_first_class():
    assert group_score(*arrays([[0.0, 0.0]] * 2, [0, 1], [])[:2]).accuracy == 0.5


@given(
    st.lists(
        st.tuples(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32), st.integers(0, 1), st.integers(-1, 4)),
        min_size=1,
        max_size=30,
    )
)
def test_as_the_definition_reads(rows):
    logits, labels, values = arrays([row[:2] for row in rows], [row[2] for row in rows], [row[3] for row in rows])
    macro = macro_accuracy(group_scores(logits, labels, values, range(5)))
    expected, missing = reference.macro_accuracy(logits.tolist(), labels, values, range(5))
    assert macro.missing == tuple(missing)
    assert isnan(macro.accuracy) if expected is None else macro.accuracy == pytest.approx(expected, abs=1e-12)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(InputError, match="one value per example: got 1 values for 2 examples"):
        group_scores(*arrays([SINGULAR, PLURAL], [0, 1], [0]), [0])
    with pytest.raises(InputError, match="at least one group, got none"):
        macro_accuracy({})
