"""How many runs train at once if nobody says: by cores, quota, memory, and shares of a GPU."""

import ctypes
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests import language, tiny

from distillbias.studies import executors
from distillbias.studies.executors import at_once, make_executor
from distillbias.studies.processes import keep_large_blocks
from distillbias.studies.worker import Place
from distillbias.tasks.agreement_lm import AgreementLM

LANGUAGE = replace(tiny.ALONE, model=next(iter(language.MODELS.values())))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A machine of so many cores, a quota as the kernel tells it, and gigabytes of memory."""

    def made(cores: int, quota: str | None = None, gigabytes: float | None = 100.0) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        for name, text in (
            ("QUOTA", quota),
            ("MEMINFO", gigabytes and f"MemTotal: 1 kB\nMemAvailable: {gigabytes * 1e6:.0f} kB\n"),
        ):
            path = tmp_path / name
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
            monkeypatch.setattr(executors, name, path)

    return made


@pytest.mark.parametrize(
    ("cores", "quota", "gigabytes", "expected"),
    [
        (16, None, 100.0, 16),
        (16, "max 100000\n", 100.0, 16),
        (16, "400000 100000\n", 100.0, 4),
        (16, "50000 100000\n", 100.0, 1),
        (2, "400000 100000\n", 100.0, 2),
        (16, None, 9.0, 2),
        (16, None, 0.5, 1),
        (16, None, None, 16),
    ],
)
def test_on_a_cpu(machine, cores: int, quota: str | None, gigabytes: float | None, expected: int) -> None:
    machine(cores, quota, gigabytes)
    assert at_once([tiny.ALONE], "cpu") == expected


def test_large_blocks_are_kept_where_there_is_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    library = SimpleNamespace(mallopt=lambda what, value: asked.append((what, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_large_blocks()
    assert asked == [(-3, 2**30), (-1, 2**31 - 1)]  # malloc.h: M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_large_blocks()


def test_on_a_gpu_the_largest_share_decides(machine) -> None:
    machine(16)
    assert at_once([tiny.ALONE], "cuda") == 12
    assert at_once([tiny.ALONE, LANGUAGE], "cuda:1") == 2
    machine(3)
    assert at_once([tiny.ALONE], "cuda") == 3


def test_language_models_need_more_memory(machine) -> None:
    machine(16, gigabytes=30.0)
    assert (
        at_once([tiny.ALONE], "cpu"),
        at_once([tiny.ALONE, replace(LANGUAGE, task=AgreementLM("grammar"))], "cpu"),
    ) == (7, 3)


def test_who_says_how_many_gets_as_many(machine, tmp_path: Path) -> None:
    machine(5)
    place = Place(str(tmp_path), None)
    assert make_executor("processes", place, [tiny.ALONE]).slots == 5
    assert make_executor("processes", place, [tiny.ALONE], workers=7).slots == 7
