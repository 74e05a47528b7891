"""What a record says of memory and speed: worked by hand, and of this run alone."""

import mmap
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import tiny

from distillbias.studies import provenance
from distillbias.studies.provenance import Effort, forget_peak, peak_megabytes, speed
from distillbias.studies.store import Store
from distillbias.tasks.task import Examples
from distillbias.training.checkpoint import Course


def test_the_peak_is_of_this_run_alone() -> None:
    """Pages of the system's own: what malloc gives back is a matter of its settings, which reports change."""
    large = touched(300)
    with_it = peak_megabytes()
    large.close()
    forget_peak()
    without = peak_megabytes()
    assert with_it - without > 250
    again = touched(100)
    assert 90 < peak_megabytes() - without < 150
    again.close()


def touched(megabytes: int) -> mmap.mmap:
    """Memory that is there, each of its pages written once."""
    pages = mmap.mmap(-1, megabytes * 2**20)
    for start in range(0, len(pages), mmap.PAGESIZE):
        pages[start] = 1
    return pages


def test_speed_by_hand() -> None:
    """25 sentences in batches of 10: 2 batches an epoch, 3 epochs, 60 examples of 4 words in 12 seconds."""
    inputs = np.zeros((25, 7), dtype=np.int32)
    inputs[:, :4] = 9
    sentences = Examples(inputs, np.zeros(25), np.arange(25), "made", "0")
    recipe = replace(tiny.RECIPE, epochs=3, batch=10)
    told = speed(sentences, recipe, Course(seconds=12.0), 0.5)
    assert told == {"examples_per_second": 5.0, "processor": 0.5, "words_per_second": 20.0}
    assert "words_per_second" not in speed(tiny.examples(25), recipe, Course(seconds=12.0), 0.5)


def test_effort_is_what_the_processor_was_used() -> None:
    """Sleeping is no work; what a busy machine leaves of a core is not ours to say."""
    idle = Effort()
    time.sleep(0.3)
    assert idle.share < 0.2
    busy = Effort()
    while time.process_time() - busy.used < 0.2:
        pass
    passed = time.perf_counter() - busy.clock
    assert busy.share == pytest.approx(0.2 / passed / torch.get_num_threads(), rel=0.2)


def test_a_record_says_it(tmp_path) -> None:
    store: Store = tiny.trained(tmp_path, tiny.ALONE)
    facts = store.record(tiny.ALONE).facts
    assert facts["speed"].keys() == {"examples_per_second", "processor"}
    taken = tiny.ALONE.recipe.steps(facts["train"]["n"]) * tiny.ALONE.recipe.batch
    assert facts["speed"]["examples_per_second"] == pytest.approx(taken / facts["seconds"]["training"])
    assert 0 < facts["speed"]["processor"] <= 1.5


def test_the_commit_is_asked_of_a_repository_that_is_left_as_it_was(tmp_path: Path, monkeypatch) -> None:
    """Not even its index is refreshed: a run that is killed meanwhile would leave a lock there."""
    package, index = tmp_path / "package", tmp_path / ".git" / "index"
    file = package / "studies" / "provenance.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    known = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout[:12]
    monkeypatch.setattr(provenance, "__file__", str(file))
    os.utime(file, (1e9, 1e9))  # what the index says of it is no longer so
    before = index.read_bytes()
    assert provenance.commit.__wrapped__() == known and index.read_bytes() == before
    subprocess.run([*git, "status"], check=True, capture_output=True)
    assert index.read_bytes() != before, "git itself would not have refreshed it"
    file.write_text("changed")
    assert provenance.commit.__wrapped__() == f"{known} + changes"
