"""Data flows one way: a file imports only from its own folder or from folders above it (docs/design)."""

import ast
from pathlib import Path

import pytest

import distillbias

ROOT = Path(distillbias.__file__).parent
ORDER = ["data", "tasks", "models", "training", "evaluation", "analysis", "studies", "report", "cli"]
# the teacher's signal is a prediction, so training reads evaluation.predict; nothing else looks down
ALLOWED = {("training/teacher.py", "evaluation")}
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def folder(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def imported(file: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("distillbias.")}
    return found - {"errors"}


@pytest.mark.parametrize("file", FILES)
def test_imports_point_up(file: str) -> None:
    if folder(file) in ("__init__", "__main__", "errors"):
        assert imported(file) <= {"cli"}
        return
    below = {name for name in imported(file) if ORDER.index(name) > ORDER.index(folder(file))}
    assert not {name for name in below if (file, name) not in ALLOWED}


def test_analyses_and_report_blocks_touch_no_files_of_a_study() -> None:
    for file in FILES:
        if folder(file) == "analysis":
            assert not imported(file) & {"studies", "data", "tasks"}, file
