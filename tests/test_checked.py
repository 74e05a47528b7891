"""The checks of the types of all the others."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError
from tests.checked import has_shape

from distillbias.training.controls import controlled, smoothed_entropy

Rows = Float[np.ndarray, "n classes"]


@pytest.mark.parametrize("annotation", [Rows, Rows | None, list[tuple[int, Rows]], Callable[[int, Rows], None], "Rows"])
def test_shapes_are_found(annotation: object):
    assert has_shape(annotation)


@pytest.mark.parametrize("annotation", [int, None, np.ndarray, Literal["Rows"], Callable[..., int], dict[str, list]])
def test_where_there_are_none(annotation: object):
    assert not has_shape(annotation)


def test_types_and_shapes_of_the_package_are_checked():
    with pytest.raises(BeartypeCallHintViolation):
        smoothed_entropy("half", 3)
    with pytest.raises(TypeCheckError, match="labels"):  # as many as logits have rows
        controlled("shuffled", np.zeros((4, 3), np.float32), np.zeros(5, np.int64), 1.0, 0)
