"""The service that lets processes share a GPU, with a stand-in for NVIDIA's program: what it is told, and when."""

import os
from pathlib import Path

import pytest
from tests import tiny

from distillbias.studies import mps, processes
from distillbias.studies.mps import CONTROL, LOG, PIPE, Service
from distillbias.studies.processes import Processes
from distillbias.studies.worker import Place

# Writes down what it is told. Asked to start (-d) it leaves something behind that holds its output open, as a service.
STAND_IN = """#!/bin/sh
echo "$CUDA_MPS_PIPE_DIRECTORY $1 $([ -z "$1" ] && cat)" >> {told}
[ "$1" = -d ] && sleep 20 &
{then}
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in writes; the GPU takes every client."""
    for name in (PIPE, LOG):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mps, "TRY", "")
    monkeypatch.setattr(mps, "PATIENCE", 10.0)
    return tmp_path / "told"


def install(told: Path, monkeypatch: pytest.MonkeyPatch, then: str = "") -> None:
    program = told.parent / CONTROL
    program.write_text(STAND_IN.format(told=told, then=then))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{told.parent}{os.pathsep}{os.environ['PATH']}")


def test_it_runs_from_start_to_close(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(told, monkeypatch)
    service = Service()
    assert service.start() == ""
    folder = os.environ[PIPE]
    assert os.environ[LOG] == folder and Path(folder).is_dir()
    service.close()
    assert PIPE not in os.environ and LOG not in os.environ and not Path(folder).exists()
    service.close()  # once is enough
    assert [line.split() for line in told.read_text().splitlines()] == [[folder, "-d"], [folder, "quit"]]


def test_where_it_is_not_installed_it_says_so(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(told.parent))
    assert Service().start() == f"{CONTROL} is not installed"
    assert PIPE not in os.environ


def test_one_that_does_not_start_gives_its_last_line(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(told, monkeypatch, then="[ -n \"$1\" ] && echo 'An instance of this daemon is already running' && exit 1")
    assert Service().start() == "An instance of this daemon is already running"
    assert PIPE not in os.environ


def test_one_that_lets_no_client_in_is_stopped(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(told, monkeypatch)
    monkeypatch.setattr(mps, "TRY", "raise SystemExit('error 805')")
    assert Service().start() == "error 805"
    assert PIPE not in os.environ and told.read_text().split()[-1] == "quit"


def test_one_that_is_there_is_used_and_left_alone(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(told, monkeypatch)
    monkeypatch.setenv(PIPE, "/run/of-the-machine")
    service = Service()
    assert service.start() == ""
    service.close()
    assert os.environ[PIPE] == "/run/of-the-machine" and not told.exists()


@pytest.mark.parametrize(
    ("device", "workers", "expected"), [("cpu", 2, []), ("cuda", 1, []), ("cuda", 2, ["start", "close"])]
)
def test_workers_share_a_gpu_and_nothing_else(
    device: str, workers: int, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    done = []

    class Noted:
        def start(self) -> str:
            done.append("start")
            return "it is broken"

        def close(self) -> None:
            done.append("close")

    class Idle:
        def __init__(self, place: Place):
            self.run = None

        def give(self, run: object) -> None:
            self.run = run

        def end(self) -> None:
            pass

    monkeypatch.setattr(processes, "Service", Noted)
    monkeypatch.setattr(processes, "_Worker", Idle)
    executor = Processes(Place(str(tmp_path), None, device), workers)
    for _ in range(workers):
        executor.submit(tiny.ALONE)
    executor.close()
    assert done == expected
    assert ("in turns, which is slower: it is broken" in capsys.readouterr().err) == bool(expected)
