import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from distillbias.data import mnist, published
from distillbias.errors import InputError


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin-1")


@given(arrays(st.sampled_from([np.uint8, np.int64, np.float32]), array_shapes(min_side=0)))
def test_reads_what_numpy_writes(array):
    np.testing.assert_array_equal(published.read_npy(npy(array), "x"), array)
    np.testing.assert_array_equal(published.read_npy(npy(np.asfortranarray(array)), "x"), array)


TEXTS = st.text(st.characters(max_codepoint=255), max_size=80)


@given(st.binary(max_size=80) | TEXTS.map(header) | st.binary(max_size=60).map(lambda tail: b"\x93NUMPY" + tail))
def test_arbitrary_bytes_are_input_errors(data):
    with pytest.raises(InputError, match="^noise: ") as caught:
        published.read_npy(data, "noise")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        npy(np.array([{"an": "object"}], dtype=object)),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 28, 28), }\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -8), }\n") + bytes(8),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (True,), }\n") + bytes(1),
        header("{'descr': '|V0', 'fortran_order': False, 'shape': (9,), }\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "(" * 3000 + "\n"),
        npy(np.zeros(9, np.uint8))[:-1],
        npy(np.zeros(9, np.uint8)) + b"\0",
    ],
)
def test_objects_and_shapes_that_do_not_fit_are_refused_without_allocating(data):
    with pytest.raises(InputError):
        published.read_npy(data, "x")


def test_wrong_arrays_are_named(contents):
    labels = mnist.read_idx(contents["t10k-labels-idx1-ubyte"], "labels")
    pixels = np.zeros((10_000, 28, 28), np.uint8)
    assert published.read_pair(npy(pixels), npy(labels), "fog").origin == "published MNIST-C arrays, fog"
    for wrong_pixels, wrong_labels, message in (
        (pixels[1:], labels[1:], r"shape \[9999, 28, 28\]; the rule is \[10000, 28, 28\]"),
        (pixels.astype(np.float32), labels, "pixels are float32"),
        (pixels, labels[::-1], "not those of the MNIST test set"),
        (pixels, labels[1:], "10000 images but 9999 labels"),
    ):
        with pytest.raises(InputError, match=message):
            published.read_pair(npy(wrong_pixels), npy(wrong_labels), "fog")


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as stream:
        for name, data in members.items():
            stream.writestr(name, data)
    buffer.seek(0)
    return buffer


def test_members_are_found_with_and_without_their_folder_and_nothing_else_is():
    members = {"mnist_c/scale/test_images.npy": b"a", "fog/test_labels.npy": b"b", "../scale/test_labels.npy": b"c"}
    read = published.from_zip(archive(members), "zip")
    assert read("scale/test_images.npy") == b"a" and read("fog/test_labels.npy") == b"b"
    assert read("scale/test_labels.npy") is None


def test_bombs_damage_and_strange_methods_are_input_errors():
    name = "scale/test_labels.npy"
    with pytest.raises(InputError, match="expands to more than"):
        published.from_zip(archive({name: bytes(30_000_000)}), "zip")(name)
    with pytest.raises(InputError, match="neither stored nor deflated"):
        published.from_zip(archive({name: b"x"}, zipfile.ZIP_LZMA), "zip")(name)
    damaged = bytearray(archive({name: b"some content"}, zipfile.ZIP_STORED).getvalue())
    damaged[damaged.index(b"content")] ^= 1
    with pytest.raises(InputError, match="cannot unpack"):
        published.from_zip(io.BytesIO(damaged), "zip")(name)
    with pytest.raises(InputError, match="zip: cannot unpack .File is not a zip"):
        published.from_zip(io.BytesIO(b"no zip at all"), "zip")


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6), st.sampled_from([0, 8]))
def test_a_damaged_archive_gives_the_member_or_an_input_error(changes, method):
    name, content = "scale/test_labels.npy", bytes(range(200))
    data = bytearray(archive({name: content, "other": b"x"}, method).getvalue())
    for place, value in changes:
        data[place % len(data)] = value
    try:
        got = published.from_zip(io.BytesIO(data), "zip")(name)
    except InputError as error:
        assert str(error).startswith("zip: ") and "\n" not in str(error)
    else:
        assert changes or got == content
