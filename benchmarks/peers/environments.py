"""A virtual environment for each peer, at the versions of `requirements/`. Made once, when it is asked for."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def python_of(name: str, folder: Path | None) -> Path:
    """The interpreter of environment `name`; "" is the one that runs this, and so is every one without a `folder`."""
    return Path(sys.executable) if not name or folder is None else folder / name / "bin" / "python"


def ready(name: str, folder: Path) -> bool:
    """Whether it is made, with the requirements as they are now."""
    mark = folder / name / "requirements.txt"
    return not name or (mark.exists() and mark.read_text() == requirements(name).read_text())


def requirements(name: str) -> Path:
    return HERE / "requirements" / f"{name}.txt"


def make(name: str, folder: Path) -> None:
    """Minutes, and some GB of disk. torch first: nothing after it may pull another.

    Raises:
        subprocess.CalledProcessError: what is missing is in its output, `stderr`.
    """
    if ready(name, folder):
        return
    where, python = folder / name, str(python_of(name, folder))
    torch = next(line for line in requirements(name).read_text().splitlines() if line.startswith("torch=="))
    _run(sys.executable, "-m", "venv", "--clear", str(where))
    _run(python, "-m", "pip", "install", "--quiet", torch)
    _run(python, "-m", "pip", "install", "--quiet", "--requirement", str(requirements(name)))
    (where / "requirements.txt").write_text(requirements(name).read_text())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
