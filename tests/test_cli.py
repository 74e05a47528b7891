"""The command line: every command explains itself, and whatever a user gets wrong is one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from tests import tiny

from distillbias import cli
from distillbias.data.catalogue import MNIST
from distillbias.studies import catalogue
from distillbias.studies.store import Store
from distillbias.studies.study import Study

COMMANDS = [("demo",), ("run",), ("report",), ("status",), ("list",), ("evaluate",)]
COMMANDS += [("pack",), ("unpack",), ("verify",)]
COMMANDS += [("data",), *(("data", sub) for sub in ("list", "get", "import", "verify"))]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run the program in an empty folder: (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("DISTILLBIAS_STORE", "DISTILLBIAS_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def called(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["distillbias", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return called


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study `vision` is one tiny run, whatever the scale."""
    study = Study("vision", "tiny", "?", {"MLP": (tiny.ALONE,)})
    entry = catalogue.Entry("?", lambda scale, trials, epochs: study)
    monkeypatch.setitem(catalogue.STUDIES, "vision", entry)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_an_example(call, command: tuple[str, ...]) -> None:
    status, out, err = call(*command, "--help")
    assert status == 0 and err == ""
    assert f"Example: distillbias {' '.join(command)}" in " ".join(out.split())


def test_no_command_is_left_out_above() -> None:
    click = typer.main.get_command(cli.app)
    found = {(name,) for name in click.commands}
    found |= {("data", name) for name in click.commands["data"].commands}
    assert found == set(COMMANDS)


def test_help_names_the_first_command(call) -> None:
    status, out, _ = call("--help")
    assert status == 0 and "Start with: distillbias demo" in out


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
sys.argv = ["distillbias", "--help"]
from distillbias.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code
heavy = {"torch", "sklearn", "matplotlib", "pyarrow", "scipy", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def one_error_line(called: tuple[int, str, str], *parts: str) -> None:
    status, _, err = called
    assert status != 0
    assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1, err
    for part in parts:
        assert part in err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("run visoin", ["unknown study 'visoin'", "vision"]),
        ("report visoin", ["unknown study 'visoin'"]),
        ("status visoin", ["unknown study 'visoin'"]),
        ("run vision --scale huge", ["unknown scale 'huge'", "demo, laptop, paper"]),
        ("run vision --trials 0", ["0 trials", "at least 1"]),
        ("demo --trials -1", ["-1 trials"]),
        ("run vision --epochs -3", ["epochs is -3", "at least 1"]),
        ("demo --epochs 0", ["epochs is 0"]),
        ("run vision --arm CNM", ["no arm 'CNM'", "near it: 'CNN'", "'CNN → MLP'"]),
        ("run vision --workers 0", ["0 workers"]),
        ("run vision --workers 0 --dry-run", ["0 workers"]),
        ("demo --workers -2", ["-2 workers"]),
        ("run vision --device gpu", ["device 'gpu'", "cpu"]),
        ("run vision --device cuda:99", ["device 'cuda:99'"]),
        ("run vision --executor slurm", ["executor 'slurm'", "processes", "ray"]),
        ("run vision --address 127.0.0.1:1", ["address '127.0.0.1:1'", "only --executor ray"]),
        ("run vision --executor ray --address 127.0.0.1:1", ["no Ray cluster answers at 127.0.0.1:1", "refused"]),
        ("run vision --executor ray --address nowhere --dry-run", ["address 'nowhere'", "HOST:PORT"]),
        ("run vision --executor ray --device cuda:1", ["device 'cuda:1'", "cpu or cuda"]),
        ("run vision --executor ray --workers 0", ["0 workers"]),
        ("run vision --scale laptop --data nowhere", ["no complete MNIST in nowhere", "distillbias data get mnist"]),
        ("evaluate 3f2a --data nowhere", ["0 runs begin with '3f2a'", "none"]),
        ("report vision --trials 1", ["nothing to report", "store"]),
        ("data get minst", ["minst"]),
        ("data verify minst", ["minst"]),
        ("data import mnist nowhere", ["nowhere"]),
    ],
)
def test_a_mistake_is_one_line(call, tmp_path: Path, words: str, parts: list[str]) -> None:
    one_error_line(call(*words.split()), *parts)
    assert not list(tmp_path.rglob("done")) and not list(tmp_path.rglob("report.html"))


@pytest.mark.parametrize("command", ["demo", "run vision", "report vision", "status vision", "evaluate 3f --data x"])
def test_a_store_that_cannot_be_is_one_line(call, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    one_error_line(call(*command.split(), "--store", "file/store"), "cannot write to file/store", "--store")


def test_a_report_that_cannot_be_written_is_one_line(call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one_error_line(call("report", "vision", "--trials", "1", "--out", "file/out"), "cannot write to file/out")


def test_a_data_home_that_is_a_file_is_one_line(call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in ("data list", "data verify mnist", "run vision --scale laptop"):
        one_error_line(call(*command.split(), "--data", "file"), "is a file")


def test_a_truncated_idx_file_is_one_line(call, tmp_path: Path) -> None:
    for file in MNIST.files:
        (tmp_path / file.name).write_bytes(b"\x00\x00\x08\x03" + b"\x00" * 100)
    words = ("run", "vision", "--scale", "laptop", "--data", ".")
    one_error_line(call(*words), "train-images-idx3-ubyte", "104 bytes", "47040016")
    assert not list(tmp_path.rglob("done"))


def test_evaluate_scores_slices_and_refuses_the_rest(call, tmp_path: Path) -> None:
    tiny.trained(tmp_path / "store", tiny.ALONE)
    images, labels = tiny.examples(30).inputs, tiny.examples(30).labels
    np.savez(tmp_path / "good.npz", images=images, labels=labels, half=np.repeat([0, 1], 15))
    status, out, err = call("evaluate", tiny.ALONE.name[:8], "--data", "good.npz")
    assert status == 0 and err == "" and "MLP · trial 0" in out
    assert [line.split("│")[1].strip() for line in out.splitlines() if "│" in line] == ["all", "half = 0", "half = 1"]
    np.savez(tmp_path / "bad.npz", images=images, labels=labels + 7)
    one_error_line(call("evaluate", tiny.ALONE.name, "--data", "bad.npz"), "label", "0..9")
    one_error_line(call("evaluate", tiny.ALONE.name, "--data", "nowhere"), "nothing to score in nowhere")
    one_error_line(call("evaluate", "zz", "--data", "good.npz"), "0 runs begin with 'zz'", tiny.ALONE.name)


def test_evaluate_on_no_device_is_one_line(call, tmp_path: Path) -> None:
    tiny.trained(tmp_path / "store", tiny.ALONE)
    words = ("evaluate", tiny.ALONE.name, "--data", "x.npz", "--device", "gpu")
    one_error_line(call(*words), "device 'gpu'")


def test_status_and_list_answer(call, small, tmp_path: Path) -> None:
    status, out, err = call("status", "vision")
    assert (status, err) == (0, "") and "0 of 1 runs done" in out
    tiny.trained(tmp_path / "store", tiny.ALONE)
    assert "1 of 1 runs done" in call("status", "vision")[1]
    status, out, err = call("list")
    assert (status, err) == (0, "") and all(word in out for word in ("vision", "CNN", "MLP", "demo, laptop, paper"))


def test_the_store_may_be_named_by_the_environment(call, small, monkeypatch, tmp_path: Path) -> None:
    tiny.trained(tmp_path / "elsewhere", tiny.ALONE)
    monkeypatch.setenv("DISTILLBIAS_STORE", str(tmp_path / "elsewhere"))
    assert "1 of 1 runs done" in call("status", "vision")[1]


def test_data_list_says_what_is_here(call) -> None:
    status, out, _ = call("data", "list", "--data", "data")
    assert status == 0 and "data sets in data" in out
    assert out.count("[not here]") == 3
    status, out, _ = call("data", "verify", "mnist", "--data", "data")
    assert status == 1 and out.count("missing") == 4


def test_while_another_command_trains_a_second_one_is_told(call, small, tmp_path: Path) -> None:
    with Store(tmp_path / "store").alone():
        one_error_line(call("run", "vision"), "already trains", "--store")


def test_stopping_says_that_nothing_is_lost(call, monkeypatch) -> None:
    def stopped(*asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "find_study", stopped)
    status, _, err = call("status", "vision")
    assert status == 130 and err.strip() == "stopped; what is finished is kept, the same command goes on from there"


def test_failures_end_with_one_line_after_the_report(call, small, monkeypatch) -> None:
    from distillbias.studies import runner

    monkeypatch.setattr(
        runner, "run_study", lambda *asked, **named: [runner.Failure(tiny.ALONE, "the loss became nan")]
    )
    reported = []
    monkeypatch.setattr(sys.modules["distillbias.cli.train"], "report", lambda *asked: reported.append(asked))
    one_error_line(call("run", "vision"), "1 of 1 runs failed; the report shows the holes")
    assert len(reported) == 1


def test_agreement_files_are_recognised_imported_and_verified(call) -> None:
    folder = Path("given")
    folder.mkdir()
    (folder / "numpred.val").write_text("VBZ\tthe dog\nVBP\tthe dogs near it\n")
    (folder / "notes.txt").write_text("nothing of the kind\n")
    status, out, _ = call("data", "import", "agreement", folder, "--data", "data")
    assert status == 0 and out.strip() == "data/sva_linzen_numpred/numpred.val"
    assert "[numpred-val]" in call("data", "list", "--data", "data")[1]
    status, out, _ = call("data", "verify", "agreement", "--data", "data")
    assert status == 1 and "ok       numpred-val: 2 sentences" in out and "missing  wiki-train" in out
    one_error_line(call("run", "agreement", "--scale", "laptop", "--data", "data"), "no wiki-train in data", "import")
    one_error_line(call("data", "get", "agreement"), "404 since 2024", "data import agreement")
    (folder / "numpred.val").write_text("VBZ\tthe dog\nVBX\tthe dogs\n")
    one_error_line(call("data", "import", "agreement", folder, "--data", "data"), "numpred.val line 2", "VBX")
    assert call("data", "import", "agreement", folder, "--data", "data", "--skip-bad")[0] == 0
