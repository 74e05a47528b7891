"""The agreement study as declared, and one teacher and student of it from beginning to end."""

import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import tiny, words

from distillbias.errors import InputError
from distillbias.studies.agreement import (
    DISTILLED,
    FAMILIES,
    PADDED,
    PADDED_STUDENT,
    PATIENT,
    SOFT,
    SOFT_STUDENTS,
    paper,
    patient,
    soft_arm,
    study,
)
from distillbias.studies.execute import build, load_splits
from distillbias.studies.outside import score_outside, score_table
from distillbias.studies.run import from_json, to_json
from distillbias.studies.store import Store
from distillbias.training.recipe import ExponentialDecay


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Store:
    """An LSTM and the Transformer-seq it taught."""
    load_splits.cache_clear()
    arms = words.agreement_study().arms
    with words.small_grammar():
        yield tiny.trained(tmp_path_factory.mktemp("words"), arms["LSTM"][0], arms["LSTM → Transformer-seq"][0])
    load_splits.cache_clear()


@pytest.mark.parametrize("scale", ["demo", "laptop", "paper"])
def test_each_scale_has_4_independents_and_all_16_pairs(scale: str) -> None:
    declared = study(scale)
    assert list(declared.arms)[:20] == [*FAMILIES, *DISTILLED] and len(DISTILLED) == 16
    for arm in (*FAMILIES, *DISTILLED):
        teacher, _, student = arm.rpartition(" → ")
        for run in declared.arms[arm]:
            assert run.model.name == student and (run.teacher.model.name if run.teacher else "") == teacher
            assert run.teacher is None or (run.teacher.trial, run.distillation.temperature) == (run.trial, 1.0)
            assert from_json(to_json(run)) == run
    assert len({run.name for arm in (*FAMILIES, *DISTILLED) for run in declared.arms[arm]}) == 20 * declared.trials


@pytest.mark.parametrize("scale", ["demo", "laptop", "paper"])
def test_soft_teachers_have_the_papers_dropout_and_teach_in_both_modes(scale: str) -> None:
    declared = study(scale)
    teacher = declared.arms[SOFT][0]
    assert (teacher.model.embedding_dropout, teacher.model.dropout, teacher.model.output_dropout) == (0.2, 0.8, 0.8)
    for student in SOFT_STUDENTS:
        for mode in ("eval", "train"):
            run = declared.arms[soft_arm(student, mode)][0]
            assert run.teacher == teacher and run.distillation.teacher_mode == mode and run.model.name == student
            assert run.recipe == declared.arms[f"LSTM → {student}"][0].recipe
    if scale == "paper":  # there it is the LSTM itself
        assert declared.arms[SOFT] == declared.arms["LSTM"]


def test_every_family_has_one_recipe_on_the_laptop() -> None:
    """A common schedule: what a student gains cannot be its schedule (T12)."""
    declared = study("laptop")
    assert declared.trials >= 4
    for arm, runs in declared.arms.items():
        if not arm.endswith("longer"):
            assert runs[0].recipe == declared.arms[runs[0].model.name][0].recipe, arm


def test_patient_arms_train_longer_on_the_same_lesson() -> None:
    """The teacher is that of the main arms, and the same student from labels is trained as long."""
    declared = study("laptop", trials=1)
    for arm in PATIENT:
        usual, longer = declared.arms[arm][0], declared.arms[patient(arm)][0]
        assert longer.recipe.epochs == 4 * usual.recipe.epochs and longer.distillation == usual.distillation
        assert longer == replace(usual, recipe=longer.recipe)
    paper_study = study("paper", trials=1)
    assert paper_study.arms[patient(PATIENT[0])] == paper_study.arms[PATIENT[0]]


@pytest.mark.parametrize("scale", ["demo", "laptop", "paper"])
def test_padded_arms_differ_in_the_mask_alone(scale: str) -> None:
    """And in no first weight; the names of runs with a mask are those they had before there was a choice."""
    declared = study(scale, trials=1)
    for arm, masked in ((PADDED, "Transformer"), (PADDED_STUDENT, "LSTM → Transformer")):
        seeing, usual = declared.arms[arm][0], declared.arms[masked][0]
        assert seeing.model.name == PADDED and seeing.name != usual.name and from_json(to_json(seeing)) == seeing
        assert replace(seeing, model=replace(seeing.model, padded=0)) == usual and "padded" not in str(to_json(usual))
    if scale == "demo":
        weights, others = (build(run, "cpu").state_dict() for run in (seeing, usual))
        assert weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def test_the_papers_schedules() -> None:
    """F5.2: the LSTM's rate hardly falls, the Transformers' is gone by step 20,000; students decay by teacher."""
    setting = paper()
    rate = lambda family, step: setting.labels[family].schedule.factor(step, 98_560)  # noqa: E731
    assert rate("LSTM", 15_000) == pytest.approx(0.85, abs=0.01) and rate("Transformer", 20_000) < 3e-3
    assert rate("UniversalTransformer-seq", 20_000) == pytest.approx(0.134, abs=0.01)
    assert setting.taught["LSTM", "LSTM"].schedule == ExponentialDecay(period=10_000, decay=0.7)
    assert setting.taught["Transformer", "LSTM"].schedule.decay == 0.96
    assert setting.taught["UniversalTransformer-seq", "LSTM"].schedule.decay == 0.8
    assert (setting.labels["LSTM"].l2, setting.labels["Transformer"].l2) == (1e-5, 1e-4)


def test_bad_scales_and_trials_are_refused() -> None:
    with pytest.raises(InputError, match="unknown scale 'huge'; it is one of demo, laptop, paper"):
        study("huge")
    with pytest.raises(InputError, match="0 trials"):
        study("demo", trials=0)


def test_records_keep_every_example_and_what_is_known_of_it(done: Store) -> None:
    run = words.agreement_study().arms["LSTM"][0]
    record = done.record(run)
    with words.small_grammar():
        splits = words.TASK.load(None)
    for name, examples in splits.tests.items():
        kept = record.predictions(name)
        np.testing.assert_array_equal(kept.labels, examples.labels)
        for column, values in examples.columns.items():
            np.testing.assert_array_equal(kept.columns[column], values)
        assert record.score(name, "accuracy") == pytest.approx((kept.logits.argmax(1) == kept.labels).mean())
    assert record.vocabulary == splits.vocabulary and record.activations("natural").shape[1] == 8


def test_the_student_learned_from_its_teachers_logits_alone(done: Store) -> None:
    student = words.agreement_study().arms["LSTM → Transformer-seq"][0]
    facts = done.record(student).facts
    assert facts["teacher"]["run"] == student.teacher.name and done.signal_path(student.teacher).exists()


NUMPRED = "VBZ\tthe dog near the houses\nVBP\tthe dogs\nVBZ\tthe cat that the dogs see\n"
TABLE = "sentence\tsubj_idx\tverb_idx\tverb_pos\tverb\tinflected_verb\n"


def test_outside_sentences_are_scored_by_what_is_known(done: Store, tmp_path: Path) -> None:
    run = words.agreement_study().arms["LSTM"][0]
    (tmp_path / "a.tsv").write_text(
        TABLE
        + "the dog is here .\t1\t2\tVBZ\tis\tare\n"
        + "the old dogs are here .\t2\t3\tVBP\tare\tis\n"
        + "the dogs near it are .\t1\t4\tVBP\tare\tis\n"
    )
    scored = score_outside(run.name, tmp_path / "a.tsv", done)
    assert {title: score["n"] for title, score in scored.slices.items()} == {
        "a": 3,
        "a, distance 1": 2,
        "a, distance 3": 1,
    }
    with lzma.open(tmp_path / "numpred.test.1.xz", "wt") as file:
        file.write(NUMPRED)
    assert score_outside(run.name, tmp_path / "numpred.test.1.xz", done).slices["numpred.test.1"]["n"] == 3
    assert score_table(scored).row_count == 3


def test_bad_rows_stop_or_are_listed(done: Store, tmp_path: Path) -> None:
    run = words.agreement_study().arms["LSTM"][0]
    path = tmp_path / "b.tsv"
    path.write_text(TABLE + "the dog is here .\t1\t2\tVBZ\tis\tare\nthe dog is here .\t1\t22\tVBZ\tis\tare\n")
    with pytest.raises(InputError, match=r"b.tsv line 3: .*22"):
        score_outside(run.name, path, done)
    scored = score_outside(run.name, path, done, skip_bad=True)
    assert scored.slices["b"]["n"] == 1 and len(scored.skipped) == 1 and "line 3" in scored.skipped[0]


def test_words_that_the_model_does_not_know_are_refused(done: Store, tmp_path: Path) -> None:
    run = words.agreement_study().arms["LSTM"][0]
    (tmp_path / "numpred.val").write_text("VBZ\tel perro negro\nVBP\tlos perros\n")
    with pytest.raises(InputError, match="0% of the words of numpred.val are in the model's vocabulary"):
        score_outside(run.name, tmp_path / "numpred.val", done)
