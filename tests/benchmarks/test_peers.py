"""Of the benchmarks beside peers what is ours: the exported workload, the gate, the tables. No peer is needed."""

import copy
import hashlib
from pathlib import Path

import numpy as np
import pytest
from benchmarks.peers import arms, environments, measure
from benchmarks.peers.__main__ import chosen
from benchmarks.peers.arms import ours, plain, strong
from benchmarks.peers.export import export, orders
from benchmarks.peers.gate import judge
from benchmarks.peers.given import Given, Rows, Watch, collate
from benchmarks.peers.measure import summary
from benchmarks.peers.table import overview, schedule_seconds, table
from benchmarks.peers.workloads import BATCH, WORKLOADS

from distillbias.errors import InputError
from distillbias.tasks.task import Examples

STEPS = 2


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    assert export("V", folder / "no data here", folder, steps=STEPS)["real"] is False
    return folder


def losses(arm: object, folder: Path, precision: str = "float32") -> list[float]:
    watch = Watch()
    arm.train(Given(folder, STEPS, "random", precision, tuned=False, gate=True, workers=1), watch)
    assert len(watch.times) == STEPS
    return [float(loss) for loss in watch.losses]


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_an_exported_workload_is_the_same_twice(digits: Path, tmp_path: Path) -> None:
    export("V", tmp_path / "no data here", tmp_path, steps=STEPS)
    assert len(digest(digits)) == 9
    assert digest(tmp_path) == digest(digits)


def test_sentences_in_buckets_are_the_same_ones_with_less_padding() -> None:
    random = np.random.default_rng(0)
    inputs = random.integers(1, 9, (STEPS * BATCH, 20)).astype(np.int32)
    inputs *= np.arange(20) < random.integers(1, 21, (len(inputs), 1))  # sentences of 1 to 20 words
    nothing = np.zeros(len(inputs), np.int64)
    found = orders(Examples(inputs, nothing, nothing, "made up", "made up"), STEPS)
    assert (np.sort(found["random"].ravel()) == np.arange(len(inputs))).all()
    assert (np.sort(found["buckets"].ravel()) == np.arange(len(inputs))).all()
    rows = Rows(inputs, nothing)
    padded = {key: [collate([rows[row] for row in batch])[0] for batch in order] for key, order in found.items()}
    assert [batch.shape[1] for batch in padded["random"]] == [20] * STEPS
    assert sum(batch.numel() for batch in padded["buckets"]) < 0.8 * sum(batch.numel() for batch in padded["random"])
    kept = padded["random"][0][5]
    assert kept.tolist() == inputs[found["random"][0, 5]].tolist()


def test_the_gate_lets_equal_losses_pass_and_refuses_those_of_another_loss(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = losses(plain, digits)
    assert expected[0] > 0.1, "a loss near 0 would compare rounding errors"
    for arm in (strong, ours):
        assert judge(losses(arm, digits), expected, "float32").passed
        assert judge(losses(arm, digits, "bfloat16"), expected, "bfloat16").passed
    right = plain.distillation_loss
    monkeypatch.setattr(plain, "distillation_loss", lambda *asked: right(*asked) / 25)  # KL without temperature squared
    refused = judge(losses(plain, digits), expected, "float32")
    assert not refused.passed
    assert "at step 1" in refused.why


def test_the_gate_is_as_wide_as_it_says() -> None:
    assert judge([1.00009, 2.0], [1.0, 2.0], "float32").passed
    assert judge([1.0, 2.0003], [1.0, 2.0], "float32").why == (
        "its loss 2.0003 at step 2 is 2 in the plain loop, 1.5e-04 apart, more than 1e-04"
    )
    assert judge([1.0, 2.0003], [1.0, 2.0], "bfloat16").passed
    assert not judge([float("nan")], [1.0], "bfloat16").passed
    assert not judge([1.0], [1.0, 2.0], "float32").passed


def test_a_summary_counts_steps_after_the_warmup_and_all_trials_at_once() -> None:
    alone = {
        "times": [0.0, 9.0, 10.0, 11.0, 12.0],
        "peak_bytes": 5,
        "cache": 8.0,
        "words": [9, 9, 2, 4, 6],
        "versions": {},
    }
    assert summary(alone, 2, 1) == {"seconds": 1.0, "words": 4, "cache": 8.0, "peak_bytes": 5, "versions": {}}
    slower = alone | {"times": [0.0, 9.0, 12.0, 15.0, 18.0]}
    assert summary(alone | {"workers": [alone, slower]}, 2, 2) == {
        "seconds": 1.0,  # two trials take 1 and 3 seconds a step, at once
        "words": 4,
        "cache": 4.0,
        "peak_bytes": 10,
        "versions": {},
    }


def measured() -> dict:
    """A made-up measurement: 1,000 words a step in buckets, 2,000 in random order."""
    each = {"peak_bytes": 2**20, "versions": {"torch": "2.13.0"}}
    return {
        "facts": {
            "name": "L",
            "title": "made up",
            "data": "words",
            "real": True,
            "train": 1280,
            "test": 100,
            "batch": 128,
            "epochs": 2,
            "words": 1500.0,
        },
        "machine": {
            "processor": "P",
            "cores": 2,
            "load_before": 0.1,
            "load_after": 2.0,
            "date": "2020-01-01",
            "commit": "c",
        },
        "protocol": {"gated": 50, "warmup": 1, "steps": 5, "repeats": 3},
        "gate": {
            "plain": {"passed": True, "worst": 0.0, "why": ""},
            "lightning, tuned": {"passed": True, "worst": 2e-7, "why": ""},
            "transformers, tuned": {"passed": False, "worst": 0.9, "why": "its loss is another"},
            "ours": {"passed": True, "worst": 3e-7, "why": ""},
        },
        "repeats": {
            "plain": [each | {"seconds": s, "words": 2000, "evaluation": 0.5} for s in (4.0, 9.0, 4.0)],
            "lightning, tuned": [each | {"seconds": 1.0, "words": 1000}],
            "ours": [each | {"seconds": s, "words": 1000, "cache": 0.25, "evaluation": 0.1} for s in (0.5, 0.4, 0.6)],
        },
    }


def cells(page: str, arm: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith(f"| {arm} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_table_compares_by_word_and_gives_a_refused_arm_no_number() -> None:
    page = table(measured())
    # plain: 4 s for 2,000 words; Lightning: 1 s for 1,000; ours: 0.5 s for 1,000
    assert cells(page, "plain")[:5] == ["4000.00", "2500.00", "2000.0", "1.00", "0.50"]
    assert cells(page, "ours")[:5] == ["500.00", "100.00", "500.0", "4.00", "2.00"]
    assert cells(page, "transformers, tuned") == ["–"] * 7 + ["failed: its loss is another"]
    assert "do not trust" not in page and "quick look" not in page


def test_the_schedule_of_four_trials_counts_steps_evaluations_and_caches() -> None:
    # 10 steps of 1,500 words an epoch, 2 epochs, 100 test examples
    assert schedule_seconds("plain", measured()) == pytest.approx(4 * 2 * (10 * 3.0 + 100 * 0.5))
    assert schedule_seconds("lightning, tuned", measured()) == pytest.approx(4 * 2 * (10 * 1.5 + 100 * 0.5))
    assert schedule_seconds("ours", measured()) == pytest.approx(4 * (2 * (10 * 0.75 + 100 * 0.1) + 1280 * 0.25))


def test_the_overview_compares_whole_schedules_and_single_steps() -> None:
    with_strong = measured()
    each = {"peak_bytes": 1, "versions": {}, "words": 1000}
    for name, seconds in (("strong", 1.0), ("ours, bf16, two trials at once", 0.25)):
        with_strong["gate"][name] = {"passed": True, "worst": 0.0, "why": ""}
        with_strong["repeats"][name] = [each | {"seconds": seconds, "cache": 0.125, "evaluation": 0.1}]
    # a trial of ours at best: 2 (10 x 1.5 x .25 + 100 x .1) + 1280 x .125 = 187.5 s; plain 160, Lightning 130, and of
    # the strong loop 2 (10 x 1.5 x 1 + 100 x .1) + 160 = 210; its step takes twice as long as ours of one trial
    assert cells(overview([with_strong]), "L: made up") == ["0.85", "–", "0.69", "1.12", "–", "2.00", "–"]


def test_a_busy_machine_and_a_quick_look_are_said_above_the_table() -> None:
    busy = copy.deepcopy(measured())
    busy["machine"]["load_before"], busy["protocol"]["gated"] = 0.51, 10
    page = table(busy)
    assert "do not trust these numbers" in page and "a quick look, not a measurement" in page


def test_arms_and_workloads_that_are_not_there_are_named_with_the_choices() -> None:
    with pytest.raises(InputError, match="unknown arm 'fast'; it is one of plain; strong"):
        chosen("fast", ";", arms.ARMS, [], "arm")
    with pytest.raises(InputError, match="unknown workload 'X'; it is one of V, C"):
        export("X", None, Path("nowhere"), STEPS)


@pytest.mark.parametrize("name", arms.PEERS)
def test_every_peer_is_pinned_beside_the_torch_of_this_project(name: str) -> None:
    lines = [line for line in environments.requirements(name).read_text().splitlines() if line[0] != "#"]
    assert lines[0] == "torch==2.13.0"
    assert all("==" in line for line in lines)
    assert any(line.startswith(f"{name}==") for line in lines)


def test_an_environment_of_other_requirements_is_not_ready(tmp_path: Path) -> None:
    assert environments.ready("", tmp_path) and not environments.ready("lightning", tmp_path)
    mark = tmp_path / "lightning" / "requirements.txt"
    mark.parent.mkdir()
    mark.write_text(environments.requirements("lightning").read_text())
    assert environments.ready("lightning", tmp_path)
    mark.write_text("torch==1.0\n")
    assert not environments.ready("lightning", tmp_path)


def test_without_a_folder_every_environment_is_the_one_that_runs() -> None:
    assert environments.python_of("lightning", None) == environments.python_of("", Path("anywhere"))


def test_what_is_measured_is_there_after_each_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arm: arms.Arm, folder: Path, where: Path | None, warmup: int, steps: int, gate: bool, device: str) -> dict:
        if arm.script == "strong":
            raise measure.Broken("no such library")
        return {"losses": [1.0], "times": [0.0, 1.0, 3.0], "words": [0, 0, 0], "peak_bytes": 1, "versions": {}}

    monkeypatch.setattr(measure, "run_arm", run)
    said: list[str] = []
    for device in ("cpu", "cuda"):  # one after another, several at once
        gate = measure.gated(["ours", "plain", "strong"], Path(), None, 1, said.append, device)
        assert {name: verdict["passed"] for name, verdict in gate.items()} == {
            "plain": True,
            "ours": True,
            "strong": False,
        }
        assert gate["strong"]["why"] == "it cannot run: no such library"
    lengths = []
    for found in measure.timed(["plain", "strong"], Path(), None, 1, 2, 3, said.append):
        lengths.append({name: len(repeats) for name, repeats in found.items()})
        assert all(repeat["seconds"] == 1.5 for repeat in found["plain"])
    assert lengths == [{"plain": 1, "strong": 0}, {"plain": 2, "strong": 0}, {"plain": 3, "strong": 0}]


def test_an_arm_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measure, "PATIENCE", {"cpu": 0.2})
    with pytest.raises(measure.Broken, match="did not end within 0.2 s"):
        measure.run_arm(arms.ARMS["plain"], tmp_path, None, 0, 1, gate=True)


def test_a_gpus_steps_are_more() -> None:
    work = WORKLOADS["V"]
    assert work.protocol(longer=False) == (work.warmup, work.steps)
    warmup, steps = work.protocol(longer=True)
    assert steps > work.steps and warmup > work.warmup


def test_timed_batches_are_those_of_the_warmup(digits: Path) -> None:
    given = Given(digits, 5, "random", "float32", tuned=False, gate=False, workers=1, warmup=3)
    first, second = np.load(digits / "random.npy")
    assert (given.rows.numpy() == np.stack([second, first, second, first, second])).all()
    assert given.schedule == 400 * (given.facts["train"] // BATCH)
