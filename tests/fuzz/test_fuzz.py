"""Every reader of bytes from outside refuses in one line or returns what keeps its promises: `readers` has the laws.

`python -m tests.fuzz.harness` does the same at length, with time and memory.
"""

import json
from functools import cache
from random import Random
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz import corpus, harness
from tests.fuzz.readers import READERS, Reader, case

from distillbias.errors import InputError


@cache
def seeds(name: str) -> list[corpus.Files]:
    return READERS[name].seeds()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("name", READERS)
def test_changed_files(name, scratch):
    @settings(max_examples=60)
    @given(st.integers(0, 2**32))
    def check(number):
        outcome = harness.attempt(READERS[name], case(READERS[name], seeds(name), [], Random(number)), scratch)
        assert outcome in ("accepted", "refused"), outcome

    check()


@pytest.mark.parametrize("name", READERS)
def test_any_bytes(name, scratch):
    @settings(max_examples=10)
    @given(st.binary(max_size=300))
    def check(data):
        files = dict.fromkeys(seeds(name)[0], data)
        assert harness.attempt(READERS[name], files, scratch) in ("accepted", "refused")

    check()


@pytest.mark.parametrize("name", [name for name in READERS if not name.startswith("import mnist")])
def test_good_files_are_accepted(name, scratch):
    reader = READERS[name]
    files = seeds(name)[0]
    packed = reader.wrap(files, Random(2)) if reader.wrap and name in ("gzip", "npz", "zip") else files
    assert harness.attempt(reader, packed, scratch) == "accepted"


@pytest.mark.parametrize("bad", [*corpus.HEADERS, *corpus.IDX[2:]])
def test_headers_that_lie(bad, scratch):
    for name in ("npy", "idx"):
        assert harness.attempt(READERS[name], {"file": bad}, scratch) in ("accepted", "refused")


def test_the_harness_tells_faults_and_keeps_their_bytes(tmp_path, monkeypatch):
    def read(files, folder):
        raise InputError("one\nmore") if number() < 0.5 else KeyError("a fault")

    number = Random(0).random
    monkeypatch.setitem(READERS, "broken", Reader(lambda: [{"a": b"some bytes"}], read, written=False))
    count = harness.run("broken", 20, 0, tmp_path, tmp_path)
    assert (count.cases, count.accepted, count.refused, count.faults) == (20, 0, 0, 20)
    reasons = {(folder / "what.txt").read_text().splitlines()[-1] for folder in (tmp_path / "faults").iterdir()}
    assert reasons == {"more", "KeyError: 'a fault'"} and (tmp_path / "faults" / "broken-3" / "a").is_file()
    monkeypatch.setattr("sys.argv", ["harness", "--cases", "4", "--out", str(tmp_path), "--readers", "idx", "broken"])
    assert harness.main() == 1
    told = json.loads((tmp_path / "fuzz.json").read_text())["readers"]
    assert [(one["reader"], one["cases"], one["faults"]) for one in told] == [("idx", 2, 0), ("broken", 2, 2)]


def test_the_same_seed_gives_the_same_inputs():
    reader = READERS["agreement wiki"]
    assert case(reader, seeds("agreement wiki"), [], Random("0/1")) == case(reader, reader.seeds(), [], Random("0/1"))


def test_a_hang_is_told():
    with pytest.raises(harness.Hang, match="of the processor"), harness.alarm(0.01, 60.0):
        while True:
            pass
    with pytest.raises(harness.Hang, match="longer than 0.01 s$"), harness.alarm(60.0, 0.01):
        Event().wait()
