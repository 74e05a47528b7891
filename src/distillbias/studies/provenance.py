"""Where, with what and how fast a run was made; no part of its result."""

import platform
import resource
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distillbias import __version__
from distillbias.tasks.task import Examples
from distillbias.training.checkpoint import Course
from distillbias.training.recipe import Recipe


def provenance(device: str) -> dict[str, Any]:
    """Where and with what a run was made; no part of its result."""
    return {
        "commit": commit(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "peak_megabytes": peak_megabytes(),
    }


def forget_peak() -> None:
    """Let the peak of memory begin anew, so that a run is not charged for those that its worker trained before."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # the peak is then that of the process


def peak_megabytes() -> int:
    """The most memory that this process held since `forget_peak`; where the system does not say, since its start."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def speed(examples: Examples, recipe: Recipe, course: Course, processor: float) -> dict[str, float]:
    """Of the training alone: examples and, of sentences, words a second, padding not counted; and `processor`."""
    rows = recipe.steps(len(examples)) * recipe.batch
    found = {"examples_per_second": rows / course.seconds, "processor": processor}
    if examples.inputs.dtype == np.uint8:
        return found
    words = np.count_nonzero(examples.inputs) / len(examples)
    return found | {"words_per_second": rows * words / course.seconds}


class Effort:
    """What share of the time since its beginning, by the clock, this process has used of its threads."""

    def __init__(self) -> None:
        self.clock, self.used = time.perf_counter(), time.process_time()

    @property
    def share(self) -> float:
        passed = max(time.perf_counter() - self.clock, 1e-9)
        return (time.process_time() - self.used) / (passed * torch.get_num_threads())


@cache
def commit() -> str:
    """The commit of the code that runs, with "+ changes" where the package differs from it; else its version."""
    package = Path(__file__).parents[1]

    def git(*words: str) -> str:  # which only reads: it must leave no lock in the repository if it is killed
        command = ["git", "--no-optional-locks", "-C", str(package), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--", ".").strip()
        return git("rev-parse", "HEAD").strip()[:12] + (" + changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
