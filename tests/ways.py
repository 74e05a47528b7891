"""Tests of a module that imports `way` run twice: by what is compiled for a CPU, and by torch's operators."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from distillbias.models.native import put_aside


@pytest.fixture(scope="module", params=["native", "torch"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    with put_aside() if request.param == "torch" else nullcontext():
        yield
