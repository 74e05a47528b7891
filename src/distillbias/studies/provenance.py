"""Where and with what a run was made; no part of its result."""

import platform
import resource
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

from distillbias import __version__


def provenance(device: str) -> dict[str, Any]:
    """Where and with what a run was made; no part of its result."""
    return {
        "commit": commit(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


@cache
def commit() -> str:
    """The commit of the code that runs, with "+ changes" where the package differs from it; else its version."""
    package = Path(__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, check=True).stdout

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
