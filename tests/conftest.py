"""Property tests draw the same examples each time, no test asserts a time, and each process computes with one thread:
what tests train is so small that a second thread costs more than it helps, and a second process helps more."""

import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"  # before torch reads it, and for every process that a test starts
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # some hundred of these would compile all modules anew
# what native.c is compiled to is kept, but not among the user's own
os.environ.setdefault("DISTILLBIAS_CACHE", os.path.join(tempfile.gettempdir(), f"distillbias-tests-{os.getuid()}"))

import pytest
import torch
from hypothesis import settings
from tests import checked

checked.install()  # before anything of the package is imported

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before a kernel is defined

settings.register_profile("deterministic", derandomize=True, deadline=None)
settings.load_profile("deterministic")
torch.set_num_threads(1)


# files that take longest, which begin first: of those that begin last one would run alone
LONG = (
    "test_faults",
    "test_ray",
    "test_vision_report",
    "test_precision",
    "test_checkpoint",
    "test_replays",
    "test_remote",
    "test_compiled",
    "test_torchrun",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(autouse=True, scope="session")
def small_things():
    """Models of these tests learn for a fraction of a second, often nothing: they may teach all the same. Ellipses of
    their maps are from as few draws as can be, batch norm on the line between two models from few images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distillbias.studies.lessons.check_knows", lambda *asked: None)
        patch.setattr("distillbias.report.distances.DRAWS", 3)
        patch.setattr("distillbias.studies.basins.REFRESH_ROWS", 500)
        yield
