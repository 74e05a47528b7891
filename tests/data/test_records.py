"""JSON, tensors and tables from a stranger."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save

from distillbias.data.files import ROOM
from distillbias.data.records import MOST_VALUES, read_json, read_table, read_tensors
from distillbias.data.text import printable
from distillbias.data.vocabulary import SPECIALS, Vocabulary, read_words
from distillbias.errors import InputError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def parquet(**columns: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, compression="zstd")
    return out.getvalue()


@given(VALUES)
def test_json_comes_back(value):
    assert read_json(json.dumps(value).encode(), "x") == value


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5_000, b"{'a': 1}"])
def test_what_is_no_json_is_one_line(data):
    with pytest.raises(InputError, match="^x cannot be read: [^\n]+$"):
        read_json(data, "x")


@given(arrays(st.sampled_from([np.float32, np.float16, np.int64, np.uint8]), array_shapes(min_side=0, max_side=4)))
def test_tensors_come_back(values):
    found = read_tensors(save({"a": values}), "x")
    assert found["a"].dtype == values.dtype and found["a"].shape == values.shape
    assert found["a"].tobytes() == values.tobytes()


def test_tensors_that_lie_are_refused():
    header = b'{"a": {"dtype": "F32", "shape": [1000000000], "data_offsets": [0, 4000000000]}}'
    for data in (
        b"",
        b"\xff" * 20,
        len(header).to_bytes(8, "little") + header + b"abcd",
        (2**62).to_bytes(8, "little"),
    ):
        with pytest.raises(InputError, match="^x cannot be read: [^\n]+$"):
            read_tensors(data, "x")


def test_a_table_comes_back_with_the_columns_asked_for():
    data = parquet(a=[1, 2, 3], b=pa.array(["x", "y", "x"]).dictionary_encode(), c=[0.5, 1.5, 2.5])
    assert read_table(data, ("c", "b"), "x").to_pydict() == {"c": [0.5, 1.5, 2.5], "b": ["x", "y", "x"]}
    with pytest.raises(InputError, match="x cannot be read: no column 'd' among a, b, c"):
        read_table(data, ("d",), "x")


def test_tables_that_expand_are_refused():
    small = parquet(a=np.zeros(MOST_VALUES // 2 + 1, np.int8), b=np.zeros(MOST_VALUES // 2 + 1, np.int8))
    long = parquet(a=pa.array(["a" * (ROOM + 1)]).dictionary_encode())
    assert len(small) < MOST_VALUES // 200 and len(long) < ROOM // 200
    for data in (small, long):
        with pytest.raises(InputError, match="x cannot be read: .* at most"):
            read_table(data, None, "x")
    with pytest.raises(InputError, match="column 'a' has neither numbers nor texts of a dictionary"):
        read_table(parquet(a=["a"]), None, "x")


def test_a_vocabulary_comes_back_or_is_refused():
    words = (*SPECIALS, "the", "=1+1", "\ud800")
    assert read_words(json.dumps(words).encode(), "x") == words
    for bad in ({}, None, [1], [*SPECIALS, 1], ["the"], [*SPECIALS, "a", "a"], [*SPECIALS, None]):
        with pytest.raises(InputError) as caught:
            read_words(json.dumps(bad).encode(), "x")
        assert "\n" not in str(caught.value)


def test_a_long_row_beside_many_short_ones_fills_no_memory():
    rows = [["a"]] * 300_000 + [["a"] * 1_000]
    with pytest.raises(InputError, match="300,001 rows of up to 1,000 words; at most 268,435,456"):
        Vocabulary(SPECIALS).encode(rows)


@given(st.text())
def test_printable_is_one_line_and_can_be_told_apart(text):
    shown = printable(text)
    assert shown.isprintable() and printable(shown) == shown
    shown.encode()
    if text.isprintable() and "  " not in text and text == text.strip():
        assert shown == text
