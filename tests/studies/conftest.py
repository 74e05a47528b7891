"""One tiny teacher and its student, trained once for all tests that only read."""

import pytest
from tests import tiny

from distillbias.studies.store import Store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Holds `tiny.ALONE` and `tiny.STUDENT`. Read only."""
    return tiny.trained(tmp_path_factory.mktemp("store"), tiny.ALONE, tiny.STUDENT)
