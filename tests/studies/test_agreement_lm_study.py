"""The declared study of language models: the paper's numbers, its arms, and a small one from start to end."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests import language
from tests.data import agreement_samples
from tests.words import small_grammar

from distillbias.errors import InputError
from distillbias.studies import execute, lessons
from distillbias.studies.agreement_lm import DISTILLED, FAMILIES, Setting, arms, study
from distillbias.studies.catalogue import SCALES, find_study
from distillbias.studies.outside import score_outside, score_table
from distillbias.studies.run import from_json, to_json
from distillbias.studies.store import Store
from distillbias.tasks.agreement_lm import AgreementLM
from distillbias.training.recipe import CosineRestarts, ExponentialDecay, Recipe, WarmupCosine

RECIPE = Recipe(1, 64, 1e-2, WarmupCosine(), precision="bfloat16")
RECIPES = {"LSTM": RECIPE, "Transformer": RECIPE}
TINY = Setting(AgreementLM("grammar", words=1300), dict(language.MODELS), RECIPES, RECIPES)


def test_the_papers_arms_and_recipes() -> None:  # F4.1, F5.1
    made = find_study("agreement-lm", "paper")
    assert set(made.arms) == {*FAMILIES, *DISTILLED} and len(DISTILLED) == 16
    assert made.trials == 4 and len(made.runs) == 4 * 20
    for arm, (run, *_) in made.arms.items():
        recipe = run.recipe
        assert run.task == AgreementLM("full") and run.model.name == arm.split(" → ")[-1]
        assert (recipe.epochs, recipe.batch, recipe.clip, recipe.optimizer) == (60, 64, 1.0, "adam")
        assert recipe.l2 == (1e-4 if "Transformer" in run.model.name else 0.0) and recipe.l1 == 0
        if run.distillation:
            assert (run.distillation.temperature, run.distillation.weight) == (1.0, 1.0)
            assert (recipe.rate, recipe.schedule) == (1e-4, CosineRestarts(10_000, 2.0, 0.9, 0.001))
            assert run.distillation.teacher_mode == "eval"
        elif arm == "Transformer":
            assert (recipe.rate, recipe.schedule) == (1e-4, ExponentialDecay(5_000, 0, 10_000, 0.96))
        else:
            assert (recipe.rate, recipe.schedule) == (1e-3, ExponentialDecay(5_000, 1_000, 1_000, 0.96))


@pytest.mark.parametrize("scale", SCALES)
def test_each_trial_has_its_own_teacher(scale: str) -> None:
    made = find_study("agreement-lm", scale)
    for arm, runs in made.arms.items():
        if "→" in arm:
            assert [run.teacher for run in runs] == list(made.arms[arm.split(" → ")[0]])
    assert all(from_json(to_json(run)) == run for run in made.runs)


def test_smaller_scales_have_one_size_of_each() -> None:
    for scale in ("demo", "laptop"):
        assert set(study(scale).arms) == {"LSTM", "Transformer", *(arm for arm in DISTILLED if "Small" not in arm)}
    laptop = {run.model.name: run.model for run in study("laptop").runs}
    assert laptop["LSTM"].width * 4 == 1024 and laptop["Transformer"].width * 4 == 512


def test_bad_requests_are_named() -> None:
    with pytest.raises(InputError, match="unknown scale 'huge'; it is one of demo, laptop, paper"):
        study("huge")
    with pytest.raises(InputError, match="0 trials; a study needs at least 1"):
        study("demo", trials=0)
    assert study("demo", epochs=1).title == "agreement-lm-demo-1-epochs"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """A teacher, and a student of the other family, trained on few sentences."""
    made, threads = Store(tmp_path_factory.mktemp("store")), torch.get_num_threads()
    torch.set_num_threads(1)
    execute.load_splits.cache_clear()
    with small_grammar():
        for arm in ("LSTM", "LSTM → Transformer"):
            execute.execute(arms(TINY, 1)[arm][0], made, None)
    execute.load_splits.cache_clear()
    torch.set_num_threads(threads)
    return made


def test_a_small_study_from_start_to_end(store: Store) -> None:
    for arm in ("LSTM", "LSTM → Transformer"):
        record = store.record(arms(TINY, 1)[arm][0])
        scores = record.facts["scores"]
        for test, found in scores.items():
            assert 1 < found["perplexity"] < 3000 and 1 < found["batch_perplexity"], test
        predictions = record.predictions("natural")
        assert predictions.logits.shape[1] == 2 and {"position", "singular", "plural"} <= set(predictions.columns)
        right = np.mean(predictions.logits.argmax(1) == predictions.labels)
        assert scores["natural"]["accuracy"] == pytest.approx(right)
        assert record.activations("natural").shape[1] == 8
        assert record.facts["losses"][0] > 0
    assert store.signal_path(arms(TINY, 1)["LSTM"][0]).exists()
    student = store.record(arms(TINY, 1)["LSTM → Transformer"][0])
    assert student.facts["teacher"]["run"] == arms(TINY, 1)["LSTM"][0].name


def test_whole_sentences_from_outside_get_a_perplexity(store: Store, tmp_path: Path) -> None:
    header, first, *_ = agreement_samples.UD.splitlines()
    (tmp_path / "gold.tsv").write_text(f"{header}\n{first}\n")
    run = arms(TINY, 1)["LSTM"][0]
    (found,) = score_outside(run.name, tmp_path / "gold.tsv", store).slices.values()
    words = store.record(run).vocabulary
    ids = [words.index(word) if word in words else 1 for word in "the keys to the cabinet are here .".split()]
    with torch.no_grad():  # one sentence, word by word: <bos> in front, <eos> behind
        output = lessons.load_model(run, store)(torch.tensor([[2, *ids]])).logits
        logs = (output.states @ output.matrix.T).log_softmax(-1)[0]
    nll = -sum(float(logs[place, word]) for place, word in enumerate([*ids, 3]))
    assert found["perplexity"] == pytest.approx(np.exp(nll / (len(ids) + 1)), rel=1e-4)
    table = score_table(score_outside(run.name, tmp_path / "gold.tsv", store))
    assert [column.header for column in table.columns][-1] == "perplexity"
