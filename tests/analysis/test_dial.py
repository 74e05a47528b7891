"""Effects of ingredients against least squares and values by hand."""

from itertools import product

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from distillbias.analysis.dial import ingredient_effect, pairs_of, slope
from distillbias.errors import InputError

NAMES = ("a", "b", "c")
DOSES = [frozenset(name for name, on in zip(NAMES, which, strict=True) if on) for which in product((0, 1), repeat=3)]


def measured(trials: int = 4, seed: int = 0) -> dict[frozenset[str], dict[int, float]]:
    random = np.random.default_rng(seed)
    return {dose: {trial: random.normal() for trial in range(trials)} for dose in DOSES}


def test_a_full_factorial_gives_the_coefficients_of_least_squares() -> None:
    values = measured(trials=1)
    coded = np.array([[name in dose for name in NAMES] for dose in DOSES], float)
    fit = LinearRegression().fit(coded, [values[dose][0] for dose in DOSES])
    found = [ingredient_effect(name, values) for name in NAMES]
    assert [one.mean for one in found if one] == pytest.approx(fit.coef_.tolist(), abs=1e-12)


def test_by_hand_with_an_incomplete_design_and_an_incomplete_trial() -> None:
    none, order, tied, recurrent = (frozenset(each) for each in ((), ("o",), ("t",), ("o", "r")))
    values = {none: {0: 0.5, 1: 0.6}, order: {0: 0.7, 1: 0.9, 2: 1.0}, tied: {0: 0.4}, recurrent: {0: 1.0, 1: 1.0}}
    order_effect = ingredient_effect("o", values)
    assert order_effect is not None and order_effect.n == 2
    assert order_effect.mean == pytest.approx((0.2 + 0.3) / 2)
    tied_effect, recurrent_effect = ingredient_effect("t", values), ingredient_effect("r", values)
    assert tied_effect is not None and (tied_effect.n, tied_effect.mean) == (1, pytest.approx(-0.1))
    assert recurrent_effect is not None and recurrent_effect.mean == pytest.approx((0.3 + 0.1) / 2)
    assert ingredient_effect("x", values) is None
    assert pairs_of("r", list(values)) == [(order, recurrent)]


def test_an_ingredient_that_adds_the_same_everywhere_has_that_effect_and_no_spread() -> None:
    base = measured()
    values = {dose: {t: base[dose - {"b"}][t] + 0.25 * ("b" in dose) for t in range(4)} for dose in DOSES}
    found = ingredient_effect("b", values)
    assert found is not None
    assert (found.mean, found.sd) == (pytest.approx(0.25), pytest.approx(0.0, abs=1e-12))


def test_slope_against_numpy_and_at_its_limits() -> None:
    random = np.random.default_rng(1)
    dose = [{t: random.normal() for t in range(3)} for _ in range(5)]
    answer = [{t: random.normal() for t in range(3)} for _ in range(5)]
    wanted = [np.polyfit([d[t] for d in dose], [a[t] for a in answer], 1)[0] for t in range(3)]
    found = slope(dose, answer)
    assert found is not None and found.mean == pytest.approx(float(np.mean(wanted)))
    follows, ignores = slope(dose, dose), slope(dose, [{t: 0.3 for t in range(3)}] * 5)
    assert follows is not None and follows.mean == pytest.approx(1.0)
    assert ignores is not None and ignores.mean == pytest.approx(0.0, abs=1e-12)
    assert slope(dose[:2], answer[:2]) is None
    assert slope(dose, [{9: 1.0}] * 5) is None


def test_what_has_no_slope_is_said() -> None:
    with pytest.raises(InputError, match="3 doses for 2 answers"):
        slope([{0: 1.0}] * 3, [{0: 1.0}] * 2)
    with pytest.raises(InputError, match="all doses are equal"):
        slope([{0: 1.0}] * 3, [{0: 1.0}, {0: 2.0}, {0: 3.0}])
