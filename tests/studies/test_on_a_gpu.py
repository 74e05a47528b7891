"""A whole study on a GPU, where there is one: teachers, students of their cached and live answers, records."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests import tiny

from distillbias.studies.run import Distillation
from distillbias.studies.runner import run_study
from distillbias.studies.store import Store
from distillbias.studies.study import Study

LIVE = replace(tiny.STUDENT, distillation=Distillation(tiny.ALONE, teacher_mode="train"))
CNNS = [replace(run, model=tiny.CNN) for run in (tiny.ALONE, tiny.STUDENT)]
RUNS = (tiny.ALONE, tiny.STUDENT, LIVE, *CNNS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_study_on_a_gpu_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    study = Study("vision", "on a GPU", "Does it?", {run.label: (run,) for run in RUNS})
    assert run_study(study, store, None, "cuda", workers=2) == []
    for run in study.runs:
        record = store.record(run)
        assert record.facts["provenance"]["device"] == torch.cuda.get_device_name()
        assert len(record.facts["losses"]) == run.recipe.epochs
