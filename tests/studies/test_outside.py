"""Data from outside: every accepted layout gives the slices it should, everything else is one clear error."""

import gzip
import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text
from tests import tiny

from distillbias.data.mnist import write_idx
from distillbias.data.outside import read_slices
from distillbias.data.text import printable
from distillbias.errors import InputError
from distillbias.studies.execute import load_splits
from distillbias.studies.outside import Scored, score_outside, score_table
from distillbias.studies.store import Store

SET = tiny.examples(30)
IMAGES, LABELS = SET.inputs, SET.labels


def arrays(folder: Path, rows=slice(None)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "test_images.npy", IMAGES[rows])
    np.save(folder / "test_labels.npy", LABELS[rows])


def test_a_npz_is_sliced_by_its_tags(tmp_path: Path) -> None:
    writer, size = np.arange(30) % 3, np.repeat([0.5, 1.0], 15)
    np.savez_compressed(tmp_path / "d.npz", images=IMAGES, labels=LABELS, writer=writer, size=size)
    found = read_slices(tmp_path / "d.npz")
    assert list(found) == ["all", "writer = 0", "writer = 1", "writer = 2", "size = 0.5", "size = 1.0"]
    np.testing.assert_array_equal(found["all"].pixels, IMAGES)
    np.testing.assert_array_equal(found["writer = 1"].pixels, IMAGES[1::3])
    np.testing.assert_array_equal(found["writer = 1"].labels, LABELS[1::3])
    np.testing.assert_array_equal(found["size = 1.0"].labels, LABELS[15:])


def test_a_channel_axis_of_one_is_dropped(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=IMAGES[..., None], labels=LABELS.astype(np.uint8))
    found = read_slices(tmp_path / "d.npz")["all"]
    np.testing.assert_array_equal(found.pixels, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)


def test_a_folder_of_arrays(tmp_path: Path) -> None:
    arrays(tmp_path)
    assert list(read_slices(tmp_path)) == ["all"]
    np.testing.assert_array_equal(read_slices(tmp_path)["all"].pixels, IMAGES)


def test_each_subfolder_is_a_slice(tmp_path: Path) -> None:
    arrays(tmp_path / "fog", slice(0, 10))
    arrays(tmp_path / "blur", slice(10, 30))
    (tmp_path / "notes").mkdir()
    found = read_slices(tmp_path)
    assert list(found) == ["blur", "fog"]
    np.testing.assert_array_equal(found["blur"].labels, LABELS[10:])


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path: Path, packed: bool) -> None:
    for name, array in (("t10k-images-idx3-ubyte", IMAGES), ("t10k-labels-idx1-ubyte", LABELS.astype(np.uint8))):
        data = write_idx(array)
        (tmp_path / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    found = read_slices(tmp_path)
    assert list(found) == ["all"]
    np.testing.assert_array_equal(found["all"].pixels, IMAGES)
    np.testing.assert_array_equal(found["all"].labels, LABELS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": None}, "holds images; it must hold images and labels"),
        ({"images": IMAGES[:, :27]}, r"pixels have shape \[30, 27, 28\]; the rule is \[n, 28, 28\]"),
        ({"images": IMAGES / 255}, "pixels are float64; the rule is uint8"),
        ({"labels": LABELS[:-1]}, "30 images but 29 labels"),
        ({"labels": LABELS + 5}, "label 1[0-9] at position .*0..9"),
        ({"labels": LABELS.astype(float)}, "labels are float64"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "0 images"),
        ({"tag": LABELS[:7]}, r"tag 'tag' in .* has shape \[7\]; it must be \[30\]"),
        ({"tag": np.zeros((30, 2))}, r"tag 'tag' in .* has shape \[30, 2\]"),
        ({"tag": np.array(0)}, r"tag 'tag' in .* has shape \[\]"),
        ({"labels": np.array([{"run": "me"}] * 30, object)}, "'labels.npy' in .*object"),
    ],
)
def test_a_npz_that_cannot_be_is_refused(tmp_path: Path, changed: dict, message: str) -> None:
    every = {"images": IMAGES, "labels": LABELS} | changed
    np.savez(tmp_path / "d.npz", **{name: array for name, array in every.items() if array is not None})
    with pytest.raises(InputError, match=message) as caught:
        read_slices(tmp_path / "d.npz")
    assert "\n" not in str(caught.value)


def spoilt(place: int, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A .npz with some bytes changed, `place` bytes into its first member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, array in (("images", IMAGES), ("labels", LABELS)):
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, array)
    data = bytearray(out.getvalue())
    data[place : place + 8] = b"\xff" * 8
    return bytes(data)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"PK\x03\x04 and then nonsense", id="nonsense"),
        pytest.param(spoilt(0)[:-30], id="cut short"),
        pytest.param(spoilt(200, zipfile.ZIP_STORED), id="changed"),
        pytest.param(spoilt(41), id="changed, deflated"),
    ],
)
def test_garbage_called_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(InputError, match="d.npz"):
        read_slices(tmp_path / "d.npz")


def test_a_spoilt_gzip_is_refused(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(write_idx(IMAGES)))
    data[10:18] = b"\xff" * 8
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(bytes(data))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(write_idx(LABELS.astype(np.uint8))))
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte.gz"):
        read_slices(tmp_path)


def test_truncated_idx_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(write_idx(IMAGES)[:-1])
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(write_idx(LABELS.astype(np.uint8)))
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte: shape .30, 28, 28. needs 23520 bytes, 23519 follow"):
        read_slices(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(write_idx(IMAGES))[:-9])
    with pytest.raises(InputError, match="gzip data cut short"):
        read_slices(tmp_path)


def test_pickles_in_a_folder_are_never_opened(tmp_path: Path) -> None:
    arrays(tmp_path)
    np.save(tmp_path / "test_labels.npy", np.array([print] * 30, object), allow_pickle=True)
    with pytest.raises(InputError, match="test_labels.npy: announces object"):
        read_slices(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty", "file.txt", "nowhere.npz"])
def test_what_holds_nothing_to_score_says_what_would(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("images")
    with pytest.raises(InputError, match=f"nothing to score in .*{name}: give a .npz"):
        read_slices(tmp_path / name)


def test_tags_may_be_words(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=IMAGES, labels=LABELS, corruption=np.array(["fog", "none"] * 15))
    assert list(read_slices(tmp_path / "d.npz")) == ["all", "corruption = fog", "corruption = none"]


def test_scoring_the_runs_own_test_sets_gives_its_scores(store: Store, tmp_path: Path) -> None:
    tests = load_splits(tiny.TASK, None).tests
    kinds = ("clean", "scale-3")
    np.savez(
        tmp_path / "d.npz",
        images=np.concatenate([tests[kind].inputs for kind in kinds]),
        labels=np.concatenate([tests[kind].labels for kind in kinds]),
        kind=np.repeat([0, 1], 500),
    )
    scored = score_outside(tiny.STUDENT.name[:9], tmp_path / "d.npz", store)
    found = scored.slices
    assert scored.label == "MLP → MLP · trial 0" and list(found) == ["all", "kind = 0", "kind = 1"]
    for index, kind in enumerate(kinds):
        recorded = store.record(tiny.STUDENT).facts["scores"][kind]
        assert found[f"kind = {index}"] == pytest.approx(recorded, abs=1e-6)
    mean = (found["kind = 0"]["accuracy"] + found["kind = 1"]["accuracy"]) / 2
    assert found["all"]["n"] == 1000 and found["all"]["accuracy"] == pytest.approx(mean)
    table = score_table(scored)
    assert str(table.title) == scored.label and list(table.columns[1].cells) == ["1,000", "500", "500"]


def npy(shape: str, kind: str = "|u1", body: bytes = b"") -> bytes:
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


def packed(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_bomb_stops_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = packed(tmp_path / "d.npz", {"images.npy": bytes(2**26), "labels.npy": npy("(0,)")})
    with pytest.raises(InputError, match="'images.npy' expands to more than the 8388608 bytes"):
        read_slices(path)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (100).to_bytes(4, "little")  # its entry says 100 bytes
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(InputError, match="images.npy"):
        read_slices(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26  # four times what may come out; not the 2**26 and more of the bomb itself
    with pytest.raises(InputError, match="neither stored nor deflated"):
        read_slices(packed(path, {"images.npy": b""}, zipfile.ZIP_BZIP2))


def test_names_of_members_become_no_paths_and_no_slices(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    good = {"images.npy": npy("(1, 28, 28)", body=bytes(784)), "labels.npy": npy("(1,)", body=b"\x01")}
    nasty = good | {"../../evil.npy": npy("(1,)", body=b"\x02"), "[red].npy": npy("(1,)", body=b"\x03")}
    found = read_slices(packed(tmp_path / "in" / "d.npz", nasty))
    assert list(found) == ["all", "../../evil = 2", "[red] = 3"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d.npz", "in"]  # nothing was written
    for tag in ("\x1b[31m", "a\nb", "x" * 200):
        with pytest.raises(InputError, match="is no name of a slice"):
            read_slices(packed(tmp_path / "d.npz", good | {f"{tag}.npy": npy("(1,)", body=b"\x02")}))
    with pytest.raises(InputError, match="21 tags; at most 20"):
        read_slices(packed(tmp_path / "d.npz", good | {f"t{i}.npy": npy("(1,)", body=b"a") for i in range(21)}))


def test_what_is_not_a_number_or_no_text_is_one_slice_or_refused(tmp_path: Path) -> None:
    tag = np.array([np.nan] * 10 + [1.0] * 20)
    np.savez(tmp_path / "d.npz", images=IMAGES, labels=LABELS, tag=tag)
    found = read_slices(tmp_path / "d.npz")
    assert {name: len(part.labels) for name, part in found.items()} == {"all": 30, "tag = 1.0": 20, "tag = nan": 10}
    np.savez(tmp_path / "d.npz", images=IMAGES, labels=LABELS, tag=np.frombuffer(b"\xff\xff\xff\x7f" * 30, "<U1"))
    with pytest.raises(InputError, match="a tag holds what is no text"):
        read_slices(tmp_path / "d.npz")


@pytest.mark.parametrize("name", ["[red]", "[/]", "[/red] [link=file:///x]", "\x1b[31m", ":smile:", "a\nb", "\ud800"])
def test_names_in_the_table_of_scores_are_no_markup(name: str) -> None:
    scored = Scored(name, {name: {"n": 1, "accuracy": 1.0}}, ())
    console = Console(width=200, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    with console.capture() as captured:
        console.print(score_table(scored))
    text = captured.get()
    assert Text.from_ansi(text).plain.count(printable(name)) == 2
    assert "\x1b[31m" not in text and "\x1b]8" not in text  # neither red nor a link
