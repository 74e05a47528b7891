"""Packed runs tell what the whole ones tell, are checked when they come back, and a study goes on from them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests import tiny

from distillbias.errors import InputError
from distillbias.evaluation.metrics import softmax
from distillbias.studies.execute import load_model
from distillbias.studies.packing import PACKED, THINNED, pack, unpack
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
