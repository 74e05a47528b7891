"""Property tests draw the same examples each time, and no test asserts a time."""

import pytest
from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(autouse=True, scope="session")
def teachers_may_know_nothing():
    """Models of these tests learn for a fraction of a second, often nothing: they may teach all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distillbias.studies.lessons.check_knows", lambda *asked: None)
        yield
