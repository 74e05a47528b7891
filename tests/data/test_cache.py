import zipfile
from pathlib import Path

import numpy as np
import pytest

from distillbias.data import cache, mnist
from distillbias.data.images import fingerprint
from distillbias.errors import InputError


def states(name: str, home: Path) -> dict[str, str]:
    return {status.file: status.state for status in cache.verify(name, home)}


def test_home_is_given_or_named_or_usual(monkeypatch, tmp_path):
    monkeypatch.delenv("DISTILLBIAS_DATA", raising=False)
    assert cache.home(None) == Path.home() / ".cache" / "distillbias"
    monkeypatch.setenv("DISTILLBIAS_DATA", str(tmp_path))
    assert cache.home(None) == tmp_path and cache.home(tmp_path / "other") == tmp_path / "other"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="is a file; the rule is a folder"):
        cache.home(tmp_path / "file")


def test_imported_mnist_is_the_same_data_and_the_same_bytes_each_time(source, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    written = cache.import_folder("mnist", source, first)
    cache.import_folder("mnist", first, second)  # a home can be imported from, too
    assert [path.read_bytes() for path in written] == [(second / "mnist" / path.name).read_bytes() for path in written]
    assert fingerprint(mnist.load(first)[0]) == fingerprint(mnist.load(source)[0])
    assert set(states("mnist", first).values()) == {"ok"}
    assert [(entry.data_set.name, entry.complete) for entry in cache.available(first)] == [
        ("mnist", True),
        ("mnist_c", False),
    ]


def test_one_damaged_file_stops_the_whole_import(source, tmp_path):
    (source / "t10k-labels-idx1-ubyte").write_bytes(b"damage")
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte: 6 bytes uncompressed; the genuine"):
        cache.import_folder("mnist", source, tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_verify_tells_ok_from_missing_from_damaged(source, tmp_path):
    cache.import_folder("mnist", source, tmp_path)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    (tmp_path / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8bdamage")
    assert list(states("mnist", tmp_path).values()) == ["ok", "damaged", "ok", "missing"]
    reasons = [status.reason for status in cache.verify("mnist", tmp_path)]
    assert "damaged gzip data" in reasons[1] and "not in" in reasons[3]
    assert not cache.available(tmp_path)[0].complete


def test_unknown_names_missing_folders_and_blocked_homes(source, tmp_path):
    with pytest.raises(InputError, match="unknown data set 'cifar'; the choices are mnist, mnist_c"):
        cache.import_folder("cifar", source, tmp_path)
    with pytest.raises(InputError, match="no folder"):
        cache.import_folder("mnist", tmp_path / "nowhere", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot make the folder"):
        cache.import_folder("mnist", source, tmp_path / "file" / "home")


@pytest.fixture
def arrays(source, tmp_path) -> Path:
    """A folder that holds mnist_c/fog, as the archive unpacks; pixels all 7."""
    folder = tmp_path / "arrays" / "mnist_c" / "fog"
    folder.mkdir(parents=True)
    np.save(folder / "test_images.npy", np.full((10_000, 28, 28, 1), 7, np.uint8))
    labels = mnist.read_idx((source / "t10k-labels-idx1-ubyte").read_bytes(), "labels")
    np.save(folder / "test_labels.npy", labels.astype(np.int64))
    return tmp_path / "arrays"


@pytest.mark.parametrize("form", ["folder", "inner folder", "archive", "folder with archive"])
def test_mnist_c_is_imported_in_every_form(arrays, tmp_path, form):
    given = {"inner folder": arrays / "mnist_c", "archive": arrays / "mnist_c.zip"}.get(form, arrays)
    if "archive" in form:
        with zipfile.ZipFile(arrays / "mnist_c.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in (arrays / "mnist_c" / "fog").iterdir():
                archive.write(path, f"mnist_c/fog/{path.name}")
    home = tmp_path / "home"
    assert len(cache.import_folder("mnist_c", given, home)) == 2
    assert states("mnist_c", home) == {"fog": "ok", "scale": "missing", "translate": "missing"}
    assert cache.available(home)[1].present == ("fog",)


def test_damaged_or_absent_arrays_are_not_imported(arrays, tmp_path):
    fog = arrays / "mnist_c" / "fog"
    np.save(fog / "test_labels.npy", np.zeros(10_000, int))
    with pytest.raises(InputError, match="fog: the labels are not those of the MNIST test set"):
        cache.import_folder("mnist_c", arrays, tmp_path / "home")
    (fog / "test_labels.npy").unlink()
    with pytest.raises(InputError, match="only one of"):
        cache.import_folder("mnist_c", arrays, tmp_path / "home")
    (fog / "test_images.npy").unlink()
    with pytest.raises(InputError, match="no MNIST-C in"):
        cache.import_folder("mnist_c", arrays, tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_arrays_damaged_after_the_import_are_noticed(arrays, tmp_path):
    home = tmp_path / "home"
    cache.import_folder("mnist_c", arrays, home)
    (home / "mnist_c" / "fog" / "test_images.npy").write_bytes(b"noise")
    assert states("mnist_c", home)["fog"] == "damaged"
