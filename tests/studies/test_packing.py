"""Packed runs tell what the whole ones tell, are checked when they come back, and a study goes on from them."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save as serialize
from tests import tiny

from distillbias.errors import InputError
from distillbias.evaluation.metrics import softmax
from distillbias.studies.lessons import load_model
from distillbias.studies.packing import PACKED, THINNED, pack, slim, unpack
from distillbias.studies.runner import missing
from distillbias.studies.store import Store
from distillbias.studies.study import Study

STUDY = Study("vision", "tiny", "Does it?", {"MLP": (tiny.ALONE,), "MLP → MLP": (tiny.STUDENT,)})


@pytest.fixture()
def packed(store: Store, tmp_path: Path) -> Path:
    assert pack(STUDY, store, tmp_path) == STUDY.runs
    return tmp_path


def test_an_unpacked_run_tells_the_same(store: Store, packed: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    assert unpack(packed, other) == (2, 0) and unpack(packed, other) == (0, 2)
    whole, small = store.record(tiny.STUDENT), other.record(tiny.STUDENT)
    assert small.facts == whole.facts and not other.damaged(tiny.STUDENT)
    for test in ("clean", "scale-3"):
        ours, theirs = whole.predictions(test), small.predictions(test)
        np.testing.assert_array_equal(theirs.labels, ours.labels)
        np.testing.assert_array_equal(theirs.ids, ours.ids)
        np.testing.assert_array_equal(theirs.logits.argmax(1), ours.logits.argmax(1))
        np.testing.assert_allclose(softmax(theirs.logits), softmax(ours.logits), atol=2e-3)
        kept = whole.activations(test)[::THINNED]
        np.testing.assert_allclose(small.activations(test), kept, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(small.stages(), whole.stages()[:, ::THINNED], rtol=1e-3, atol=1e-4)


def test_no_answer_is_lost_by_rounding() -> None:
    """Of 3 and 3.001 float16 has 3 and 3, of which the first would be the answer."""
    given = [[0, 3, 3.001], [0, 3.001, 3], [3.001, 3, 0], [1, 1, 1], [0, 2**-30, -1], [0, 3, 5]]
    logits = pa.FixedSizeListArray.from_arrays(pa.array(np.array(given, np.float32).reshape(-1)), 3)
    table = slim(pa.table({"logits": logits}))
    packed = table["logits"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    assert packed.dtype == np.float16 and packed.argmax(1).tolist() == [2, 1, 0, 0, 1, 2]
    assert packed[0].tolist() == [0, 3, 3 + 2**-9] and packed[5].tolist() == [0, 3, 5]
    assert slim(table).equals(table)


def test_packing_is_small_and_repeatable(store: Store, packed: Path) -> None:
    files = {path: path.read_bytes() for path in sorted(packed.rglob("*")) if path.is_file()}
    assert not [path for path in files if "weights" in path.name]
    size = sum(map(len, files.values()))
    assert size < 0.5 * sum(p.stat().st_size for p in store.root.glob("runs/*/*") if "weights" not in p.name)
    shutil.rmtree(packed / PACKED)
    pack(STUDY, store, packed)
    assert files == {path: path.read_bytes() for path in sorted(packed.rglob("*")) if path.is_file()}


def test_packing_what_was_unpacked_changes_nothing(packed: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    unpack(packed, other)
    pack(STUDY, other, tmp_path / "again")
    for path in packed.glob(f"{PACKED}/*/*"):
        assert (tmp_path / "again" / path.relative_to(packed)).read_bytes() == path.read_bytes()


def test_a_study_goes_on_from_packed_runs(packed: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    shutil.rmtree(packed / PACKED / tiny.STUDENT.name)
    unpack(packed, other)
    assert missing(STUDY, other) == [tiny.ALONE, tiny.STUDENT]  # the teacher's weights are not there
    alone = Study("vision", "tiny", "Does it?", {"MLP": (tiny.ALONE,)})
    assert missing(alone, other) == []
    with pytest.raises(InputError, match="came without its weights"):
        load_model(tiny.ALONE, other)


def test_damage_is_told_and_nothing_is_taken(packed: Path, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    path = packed / PACKED / tiny.ALONE.name / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="predictions.parquet in .* is not what was packed"):
        unpack(packed, other)
    assert not other.done(tiny.ALONE)
    with pytest.raises(InputError, match="no packed runs in"):
        unpack(tmp_path / "other", other)


def test_a_run_under_another_name_is_refused(packed: Path, tmp_path: Path) -> None:
    (packed / PACKED / tiny.ALONE.name).rename(packed / PACKED / "000000000000")
    with pytest.raises(InputError, match=f"holds run {tiny.ALONE.name}"):
        unpack(packed, Store(tmp_path / "other"))


def test_nothing_finished_is_nothing_to_pack(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to pack: no run of vision-tiny"):
        pack(STUDY, Store(tmp_path / "empty"), tmp_path)


def change(folder: Path, name: str, content: bytes) -> None:
    """What a stranger can do: change a file and its checksum."""
    (folder / name).write_bytes(content)
    sums = json.loads((folder / "done").read_text()) | {name: hashlib.sha256(content).hexdigest()}
    (folder / "done").write_text(json.dumps(sums))


def refused(packed: Path, tmp_path: Path, message: str) -> None:
    other = Store(tmp_path / "other")
    before = {path for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=message) as caught:
        unpack(packed, other)
    assert "\n" not in str(caught.value)
    left = {path for path in tmp_path.rglob("*")} - before
    assert {path.name for path in left} <= {".running.lock"} and not other.done(tiny.ALONE)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "done", "weights.safetensors", "a/b"])
def test_a_file_that_no_packed_run_has_is_refused(packed: Path, tmp_path: Path, name: str) -> None:
    done = packed / PACKED / tiny.ALONE.name / "done"
    done.write_text(json.dumps(json.loads(done.read_text()) | {name: "0" * 64}))
    refused(packed, tmp_path, "is no packed run; it holds record.json, predictions.parquet, activations.safetensors")


@pytest.mark.parametrize("name", ["record.json", "predictions.parquet", "activations.safetensors", "done"])
def test_links_are_refused(packed: Path, tmp_path: Path, name: str) -> None:
    path = packed / PACKED / tiny.ALONE.name / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(packed, tmp_path, f"{name} is a link")


def test_a_linked_folder_and_a_name_that_is_none_are_refused(packed: Path, tmp_path: Path) -> None:
    folder = packed / PACKED / tiny.ALONE.name
    folder.rename(tmp_path / tiny.ALONE.name)
    folder.symlink_to(tmp_path / tiny.ALONE.name)
    refused(packed, tmp_path, "it is no link")
    folder.unlink()
    (tmp_path / tiny.ALONE.name).rename(packed / PACKED / "..evil")
    refused(packed, tmp_path, "its name has 12 hexadecimal digits")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("label",), None),
        (("scores", "clean", "accuracy"), "0.9"),
        (("tests", "clean", "columns"), ["nowhere"]),
        (("tests", "clean", "n"), 7),
        (("tests", "clean", "tags"), {"corruption": []}),
        (("tests",), {}),
        (("seconds", "training"), True),
        (("provenance",), []),
        (("run",), {"kind": ["Run"]}),
        (("run",), {"kind": "MLPConfig"}),
        (("run", "trial"), 1),
        (("run", "task"), {"kind": "os.system"}),
    ],
)
def test_a_record_that_reports_could_not_read_is_refused(packed, tmp_path, place, value) -> None:
    folder = packed / PACKED / tiny.ALONE.name
    facts = json.loads((folder / "record.json").read_text())
    inner = facts
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    change(folder, "record.json", json.dumps(facts).encode())
    refused(packed, tmp_path, tiny.ALONE.name)


@pytest.mark.parametrize(
    "content", [b"", b"[" * 100_000, b"[]", b"null", b"\xff", b'{"run": ' * 400 + b"1" + b"}" * 400]
)
def test_a_record_that_is_none_is_refused(packed: Path, tmp_path: Path, content: bytes) -> None:
    change(packed / PACKED / tiny.ALONE.name, "record.json", content)
    refused(packed, tmp_path, tiny.ALONE.name)


@pytest.mark.parametrize(
    "changed",
    [
        lambda table: table.slice(1),
        lambda table: table.drop_columns(["id"]),
        lambda table: table.set_column(table.schema.get_field_index("label"), "label", pa.array([10] * len(table))),
        lambda table: table.set_column(table.schema.get_field_index("id"), "id", pa.array(["x"] * len(table))),
        lambda table: table.set_column(table.schema.get_field_index("logits"), "logits", pa.nulls(len(table))),
    ],
)
def test_predictions_that_are_none_are_refused(packed: Path, tmp_path: Path, changed) -> None:
    folder = packed / PACKED / tiny.ALONE.name
    out = io.BytesIO()
    pq.write_table(changed(pq.read_table(folder / "predictions.parquet")), out)
    change(folder, "predictions.parquet", out.getvalue())
    refused(packed, tmp_path, "predictions.parquet of .* (has|cannot be read)")


@pytest.mark.parametrize("tensors", [{"stages": np.zeros(3)}, {"final/clean": np.full((2, 2), np.nan)}])
def test_activations_that_are_none_are_refused(packed: Path, tmp_path: Path, tensors) -> None:
    change(packed / PACKED / tiny.ALONE.name, "activations.safetensors", serialize(tensors))
    refused(packed, tmp_path, "is no finite array of [23] axes")
