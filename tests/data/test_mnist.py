import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from distillbias.data import catalogue, mnist, mnist_c
from distillbias.errors import InputError

real = pytest.mark.skipif("DISTILLBIAS_DATA" not in os.environ, reason="needs the genuine MNIST at $DISTILLBIAS_DATA")


def test_a_file_by_hand():
    data = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255])
    array = mnist.read_idx(data, "by hand")
    assert array.tolist() == [[1, 2, 3], [4, 5, 255]] and array.flags.writeable


@given(arrays(np.uint8, array_shapes(max_dims=3, min_side=0, max_side=9)))
def test_what_is_written_is_read_and_no_other_length_is(array):
    data = mnist.write_idx(array)
    np.testing.assert_array_equal(mnist.read_idx(data, "x"), array)
    for wrong in (data[:-1], data + b"\0"):
        with pytest.raises(InputError, match="^x: "):
            mnist.read_idx(wrong, "x")


@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda tail: b"\0\0\x08" + tail))
def test_arbitrary_bytes_give_an_array_or_an_input_error(data):
    try:
        array = mnist.read_idx(data, "noise")
    except InputError as error:
        assert str(error).startswith("noise: ") and "\n" not in str(error)
    else:
        assert mnist.write_idx(array) == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x1f\x8b\x08\x00", "begins with 1f 8b"),
        (b"\0\0\x0d\x01" + bytes(8), "type 0x0d; only 0x08"),
        (b"\0\0\x08\x00\x05", "0 dimensions"),
        (struct.pack(">BBBB4I", 0, 0, 8, 4, *[2**32 - 1] * 4), "needs 340282366604"),
        (struct.pack(">BBBB255I", 0, 0, 8, 255, *[1] * 255) + b"\0", "255 dimensions"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 60_000, 28, 28) + bytes(100), r"shape \[60000, 28, 28\] needs 47040000"),
    ],
)
def test_damage_is_named(data, message):
    with pytest.raises(InputError, match=message):
        mnist.read_idx(data, "train-images")


@pytest.mark.parametrize("layout", ["mnist", ".", "MNIST/raw"])
@pytest.mark.parametrize("spelling", ["plain", "gz", "dotted", "gzip content without the ending"])
def test_load_finds_every_usual_layout(contents, tmp_path: Path, layout, spelling):
    folder = tmp_path / "home" / layout
    folder.mkdir(parents=True)
    for name, data in contents.items():
        stored = name.replace("-idx", ".idx") if spelling == "dotted" else name + ".gz" * (spelling == "gz")
        (folder / stored).write_bytes(gzip.compress(data, 1) if spelling.startswith("gz") else data)
    train, test = mnist.load(tmp_path / "home")
    np.testing.assert_array_equal(train.pixels, mnist.read_idx(contents["train-images-idx3-ubyte"], "train"))
    assert (len(train.pixels), len(test.pixels)) == (30, 10_000)
    assert (train.origin, test.origin) == ("MNIST training images", "MNIST test images")
    assert mnist.is_test_set(test) and not mnist.is_test_set(train)
    assert not mnist.is_test_set(test._replace(labels=test.labels[::-1]))


def test_missing_files_are_named_with_the_way_to_get_them(source: Path):
    (source / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="missing t10k-labels-idx1-ubyte") as caught:
        mnist.load(source)
    assert "distillbias data get mnist`" in str(caught.value) and "data import mnist DIR" in str(caught.value)
    assert "train-images" not in str(caught.value)


def test_a_changed_byte_is_noticed(source: Path):
    path = source / "train-images-idx3-ubyte"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="train-images-idx3-ubyte: SHA-256"):
        mnist.load(source)


def test_labels_that_could_not_be_bytes_are_not_the_test_labels():
    assert not mnist.are_test_labels(np.array([-1, 300]))
    assert not mnist.are_test_labels(np.zeros((2, 2), int))


@real
def test_genuine_mnist_and_the_known_sums_of_its_scaled_images():
    """Sums and SHA-256 beginnings made with scikit-image's warp (0.26.0), not with our code."""
    train, test = mnist.load(Path(os.environ["DISTILLBIAS_DATA"]))
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    written = (train.pixels, train.labels, test.pixels, test.labels)
    for array, file in zip(written, catalogue.MNIST.files, strict=True):
        assert hashlib.md5(mnist.write_idx(array)).hexdigest() == file.md5
    made = [mnist_c.scale(test.pixels[:100], severity) for severity in mnist_c.SEVERITIES]
    assert [int(pixels.sum()) for pixels in made] == [1936934, 1536221, 1172993, 864131, 599203]
    assert [hashlib.sha256(pixels.tobytes()).hexdigest()[:16] for pixels in made] == [
        *("1d356e7b4b99923a", "c315f0f6906b37ab", "f5efa82f1b5c9504", "068a521ec83e831f", "483fb7ff508e40ca")
    ]
    assert (int(test.pixels[0].sum()), int(made[2][0].sum())) == (18454, 8707)
    ink = test.pixels.reshape(10_000, -1).sum(1, dtype=int)
    lost = [float((mnist_c.shifted(test.pixels, -c, -c).reshape(10_000, -1).sum(1) < ink).mean()) for c in range(1, 6)]
    assert lost == pytest.approx([0.011, 0.113, 0.291, 0.613, 0.907], abs=5e-4)
