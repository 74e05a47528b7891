"""The GPU's benchmark where there is no GPU: it runs, writes what it prints, and refuses what it cannot do."""

import json
from pathlib import Path

import pytest
from benchmarks.gpu import IMAGES, SENTENCES, Case, main, table, work

from distillbias.studies import agreement, vision


def test_it_counts_steps(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--device", "cpu", "--seconds", "0.01", "--cases", "1", "--out", str(tmp_path)]) == 0
    measured = json.loads((tmp_path / "gpu.json").read_text())
    (one,) = measured["found"]
    assert one["title"] == "1 MLP, as they come" and one["rates"]["MLP"] > 0
    assert (tmp_path / "gpu.md").read_text() == table(measured)
    assert table(measured) in capsys.readouterr().out


def test_a_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture) -> None:
    assert main(["--device", "cuda:99"]) == 2
    assert capsys.readouterr().out.startswith("error: device 'cuda:99' cannot be used; here it is one of cpu")


def test_a_case_says_what_it_is() -> None:
    assert Case(("CNN",) * 2 + ("MLP",), shared=True).title == "2 CNN + 1 MLP, at once, recorded"
    assert Case(("MLP",) * 4, recorded=False).title == "4 MLP, in turns, as they come"


def test_students_are_those_of_the_papers_scales() -> None:
    images, sentences = vision.paper(), agreement.paper()
    for case in IMAGES + SENTENCES:
        for name in case.models:
            task, config, recipe, _ = work(name)
            where = images if task == "vision" else sentences
            assert config is not None and config == where.models[name] and recipe in where.taught.values()
    assert {name for case in IMAGES for name in case.models} == {*images.models}
    assert {name for case in SENTENCES for name in case.models} == {*sentences.models}
