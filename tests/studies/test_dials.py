"""The dials: one ingredient at a time, one student, the same steps on less data, and no old run renamed."""

from dataclasses import replace

import pytest
from tests import words

from distillbias.errors import InputError
from distillbias.studies import agreement, dial_agreement, dial_vision, vision
from distillbias.studies.dial import SHARES, at_share, sized
from distillbias.studies.run import from_json, to_json
from distillbias.tasks import agreement as agreement_task
from distillbias.tasks.agreement_classification import AgreementClassification
from distillbias.tasks.vision import Vision
from distillbias.training.recipe import Recipe, WarmupCosine

DIALS = {"vision": dial_vision, "agreement": dial_agreement}


@pytest.mark.parametrize("case", DIALS)
@pytest.mark.parametrize("scale", ["demo", "laptop", "paper"])
def test_every_arm_that_a_report_reads_is_there(case: str, scale: str) -> None:
    study, dial = DIALS[case].study(scale, trials=2), DIALS[case].dial()
    wanted = {dial.student, *dial.doses, *map(dial.taught, dial.doses)}
    wanted |= {at_share(arm, share) for arm in dial.sized for share in SHARES}
    assert set(study.arms) == wanted
    assert all(from_json(to_json(run)) == run for run in study.runs)
    assert len({run.name for runs in study.arms.values() for run in runs}) == sum(map(len, study.arms.values()))


@pytest.mark.parametrize("case", DIALS)
def test_students_are_one_model_and_hear_the_teacher_of_their_arm(case: str) -> None:
    study, dial = DIALS[case].study("demo", trials=2), DIALS[case].dial()
    for teacher in dial.doses:
        for ours, theirs in zip(study.arms[dial.taught(teacher)], study.arms[teacher], strict=True):
            assert ours.teacher == theirs and ours.model == study.arms[dial.student][0].model
            assert ours.task == theirs.task


def test_doses_are_what_the_models_have() -> None:
    study, dial = dial_vision.study("demo", trials=1), dial_vision.dial()
    assert len(dial.doses) == 8 and len(set(dial.doses.values())) == 8
    for teacher, dose in dial.doses.items():
        model = study.arms[teacher][0].model
        assert model.name == teacher
        if teacher != dial.full:
            switches = {"locality": model.local, "sharing": model.shared, "pooling": model.pooled}
            assert dose == {one for one, on in switches.items() if on}


def test_full_teachers_and_students_are_runs_of_the_main_studies() -> None:
    """At laptop scale a dial goes on from what those have trained."""
    main, dialled = vision.study("laptop").arms, dial_vision.study("laptop").arms
    assert all(dialled[arm] == main[arm] for arm in ("CNN", "MLP", "CNN → MLP"))
    main, dialled = agreement.study("laptop").arms, dial_agreement.study("laptop").arms
    shared = [arm for arm in dialled if arm in main]
    assert len(shared) == 8 and all(dialled[arm] == main[arm] for arm in shared)


def test_a_share_has_as_many_steps_and_batches_that_fit() -> None:
    recipe = Recipe(10, 64, 1e-3, WarmupCosine())
    assert sized(recipe, 1_000, 0.1) == replace(recipe, batch=50, epochs=75)  # 15 x 10 steps; 2 an epoch
    assert sized(recipe, 1_000, 0.01) == replace(recipe, batch=5, epochs=75)
    assert sized(recipe, 1_000, 0.01).steps(10) == recipe.steps(1_000) == 150


def test_shares_of_images_are_nested_and_tests_stay() -> None:
    whole, tenth, hundredth = (Vision("digits", share=share).load(None) for share in (1.0, 0.1, 0.01))
    assert (len(whole.train), len(tenth.train), len(hundredth.train)) == (dial_vision.IMAGES["digits"], 130, 13)
    assert set(hundredth.train.ids.tolist()) < set(tenth.train.ids.tolist()) < set(whole.train.ids.tolist())
    assert {name: each.fingerprint for name, each in tenth.tests.items()} == {
        name: each.fingerprint for name, each in whole.tests.items()
    }


def test_shares_of_sentences_keep_vocabulary_and_tests() -> None:
    assert dial_agreement.SENTENCES["grammar"] == agreement_task.GRAMMAR_TRAIN
    with words.small_grammar():
        whole = AgreementClassification("grammar", words=900).load(None)
        tenth = AgreementClassification("grammar", words=900, share=0.1).load(None)
    assert len(whole.train) == 400 and len(tenth.train) == 40
    assert tenth.vocabulary == whole.vocabulary
    tests = whole.tests.keys() - {"train"}
    assert all(tenth.tests[name].fingerprint == whole.tests[name].fingerprint for name in tests)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="above 0 and at most 1"):
        Vision("digits", share=share)
    with pytest.raises(InputError, match="above 0 and at most 1"):
        AgreementClassification("grammar", share=share)


def test_a_whole_share_is_no_part_of_a_name() -> None:
    assert "share" not in to_json(Vision("digits")) and to_json(Vision("digits", share=0.5))["share"] == 0.5
    unordered = dial_agreement.study("demo", trials=1).arms["UniversalTransformer"][0].model
    ordered = dial_agreement.study("demo", trials=1).arms["UniversalTransformer-seq"][0].model
    assert "readout" not in to_json(ordered) and to_json(unordered)["readout"] == "first"
    assert repr(unordered) == repr(ordered)  # so both start from the same weights
