import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, jaccard_score

from distillbias.analysis.overlap import (
    counts,
    error_consistency,
    expected_intersection,
    expected_jaccard,
    jaccard,
    lift,
)
from distillbias.errors import InputError

pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)
quick = settings(derandomize=True, deadline=None, max_examples=60)


def placed(n, *indices):
    wrong = np.zeros(n, bool)
    wrong[list(indices)] = True
    return wrong


def split(pairs):
    return np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])


def test_by_hand():  # 10 examples, A wrong on 4, B on 5, 3 shared; by chance 4 * 5 / 10 = 2 shared of 7
    a, b = placed(10, 0, 1, 2, 3), placed(10, 1, 2, 3, 4, 5)
    assert jaccard(a, b) == 3 / 6
    assert expected_intersection(a, b) == 2
    assert expected_jaccard(a, b) == pytest.approx(2 / 7)
    assert lift(a, b) == 1.5
    # alike on 7 of 10; by chance 0.4 * 0.5 + 0.6 * 0.5 = 0.5
    assert error_consistency(a, b) == pytest.approx((0.7 - 0.5) / 0.5)


def test_counts_by_hand():
    errors = {"a": placed(9, 0, 1, 2, 3), "b": placed(9, 2, 3, 4), "c": placed(9, 3, 4, 5, 6, 7)}
    expected = {("a",): 2, ("b",): 0, ("a", "b"): 1, ("c",): 3, ("a", "c"): 0, ("b", "c"): 1, ("a", "b", "c"): 1}
    found = counts(errors)
    assert found == {**expected, (): 1}
    assert list(found) == [*expected, ()]  # the order matplotlib_venn takes


def test_published_regions_of_the_scaled_student():  # paper-facts 1.2, (c/d): s, c1, c2 of 10,000
    regions = {(0,): 707, (1,): 100, (2,): 75, (1, 2): 71, (0, 1): 64, (0, 2): 61, (0, 1, 2): 151}
    errors, start = np.zeros((3, 10_000), bool), 0
    for models, size in regions.items():
        errors[list(models), start : start + size] = True
        start += size
    s, c1, c2 = errors
    assert [int(one.sum()) for one in errors] == [983, 386, 358]
    assert jaccard(s, c1) == pytest.approx(0.186, abs=5e-4)
    found = counts({"s": s, "c1": c1, "c2": c2})
    assert found[("s", "c2")] == 61 and found[()] == 10_000 - sum(regions.values())


@quick
@given(triples=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_counts_cover_every_example_once(triples):
    errors = {name: np.array([row[i] for row in triples]) for i, name in enumerate("abc")}
    found = counts(errors)
    assert sum(found.values()) == len(triples)
    for key, size in found.items():
        assert size == sum(tuple(n for n, wrong in zip("abc", row, strict=True) if wrong) == key for row in triples)


@quick
@given(pairs)
def test_jaccard_and_consistency_match_sklearn(pairs):
    a, b = split(pairs)
    if a.any() or b.any():
        assert jaccard(a, b) == pytest.approx(jaccard_score(a, b))
    else:
        assert np.isnan(jaccard(a, b))
    if len({*a.tolist(), *b.tolist()}) == 2:
        assert error_consistency(a, b) == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    else:
        assert np.isnan(error_consistency(a, b))


@pytest.mark.parametrize(("size_a", "size_b"), [(2, 3), (5, 4), (6, 6), (0, 2), (3, 0)])
def test_exact_chance_level_is_the_mean_over_all_placements(size_a, size_b):
    a, b = placed(6, *range(size_a)), placed(6, *range(size_b))
    others = [placed(6, *chosen) for chosen in itertools.combinations(range(6), size_b)]
    assert expected_jaccard(a, b, exact=True) == pytest.approx(np.mean([jaccard(a, other) for other in others]))
    assert expected_intersection(a, b) == pytest.approx(np.mean([(a & other).sum() for other in others]))


def test_chance_levels_agree_for_many_examples_and_are_met_by_independent_errors():
    random = np.random.default_rng(0)
    a, b = random.random((2, 100_000)) < [[0.3], [0.1]]
    assert expected_jaccard(a, b, exact=True) == pytest.approx(expected_jaccard(a, b), rel=1e-4)
    assert jaccard(a, b) == pytest.approx(expected_jaccard(a, b), rel=0.03)
    assert lift(a, b) == pytest.approx(1, abs=0.03) and error_consistency(a, b) == pytest.approx(0, abs=0.02)


def test_undefined_values_are_nan():
    none, one, all_wrong = placed(4), placed(4, 2), ~placed(4)
    assert all(np.isnan(f(none, none)) for f in (jaccard, expected_jaccard, lift, error_consistency))
    assert np.isnan(expected_jaccard(none, none, exact=True))
    assert np.isnan(lift(one, none)) and jaccard(one, none) == 0 and error_consistency(one, none) == 0
    assert np.isnan(error_consistency(all_wrong, all_wrong)) and jaccard(all_wrong, all_wrong) == 1


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="got 3, 4 examples"):
        jaccard(placed(3), placed(4))
    with pytest.raises(InputError, match="at least one; got 0, 0"):
        lift(placed(0), placed(0))
    with pytest.raises(InputError, match="at least two models, got 1"):
        counts({"a": placed(3)})
