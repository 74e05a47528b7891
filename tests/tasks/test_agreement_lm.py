"""What a language model is shown, and where it is asked for the verb."""

import numpy as np
import pytest
from tests import language
from tests.words import small_grammar

from distillbias.data.vocabulary import BEGIN, END, Vocabulary
from distillbias.tasks.agreement_lm import AgreementLM, encoded, known_forms
from distillbias.tasks.task import Spec, Task

TASK = AgreementLM("grammar", words=1300)
WORDS = language.VOCABULARY


@pytest.fixture(scope="module")
def splits():
    with small_grammar():
        return TASK.load(None)


def text(row: np.ndarray) -> str:
    return " ".join(WORDS.words[word] for word in row if word)


def test_rows_by_hand() -> None:
    made = language.examples()
    assert text(made.inputs[0]) == "<bos> the keys to the cabinet are here . <eos>"
    assert text(made.inputs[2]) == "<bos> the key to the cabinets"  # nothing is known of how it goes on
    assert made.labels.tolist() == [1, 0, 0, 1, 0, 0]
    assert made.columns["position"].tolist() == [5, 2, 5, 2, 2, 2]
    forms = [[WORDS.words[word] if word >= 0 else "" for word in made.columns[n]] for n in ("singular", "plural")]
    assert forms == [["is", "is", "", "opens", "opens", ""], ["are", "are", "", "open", "open", ""]]
    assert [[WORDS.words[word] for word in row] for row in made.forms] == [["is", "opens"], ["are", "open"]]


def test_a_pair_is_known_whole_or_not_at_all() -> None:
    some = Vocabulary((*WORDS.words[:4], "is", "the", "open", "opens"))
    made = encoded(language.sentences(), some, language.PAIRS)
    assert made.columns["singular"][:2].tolist() == made.columns["plural"][:2].tolist() == [-1, -1]
    assert known_forms({"is": "are"}, some).shape == (2, 0)


def test_the_task_is_a_task() -> None:
    assert isinstance(TASK, Task) and TASK.name == "agreement-lm-grammar"
    assert TASK.spec == Spec(shape=(), classes=1300, vocabulary=1300)
    assert hash(TASK) == hash(AgreementLM("grammar", words=1300))


def test_the_state_at_the_position_predicts_the_verb(splits) -> None:
    for examples in (splits.train, splits.validation, *splits.tests.values()):
        rows = np.arange(len(examples))
        verb = examples.inputs[rows, examples.columns["position"] + 1]
        forms = np.stack([examples.columns["singular"], examples.columns["plural"]], 1)
        known = forms[:, 0] >= 0
        assert known.any() and (verb == forms[rows, examples.labels])[known].all()
        assert (examples.inputs[:, 0] == BEGIN).all() and (examples.inputs == END).sum(1).tolist() == [1] * len(rows)


def test_only_training_rows_may_lack_their_forms(splits) -> None:
    for name, examples in splits.tests.items():
        assert name == "train" or (examples.columns["singular"] >= 0).all()


def test_a_file_from_outside(tmp_path) -> None:
    path = tmp_path / "numpred.txt"
    path.write_text("VBP\tthe keys to the cabinet\nVBZ\tthe key to the cabinets\n")
    (examples,) = TASK.read(path, WORDS.words).slices.values()
    assert examples.labels.tolist() == [1, 0] and (examples.columns["singular"] == -1).all()
    assert {WORDS.words[word] for word in examples.forms[0]} == {"is"}  # of the embedded verbs
