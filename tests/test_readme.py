"""What the README shows is what the repository holds and what its code does."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from itertools import takewhile
from pathlib import Path

import numpy as np
from benchmarks.peers import arms
from benchmarks.peers.table import schedule_seconds

from distillbias.studies.record import Record

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_headline_table_is_that_of_the_committed_result() -> None:
    committed = (ROOT / "results/vision-laptop/tables/headline.md").read_text()
    rows = [line for line in committed.splitlines() if line.startswith("|")]
    assert len(rows) == 8  # names, rule, six arms
    assert "\n".join(rows) in README


def test_what_the_vision_case_found_is_in_the_committed_result() -> None:
    records = [json.loads(path.read_text()) for path in (ROOT / "results/vision-laptop/records").glob("*.json")]
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        if "second order" not in record["label"]:
            for test, scores in record["scores"].items():
                found[re.sub(r" · trial \d+", "", record["label"]), test].append(scores["accuracy"])

    def gains(arm: str, basis: str) -> str:
        two = (np.mean(found[arm, test]) - np.mean(found[basis, test]) for test in ("scale-3", "translate-3"))
        scaled, translated = (f"{gain:+.3f}".replace("-", "−") for gain in two)
        return f"{scaled} and {translated}"

    tables = ROOT / "results/vision-laptop/tables"
    text = " ".join(README.split())
    scaled, translated = gains("CNN → MLP", "MLP").split(" and ")
    assert f"CNN → MLP gains {scaled} on Scaled and {translated} on Translated" in text
    assert f"MLP → MLP {gains('MLP → MLP', 'MLP')}." in text
    assert f"with none at all it is {gains('CNN → MLP · no penalty', 'MLP · no penalty')}," in text
    assert f"it is gone ({gains('CNN → MLP · factor inv_tau2', 'MLP')})" in text
    verdicts = [line.split("|")[2].strip() for line in (tables / "claims.md").read_text().splitlines() if "| C" in line]
    told = {"supported": 6, "contradicted": 1, "too few trials": 11}  # of 18, in the README in words
    assert "of 18 six are supported, C29 is contradicted, for eleven four trials are too few" in text
    assert {verdict: verdicts.count(verdict) for verdict in verdicts} == told
    (mlp,), (cnn,) = (
        re.findall(rf"Figure 8 \(.\) {kind} \| ([\d.]+)", (tables / "barriers.md").read_text())
        for kind in ("MLP", "CNN")
    )
    assert f"separated by {float(mlp):.3f} nats of test loss, two CNNs by {float(cnn):.3f}," in text
    paths = re.findall(r"\| ([\d.]+) ± [\d.]+ \| ([\d.]+) ±", (tables / "paths.md").read_text())
    (whole, end), (other_whole, other_end) = ((f"{float(each):.3f}" for each in row) for row in paths)
    assert (
        f"({whole} against {other_whole} for an independent MLP), though it ends nearer ({end} against {other_end})"
        in text
    )


def test_the_table_of_the_papers_length_is_of_the_committed_result() -> None:
    committed = (ROOT / "results/vision-paper/tables/factors.md").read_text().splitlines()
    shown = README.partition("### At the paper's length")[2].partition("\n![")[0].splitlines()
    rows = [line for line in shown if line.startswith("|")]
    assert len(rows) >= 7 and set(rows) <= set(committed)  # names, rule, the MLP, two students of two teachers


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


def test_the_speed_table_is_that_of_the_committed_measurements() -> None:
    page = (ROOT / "results/benchmarks/peers.md").read_text()
    overview = page.partition("\n## ")[0]  # the first table; then one for each workload
    rows = [line for line in overview.splitlines() if line.startswith("|")]
    assert len(rows) == 9  # names, rule, seven workloads
    assert "\n".join(rows) in README


def test_what_students_of_language_models_won_and_lost_is_in_their_packed_predictions() -> None:
    """On the sentences with one attractor; the least and the most over trials."""
    said: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for folder in (ROOT / "results/agreement-lm-laptop/packed").iterdir():
        record = Record(folder)
        rows = record.predictions("numpred-1")
        arm, _, trial = record.facts["label"].partition(" · trial ")
        said[arm][int(trial)] = rows.logits.argmax(1)
    trials = sorted(said["LSTM"])
    right = {arm: {trial: said[arm][trial] == rows.labels for trial in trials} for arm in said}

    def counted(better: str, worse: str) -> str:
        counts = [int((right[better][trial] & ~right[worse][trial]).sum()) for trial in trials]
        return f"{min(counts):,} to {max(counts):,}"

    def same(arm: str) -> str:
        shares = [float((said[arm][trial] == said["LSTM"][trial]).mean()) for trial in trials]
        return f"{min(shares):.3f} to {max(shares):.3f}"

    def won_and_lost(arm: str) -> tuple[str, str]:
        return counted(arm, "Transformer"), counted("Transformer", arm)

    (won, lost), own = won_and_lost("LSTM → Transformer"), won_and_lost("Transformer → Transformer")
    text = " ".join(README.split())
    assert f"Of {len(rows.labels):,} sentences with one such noun the LSTM's student gets {won} right" in text
    assert f"and {lost} the other way; the Transformer's student {own[0]} and {own[1]}." in text
    assert (
        f"own answer to {same('LSTM → Transformer')} of them, the Transformer from labels to {same('Transformer')}."
        in text
    )


def test_what_language_models_gained_is_that_of_the_committed_result() -> None:
    gains = (ROOT / "results/agreement-lm-laptop/tables/gains.md").read_text().replace("\\", "")
    text = " ".join(README.split())
    for pair in ("LSTM → Transformer", "Transformer → Transformer", "Transformer → LSTM"):
        row = next(line for line in gains.splitlines() if line.startswith(f"| {pair} minus"))
        mean, interval = (cell.strip() for cell in row.split("|")[2:4])
        low, high = interval.strip("[").split("]")[0].split(", ")
        sign = "" if mean.startswith("−") else "+"
        told = re.escape(f"{sign}{mean.split()[0]}") + ".{1,45}" + re.escape(f"{low} to {high}")
        assert re.search(told, text), row


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


def test_what_penalties_and_a_cnn_give_an_mlp_is_of_the_same_trials() -> None:
    records = [json.loads(path.read_text()) for path in (ROOT / "results/vision-paper/records").glob("*.json")]
    scores = {record["label"]: record["scores"] for record in records}

    def gains(better: str, worse: str) -> list[str]:
        pairs = [(scores[f"{better} · trial {trial}"], scores[f"{worse} · trial {trial}"]) for trial in (0, 1)]
        return [
            f"+{np.mean([a[test]['accuracy'] - b[test]['accuracy'] for a, b in pairs]):.3f}"
            for test in ("scale-3", "translate-3")
        ]

    penalties, cnn = gains("MLP", "MLP · no penalty"), gains("CNN → MLP · no penalty", "MLP · no penalty")
    plain = " ".join(README.split())
    assert "by {} and {}, nearly as much as a CNN's answers do without any, {} and {}".format(*penalties, *cnn) in plain


def test_how_many_times_as_fast_an_h200_is_is_of_the_committed_measurement() -> None:
    measured = json.loads((ROOT / "results/benchmarks/h200/peers-V.json").read_text())
    library = min(schedule_seconds(name, measured) for name in measured["gate"] if name.partition(",")[0] in arms.PEERS)
    four, twelve = (
        library / schedule_seconds(f"ours, {count} trials at once", measured) for count in ("four", "twelve")
    )
    plain = " ".join(README.split())
    assert f"at once are {four:.0f} times as fast as one after another by the fastest" in plain
    assert f"trains them, {twelve:.0f} times" in plain
