"""Property tests draw the same examples each time, and no test asserts a time."""

import pytest
from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")


@pytest.fixture(autouse=True, scope="session")
def small_things():
    """Models of these tests learn for a fraction of a second, often nothing: they may teach all the same. Ellipses of
    their maps are from as few draws as can be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distillbias.studies.lessons.check_knows", lambda *asked: None)
        patch.setattr("distillbias.report.distances.DRAWS", 3)
        yield
