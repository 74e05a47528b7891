"""One run twice, bit by bit; its scores again by other means; and a run that diverges leaves nothing behind."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.special
import sklearn.metrics
import torch
from safetensors.numpy import load_file
from tests import tiny

from distillbias.errors import InputError, RunError
from distillbias.evaluation.metrics import softmax
from distillbias.evaluation.predict import predict, sample_rows
from distillbias.studies import lessons
from distillbias.studies.execute import STAGES, execute, load_splits
from distillbias.studies.lessons import build, check_knows, load_model
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.training.teacher import weights_fingerprint

RUN, STUDENT = tiny.ALONE, tiny.STUDENT
FILES = ("activations.safetensors", "predictions.parquet", "weights.safetensors")


COMPILES_NOTHING = """
import sys
from dataclasses import replace
from pathlib import Path
from tests import tiny
from distillbias.studies import lessons
from distillbias.training import replays, tapes

lessons.check_knows, replays.WORTH = lambda *asked: None, 1
plays, play = [], tapes.Tape.play
tapes.Tape.play = lambda tape: plays.append(1) or play(tape)
others = replace(tiny.STUDENT, recipe=replace(tiny.RECIPE, optimizer="radam"))
tiny.trained(Path(sys.argv[1]), tiny.ALONE, tiny.STUDENT, others)
assert plays
assert "torch._dynamo" not in sys.modules
"""


def facts(store: Store, run) -> dict:
    return json.loads((store.folder(run) / "record.json").read_text())


def test_a_run_is_repeated_in_every_bit(store: Store, tmp_path: Path) -> None:
    """In another store, after other draws from the global stream, student and signal too."""
    torch.rand(7)
    again = tiny.trained(tmp_path / "other", RUN, STUDENT)
    for run in (RUN, STUDENT):
        for file in FILES:
            assert (store.folder(run) / file).read_bytes() == (again.folder(run) / file).read_bytes(), file
        one, other = facts(store, run), facts(again, run)
        assert {name for name in one if one[name] != other[name]} <= {"seconds", "provenance", "speed"}
        same = [name for name in one["provenance"] if name not in ("began", "ended", "peak_megabytes", "commit")]
        assert all(one["provenance"][name] == other["provenance"][name] for name in same)
    assert store.signal_path(RUN).read_bytes() == again.signal_path(RUN).read_bytes()


def test_a_record_is_whole(store: Store) -> None:
    for run in (RUN, STUDENT):
        kept = {path.name for path in store.folder(run).iterdir()}
        assert kept == {"record.json", "done", *FILES}
        assert store.damaged(run) == [] and store.record(run).run == run
        assert len(facts(store, run)["losses"]) == run.recipe.epochs


@pytest.mark.parametrize("run", [RUN, STUDENT], ids=["alone", "student"])
def test_scores_follow_from_the_predictions(store: Store, run) -> None:
    """Again, from the Parquet file alone, by SciPy and scikit-learn."""
    table = pq.read_table(store.folder(run) / "predictions.parquet").to_pydict()
    recorded, tests = facts(store, run)["scores"], load_splits(run.task, None).tests
    assert set(table["test"]) == set(recorded) == set(tests)
    for test, examples in tests.items():
        rows = [row for row, name in enumerate(table["test"]) if name == test]
        logits = np.array([table["logits"][row] for row in rows])
        labels = [table["label"][row] for row in rows]
        assert labels == examples.labels.tolist() and [table["id"][row] for row in rows] == examples.ids.tolist()
        assert {(table["corruption"][row], table["severity"][row]) for row in rows} == {tuple(examples.tags.values())}
        probabilities = scipy.special.softmax(logits.astype(np.float64), axis=1)
        accuracy = sklearn.metrics.accuracy_score(labels, probabilities.argmax(1))
        loss = sklearn.metrics.log_loss(labels, probabilities, labels=range(10))
        assert recorded[test]["n"] == len(rows) == 500
        assert recorded[test]["accuracy"] == pytest.approx(accuracy, abs=1e-12)
        assert recorded[test]["nll"] == pytest.approx(loss, rel=1e-9)
        distances = np.abs((probabilities.argmax(1) == labels) - probabilities.max(1))
        assert recorded[test]["paper_ece"] == pytest.approx(distances.mean(), abs=2e-3)  # hardly two rows share a bin


def test_predictions_are_those_of_the_stored_weights(store: Store) -> None:
    record, model = store.record(RUN), load_model(RUN, store)
    assert not model.training and weights_fingerprint(model) == record.facts["weights"]
    for test in ("clean", "scale-5"):
        examples = load_splits(RUN.task, None).tests[test]
        np.testing.assert_array_equal(record.predictions(test).logits, predict(model, examples)[0])
        np.testing.assert_array_equal(record.predictions(test).ids, examples.ids)
        assert record.predictions(test).tags == examples.tags


def test_a_student_names_its_teachers_weights(store: Store) -> None:
    taught_by = facts(store, STUDENT)["teacher"]
    assert taught_by == {"run": RUN.name, "weights": facts(store, RUN)["weights"], "mode": "eval"}
    assert facts(store, RUN)["teacher"] is None
    assert facts(store, STUDENT)["weights"] != facts(store, RUN)["weights"]


def test_a_student_wants_its_teacher_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"run {RUN.name} .* is not finished"):
        execute(STUDENT, Store(tmp_path), None)


def test_stages_lead_from_the_initial_weights_to_the_final_ones(store: Store) -> None:
    stages = store.record(RUN).stages()
    examples = load_splits(RUN.task, None).tests["translate-3"]
    rows = sample_rows(examples, 1000, 0)
    assert len(stages) == len(STAGES) == 12 and stages.shape == (12, 500, 8)
    np.testing.assert_array_equal(stages[0], predict(build(RUN), examples, rows)[1])
    np.testing.assert_array_equal(stages[-1], store.record(RUN).activations("translate-3"))
    assert not np.array_equal(stages[0], stages[-1])


def test_stages_are_steps_of_this_run(store: Store, tmp_path: Path) -> None:
    """10 steps: stage k of the 12 is after round(share * 10) of them; the 9th, 65/400, after 2."""
    stages = store.record(RUN).stages()
    steps = [round(share * 10) for share in STAGES]
    assert steps == [0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 6, 10]
    for (step, stage), (next_step, next_stage) in zip(
        zip(steps, stages, strict=True), list(zip(steps, stages, strict=True))[1:], strict=False
    ):
        assert np.array_equal(stage, next_stage) == (step == next_step)


def test_activations_of_every_headline_set_are_kept(store: Store) -> None:
    kept = load_file(store.folder(RUN) / "activations.safetensors")
    assert set(kept) == {"stages", *(f"final/{test}" for test in RUN.task.headline.values())}


def test_progress_is_told_once_an_epoch(tmp_path: Path) -> None:
    told = []
    run = replace(RUN, recipe=replace(tiny.RECIPE, epochs=3))
    execute(run, Store(tmp_path), None, report=told.append)
    assert [(said["epoch"], said["epochs"]) for said in told] == [(1, 3), (2, 3), (3, 3)]
    assert [said["loss"] for said in told] == facts(Store(tmp_path), run)["losses"]


def test_a_longer_run_begins_like_a_shorter_one_with_the_same_schedule(tmp_path: Path) -> None:
    """Trial decides weights, order and dropout: only a schedule stretched over the run tells the two apart."""
    from distillbias.training.recipe import ExponentialDecay

    steady = replace(RUN, recipe=replace(tiny.RECIPE, schedule=ExponentialDecay()))
    longer = replace(steady, recipe=replace(steady.recipe, epochs=2))
    store = tiny.trained(tmp_path, steady, longer)
    assert facts(store, longer)["losses"][0] == facts(store, steady)["losses"][0]


def test_repeats_start_alike_and_train_otherwise(tmp_path: Path, store: Store) -> None:
    repeat = replace(RUN, repeat=1)
    other = tiny.trained(tmp_path, repeat)
    np.testing.assert_array_equal(other.record(repeat).stages()[0], store.record(RUN).stages()[0])
    assert facts(other, repeat)["losses"] != facts(store, RUN)["losses"]


def test_a_teacher_in_training_mode_teaches_otherwise(tmp_path: Path, store: Store) -> None:
    live = replace(STUDENT, distillation=replace(STUDENT.distillation, teacher_mode="train"))
    made = [tiny.trained(tmp_path / name, RUN, live) for name in ("one", "two")]
    found = [facts(each, live) for each in made]
    assert found[0]["weights"] == found[1]["weights"] != facts(store, STUDENT)["weights"]
    assert found[0]["teacher"]["mode"] == "train" and found[0]["teacher"]["weights"] == facts(store, RUN)["weights"]
    assert not made[0].signal_path(RUN).exists()


def test_the_global_stream_is_untouched(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    execute(RUN, Store(tmp_path), None)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_run_that_diverges_is_an_error_and_is_not_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RunError, match=r"the loss became (nan|inf) at step [2-9]$"):
        execute(tiny.DIVERGING, store, None)
    assert not store.done(tiny.DIVERGING)
    with pytest.raises(InputError, match="not finished"):
        store.record(tiny.DIVERGING)


def test_a_run_whose_very_last_step_diverges_is_a_run_error_too(tmp_path: Path) -> None:
    """Its loss was read before that step. In a study an InputError would end all other runs."""
    once = replace(tiny.DIVERGING, recipe=replace(tiny.DIVERGING.recipe, batch=1297, rate=1e38))
    store = Store(tmp_path)
    try:
        execute(once, store, None)
    except RunError:
        pass
    assert not store.done(once)


def test_a_spoilt_signal_is_said_again(tmp_path: Path) -> None:
    store = tiny.trained(tmp_path, RUN, STUDENT)
    path = store.signal_path(RUN)
    whole = path.read_bytes()
    for spoil in (lambda: path.write_bytes(whole[:-100]), path.with_suffix(".sha256").unlink, path.unlink):
        spoil()
        again = replace(STUDENT, repeat=1)
        tiny.trained(tmp_path, again)
        assert path.read_bytes() == whole and store.sound(path)
        store.reopen(again)


def test_somebody_elses_signal_is_an_error(tmp_path: Path) -> None:
    """Whole, with its checksum, but of another teacher."""
    store = tiny.trained(tmp_path, RUN, STUDENT)
    other = tiny.trained(tmp_path / "other", replace(RUN, trial=1), again_of(1))
    path, theirs = store.signal_path(RUN), other.signal_path(replace(RUN, trial=1))
    for suffix in (".safetensors", ".sha256"):
        path.with_suffix(suffix).write_bytes(theirs.with_suffix(suffix).read_bytes())
    again = replace(STUDENT, repeat=1)
    with pytest.raises(RunError, match=f"signal in {path.name} has fingerprint.*delete the file and run again"):
        execute(again, store, None)
    assert not store.done(again)


def again_of(trial: int) -> Run:
    return replace(STUDENT, trial=trial, distillation=replace(STUDENT.distillation, teacher=replace(RUN, trial=trial)))


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_teacher_that_knows_nothing_is_refused(tmp_path: Path, mode: str, monkeypatch) -> None:
    """One step at a rate of nothing leaves the initial weights, and those guess."""
    monkeypatch.setattr(lessons, "check_knows", check_knows)  # other tests do without
    idle = replace(RUN, recipe=replace(tiny.RECIPE, rate=1e-12))
    taught = replace(STUDENT, distillation=replace(STUDENT.distillation, teacher=idle, teacher_mode=mode))
    store = tiny.trained(tmp_path, idle)
    with pytest.raises(RunError, match=f"its teacher {idle.name} is no better than chance: mean recall .*chance 0.100"):
        execute(taught, store, None)
    assert not store.done(taught)


def test_knowing_is_more_than_chance_by_hand() -> None:
    """1,000 examples of each of two classes: chance is .5, one standard error .0112, the limit .5184."""
    labels = np.repeat([0, 1], 1000)
    for right, knows in ((518, False), (520, True), (0, False), (1000, True)):
        answers = np.where(np.tile(np.arange(1000) < right, 2), labels, 1 - labels)
        logits = np.eye(2, dtype=np.float32)[answers]
        if knows:
            check_knows(logits, labels, RUN)
        else:
            with pytest.raises(RunError, match="no better than chance"):
                check_knows(logits, labels, RUN)
    constant = np.tile(np.float32([1, 0]), (2000, 1))
    with pytest.raises(RunError, match="mean recall 0.500"):
        check_knows(constant[:1100], labels[:1100], RUN)  # right in 91 % of cases, and knows nothing


def test_a_control_is_recorded_and_its_student_hears_nothing_of_the_teacher(tmp_path: Path) -> None:
    """A student of the class frequencies ends at them: near chance, with the same answer to every digit."""
    store = Store(tmp_path)
    longer = replace(tiny.STUDENT, recipe=replace(tiny.STUDENT.recipe, epochs=3))
    lesson_of = {control: replace(longer.distillation, control=control) for control in ("prior", "untrained")}
    execute(longer.distillation.teacher, store, None)
    for control, lesson in lesson_of.items():
        run = replace(longer, distillation=lesson)
        execute(run, store, None)
        record = store.record(run)
        assert record.facts["teacher"]["control"] == control and control in record.facts["label"]
        assert record.score("clean", "accuracy") < 0.4
    trained, untrained = (store.signal_path(longer.distillation.teacher, state) for state in ("eval", "untrained"))
    assert trained.exists() and untrained.exists() and trained.read_bytes() != untrained.read_bytes()
    prior = store.record(replace(longer, distillation=lesson_of["prior"]))
    assert softmax(prior.predictions("clean").logits).max(axis=1).mean() < 0.25


def test_a_run_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    """That takes as long as torch itself, in every worker, and some of torch's own functions would do it unasked."""
    done = subprocess.run([sys.executable, "-c", COMPILES_NOTHING, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
