"""Whatever a file holds, reading it gives an InputError of one line, or sentences that keep their promises."""

import gzip
import lzma
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.agreement_samples import FILES

from distillbias.data import agreement
from distillbias.data.sentences import FACTS, UNKNOWN, Sentences, fingerprint
from distillbias.errors import InputError

PACKINGS = {"plain": bytes, "gzip": gzip.compress, "xz": lzma.compress}
EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)
CELLS = st.text(alphabet="ab .\t\n09-VBZP\u0130\u2028\x00é", max_size=30)


def keep_their_promises(sentences: Sentences) -> None:
    n = len(sentences)
    assert n and len(sentences.right) == len(sentences.wrong) == len(sentences.verb) == len(sentences.plural) == n
    assert sentences.verb.dtype == np.int32 and sentences.plural.dtype == bool and set(sentences.facts) == set(FACTS)
    lengths = np.array([len(words) for words in sentences.words])
    assert ((sentences.verb > 0) & (sentences.verb <= lengths)).all()
    assert all(all(words) for words in sentences.words)
    assert all(right != wrong or not right for right, wrong in zip(sentences.right, sentences.wrong, strict=True))
    distance, intervening, attractors = (sentences.facts[name] for name in FACTS)
    assert all(len(values) == n and values.dtype == np.int32 for values in (distance, intervening, attractors))
    assert (distance != 0).all() and (distance <= sentences.verb).all()
    assert ((attractors <= intervening) | (intervening == UNKNOWN)).all() and (attractors >= UNKNOWN).all()
    assert len(fingerprint(sentences)) == 16


def read_or_refuse(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        for skip_bad in (False, True):
            try:
                for sentences in agreement.read(Path(folder) / next(iter(files)), skip_bad).values():
                    keep_their_promises(sentences)
                    assert skip_bad or not sentences.skipped
            except InputError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("kind", agreement.FORMATS)
@settings(max_examples=15)
@given(which=st.integers(0, 1), edits=EDITS, cut=st.floats(0.5, 1))
def test_changed_bytes(kind, packing, which, edits, cut):
    files = {name: PACKINGS[packing](text.encode()) for name, text in FILES[kind].items()}
    name = list(files)[which % len(files)]
    data = bytearray(files[name][: int(cut * len(files[name])) + 1])
    for place, value in edits:
        data[int(place * len(data))] = value
    read_or_refuse(files | {name: bytes(data)})


@pytest.mark.parametrize("kind", agreement.FORMATS)
@settings(max_examples=15)
@given(which=st.integers(0, 1), text=CELLS, place=st.floats(0, 1), removed=st.integers(0, 8))
def test_changed_text(kind, which, text, place, removed):
    files = {name: content.encode() for name, content in FILES[kind].items()}
    name = list(files)[which % len(files)]
    content = FILES[kind][name]
    at = int(place * len(content))
    read_or_refuse(files | {name: (content[:at] + text + content[at + removed :]).encode()})


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_anything(data):
    read_or_refuse({"file.text": data, "file.gold": data[::-1]})
