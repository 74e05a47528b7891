"""What the README shows is what the repository holds and what its code does."""

import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

from distillbias.studies.store import Record

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


def test_what_students_of_language_models_won_and_lost_is_in_their_packed_predictions() -> None:
    """On the sentences with one attractor, of the trial that was run first."""
    said, labels = {}, {}
    for folder in (ROOT / "results/agreement-lm-laptop/packed").iterdir():
        record = Record(folder)
        if record.run.trial == 0:
            rows = record.predictions("numpred-1")
            arm = record.facts["label"].removesuffix(" · trial 0")
            said[arm], labels[arm] = rows.logits.argmax(1), rows.labels
    right = {arm: said[arm] == labels[arm] for arm in said}
    counts = {
        arm: (int((right[arm] & ~right["Transformer"]).sum()), int((~right[arm] & right["Transformer"]).sum()))
        for arm in ("LSTM → Transformer", "Transformer → Transformer")
    }
    (won, lost), own = counts["LSTM → Transformer"], counts["Transformer → Transformer"]
    same = [float((said[arm] == said["LSTM"]).mean()) for arm in ("LSTM → Transformer", "Transformer")]
    text = " ".join(README.split())
    assert f"Of {len(right['LSTM']):,} sentences with one such noun the LSTM's student gets {won:,} right" in text
    assert f"and {lost} the other way; the Transformer's student {own[0]} and {own[1]}." in text
    assert f"own answer to {same[0]:.3f} of them, the Transformer from labels to {same[1]:.3f}." in text


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
