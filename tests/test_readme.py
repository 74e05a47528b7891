"""What the README shows is what the repository holds and what its code does."""

import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_headline_table_is_that_of_the_committed_result() -> None:
    committed = (ROOT / "results/vision-laptop/tables/headline.md").read_text()
    rows = [line for line in committed.splitlines() if line.startswith("|")]
    assert len(rows) == 8  # names, rule, six arms
    assert "\n".join(rows) in README


def test_the_agreement_table_is_that_of_the_committed_result() -> None:
    committed = (ROOT / "results/agreement-laptop/tables/a-matrix.md").read_text()
    rows = [line for line in committed.splitlines() if line.startswith("|")]
    assert len(rows) == 6  # names, rule, four students
    assert "\n".join(rows) in README


def test_the_language_models_table_is_that_of_the_committed_result() -> None:
    committed = (ROOT / "results/agreement-lm-laptop/tables/headline.md").read_text()
    rows = [line for line in committed.splitlines() if line.startswith("|")]
    assert len(rows) == 8  # names, rule, two families and four pairs
    assert "\n".join(rows) in README


def test_the_transfer_table_is_of_the_committed_result() -> None:
    committed = (ROOT / "results/transfer-vision-laptop/tables/headline.md").read_text().replace("\\", "")
    rows = [line for line in committed.splitlines() if line.startswith("|")]
    for told in (README, (ROOT / "docs/evidence.md").read_text()):
        after = told.split("| arm | MNIST | Scaled | Translated |")[-1].splitlines()[2:]  # the README has two
        shown = list(takewhile(lambda line: line.startswith("|"), after))
        assert len(shown) >= 7 and set(shown) <= set(rows)


def test_the_agreement_controls_are_of_the_committed_result() -> None:
    committed = (ROOT / "results/transfer-agreement-laptop/tables/headline.md").read_text().replace("\\", "")
    rows = [line for line in committed.splitlines() if line.startswith("|")]
    for told in (README, (ROOT / "docs/evidence.md").read_text()):
        after = told.split("| arm | µ | D | A |")[-1].splitlines()[2:]
        shown = list(takewhile(lambda line: line.startswith("|"), after))
        assert len(shown) >= 7 and set(shown) <= set(rows)


def test_the_python_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    quick = example.replace("epochs=20", "epochs=1").replace("range(4)", "range(1)")
    assert quick != example
    (tmp_path / "example.py").write_text(quick)
    ran = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"MLP · no penalty · trial 0 0\.\d+\nMLP → MLP · no penalty · trial 0 0\.\d+\n", ran.stdout)


def test_every_file_named_exists() -> None:
    named = re.findall(r"`((?:docs|results|benchmarks|src|tests)/[\w./-]*)`", README)
    assert named
    assert all((ROOT / path).exists() for path in named)
