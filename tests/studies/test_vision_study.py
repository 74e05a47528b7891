"""The declared study: the arms the paper's tables need, at the paper's numbers, each student under its own teacher."""

from collections import defaultdict

import pytest
from tests import tiny

from distillbias.errors import InputError
from distillbias.models.cnn import CNNConfig
from distillbias.models.mlp import MLPConfig
from distillbias.studies.catalogue import SCALES, find_study
from distillbias.studies.lessons import build
from distillbias.studies.study import Study, only
from distillbias.studies.vision import DISTILLED, FACTORS, INDEPENDENT, factor_arm, no_penalty, second
from distillbias.tasks.vision import Vision
from distillbias.training.recipe import CosineRestarts, ExponentialDecay
from distillbias.training.teacher import weights_fingerprint

EVERY = pytest.mark.parametrize("scale", SCALES)


@EVERY
def test_the_arms_of_the_paper_and_of_its_traps(scale: str) -> None:
    study = find_study("vision", scale)
    main = {*INDEPENDENT, *DISTILLED}
    seconds = {second(arm) for arm in ("CNN", "MLP", "CNN → MLP", "MLP → MLP")}
    factors = {factor_arm(teacher, f, p) for teacher in INDEPENDENT for f in FACTORS for p in (True, False)}
    assert (len(main), len(seconds), len(factors), len(factors & main)) == (6, 4, 12, 2)
    assert set(study.arms) == main | seconds | factors | {no_penalty("MLP")}
    trials = 3 if scale == "demo" else 4  # the paper has four
    assert study.trials == trials and all(len(runs) == trials for runs in study.arms.values())
    assert len(study.runs) == trials * (6 + 4 + 12 + 1 - 2)


@EVERY
def test_runs_come_once_and_teachers_first(scale: str) -> None:
    seen: set[str] = set()
    for run in find_study("vision", scale).runs:
        assert run.name not in seen
        assert run.teacher is None or run.teacher.name in seen
        seen.add(run.name)


def test_a_teacher_that_no_arm_names_is_trained_too() -> None:
    assert Study("s", "tiny", "?", {"MLP → MLP": (tiny.STUDENT,)}).runs == [tiny.ALONE, tiny.STUDENT]


def test_some_arms_are_a_study_of_them_and_their_teachers() -> None:
    whole = find_study("vision", "demo", 2, None)
    some = only(whole, ["CNN → MLP", "MLP"])
    assert list(some.arms) == [arm for arm in whole.arms if arm in ("CNN → MLP", "MLP")]  # in the order of the study
    assert set(some.runs) == {*whole.arms["CNN → MLP"], *whole.arms["MLP"], *whole.arms["CNN"]}
    assert only(whole, []) == whole


@EVERY
def test_each_trial_has_its_own_teacher(scale: str) -> None:
    study = find_study("vision", scale)
    for arm, runs in study.arms.items():
        assert [run.trial for run in runs] == list(range(study.trials))
        if "→" in arm:
            teacher = arm.split(" → ")[0]
            assert [run.teacher for run in runs] == list(study.arms[teacher])
            assert len({run.teacher.name for run in runs}) == study.trials


@EVERY
def test_arms_differ_in_what_their_names_say_and_in_nothing_else(scale: str) -> None:
    for arm, runs in find_study("vision", scale).arms.items():
        run = runs[0]
        assert run.model.name == arm.split(",")[0].split(" → ")[-1]
        assert run.repeat == ("second order" in arm)
        if run.model.name == "MLP":
            assert (run.recipe.l1, run.recipe.l2) == ((0.0, 0.0) if "no penalty" in arm else (1e-5, 1e-5))
        if run.distillation:
            named = next((factor for factor in FACTORS if f", {factor}" in arm), "tau2")
            assert run.distillation.factor == named
            assert (run.distillation.weight, run.distillation.teacher_mode) == (1.0, "eval")
            absolute = named != "tau2" and "no penalty" not in arm
            assert run.distillation.penalty == ("absolute" if absolute else "relative")


@EVERY
def test_tau2_with_penalties_is_the_main_arms_very_run(scale: str) -> None:
    for teacher in INDEPENDENT:
        assert factor_arm(teacher, "tau2", True) == f"{teacher} → MLP"


def test_the_papers_numbers() -> None:  # F5.3, F4.3
    arms = find_study("vision", "paper").arms
    for arm in (*INDEPENDENT, *DISTILLED):
        run = arms[arm][0]
        assert run.task == Vision("mnist", holdout=0)
        assert (run.recipe.epochs, run.recipe.batch, run.recipe.rate) == (400, 128, 1e-4)
        assert (run.recipe.clip, run.recipe.precision) == (1.0, "bfloat16" if run.model.name == "CNN" else "float32")
        is_cnn = run.model.name == "CNN"
        assert run.model == (CNNConfig() if is_cnn else MLPConfig())
        assert (run.recipe.l1, run.recipe.l2) == ((0.0, 2e-9) if is_cnn else (1e-5, 1e-5))
        if run.distillation:
            assert run.recipe.optimizer == "adam" and run.distillation.temperature == 5.0
            assert run.recipe.schedule == CosineRestarts(period=200_000, longer=5.0, lower=0.2)
        else:
            assert run.recipe.optimizer == "radam"
            assert run.recipe.schedule == ExponentialDecay(warmup=0, hold=0, period=10_000, decay=0.96)


def test_arms_of_a_trial_start_from_the_same_weights() -> None:
    starts = defaultdict(set)
    for run in tiny.vision_study(trials=2).runs:
        starts[run.model.name, run.trial].add(weights_fingerprint(build(run)))
    assert set(starts) == {(model, trial) for model in INDEPENDENT for trial in (0, 1)}
    assert all(len(found) == 1 for found in starts.values())
    assert len(set.union(*starts.values())) == 4


def test_a_shorter_study_is_another_study_everywhere() -> None:
    usual, short = find_study("vision", "demo"), find_study("vision", "demo", trials=1, epochs=2)
    assert short.title == "vision-demo-2-epochs" and short.trials == 1
    assert {run.recipe.epochs for run in short.runs} == {2}
    assert not {run.name for run in short.runs} & {run.name for run in usual.runs}
    fewer = find_study("vision", "demo", trials=2)
    assert {run.name for run in fewer.runs} < {run.name for run in usual.runs}  # more trials later lose nothing


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("visoin", "demo"), "unknown study 'visoin'; it is one of vision"),
        (("vision", "huge"), "unknown scale 'huge'; it is one of demo, laptop, paper"),
        (("vision", "demo", 0), "0 trials"),
        (("vision", "demo", -2), "-2 trials"),
        (("vision", "demo", 1, -3), "epochs is -3"),
        (("vision", "demo", 1, 0), "epochs is 0"),
    ],
)
def test_studies_that_cannot_be_are_refused(asked, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_study(*asked)
