"""Agreement tasks: which examples, which groups, and that nothing seen in training is tested on."""

from dataclasses import replace

import numpy as np
import pytest
from tests import words

from distillbias.data.sentences import FACTS, Sentences
from distillbias.data.vocabulary import END, PAD, SPECIALS, UNKNOWN_WORD, Vocabulary, build_vocabulary
from distillbias.errors import InputError
from distillbias.tasks import agreement
from distillbias.tasks.agreement import Agreement, Group, Sets, facts
from distillbias.tasks.agreement_classification import AgreementClassification, once
from distillbias.tasks.task import Task

TASK = AgreementClassification("grammar", words=900)


@pytest.fixture(scope="module")
def splits():
    with words.small_grammar():
        return TASK.load(None)


def rows(*prefixes: str, verbs: str = "is", wrong: str = "are", plural: bool = False) -> Sentences:
    """One sentence "PREFIX verb ." for each prefix."""
    split = [prefix.split() for prefix in prefixes]
    n = len(split)
    known = {name: np.zeros(n, np.int32) for name in FACTS}
    return Sentences(
        [[*words, verbs, "."] for words in split],
        np.array([len(words) for words in split], np.int32),
        np.full(n, plural),
        [verbs] * n,
        [wrong] * n,
        known,
        "by hand",
    )


def test_a_row_is_the_words_before_the_verb_and_an_end(splits) -> None:
    assert isinstance(TASK, Task)
    with words.small_grammar():
        sentences = TASK.sets(words.NOWHERE).train
    for row in range(20):
        ids = [index for index in splits.train.inputs[row] if index != PAD]
        assert ids[-1] == END and [splits.vocabulary[index] for index in ids[:-1]] == sentences.prefix(row)
        assert splits.train.labels[row] == sentences.plural[row]


def test_no_test_prefix_was_seen_in_training() -> None:
    with words.small_grammar():
        sets = TASK.sets(words.NOWHERE)
    sets.tests["again"] = sets.train.rows(np.arange(5))
    _, kept = TASK.kept(sets)
    seen = {tuple(kept.train.prefix(row)) for row in range(len(kept.train))}
    for name, test in kept.tests.items():
        known = [tuple(test.prefix(row)) in seen for row in range(len(test))]
        assert all(known) if name == "train" else not any(known)
    assert "again" not in kept.tests and kept.tests["train"].words == kept.train.words


def test_groups_are_rows_of_test_sets(splits) -> None:
    for group in (*TASK.by_attractors.values(), *TASK.by_distance.values()):
        assert group.test in splits.tests and group.column in splits.tests[group.test].columns
    for k, group in TASK.by_attractors.items():
        columns = splits.tests[group.test].columns
        chosen = columns[group.column] == group.value
        assert chosen.sum() > 5 and set(columns["attractors"][chosen]) == set(columns["intervening"][chosen]) == {k}
    assert list(TASK.by_attractors) == [0, 1, 2, 3, 4] and list(TASK.by_distance) == list(range(1, 17))


def test_groups_of_the_real_sentences_say_how_group_0_is_formed() -> None:
    task = AgreementClassification("wiki")
    assert task.by_attractors[0] == Group("wiki", "near", 1)
    assert task.by_attractors[3] == Group("numpred-3", "homogeneous", 3)
    assert task.headline["natural"] == "numpred-val" and task.by_distance[7] == Group("wiki", "near", 7)


def test_columns_follow_the_papers_filters() -> None:
    """F7.3: at most 4 intervening nouns for distances; attractor groups are homogeneous; unknown is -1."""
    made = rows("a", "b", "c", "d")
    known = {
        "distance": np.array([3, 9, 4, -1], np.int32),
        "intervening": np.array([2, 5, -1, -1], np.int32),
        "attractors": np.array([2, 1, -1, -1], np.int32),
    }
    columns = facts(replace(made, facts=known))
    assert columns["near"].tolist() == [3, -1, 4, -1]
    assert columns["homogeneous"].tolist() == [2, -1, -1, -1]


def test_what_is_left_out_is_counted() -> None:
    train = rows("the cat", "the dog")
    test = rows("the cat", "a dog", "the bird")
    rare = rows("a cat", verbs="purrs", wrong="purr")
    vocabulary, kept = Agreement("grammar").kept(Sets(train, rows("a dog"), {"t": test, "rare": rare}))
    assert "are" not in vocabulary  # only one number of the verb was ever seen: no example can be asked about
    assert list(kept.tests) == ["train"]
    both = replace(train, words=[*train.words, ["we", "are"]], verb=np.array([2, 2, 1], np.int32))
    both = replace(both, plural=np.array([False, False, True]), right=["is", "is", "are"], wrong=["are", "are", "is"])
    both = replace(both, facts={name: np.zeros(3, np.int32) for name in FACTS})
    _, kept = Agreement("grammar").kept(Sets(both, rows("a dog"), {"t": test, "rare": rare}))
    assert [kept.tests["t"].prefix(row) for row in range(2)] == [["a", "dog"], ["the", "bird"]]
    assert "1 prefixes seen in training and 0 verbs outside" in kept.tests["t"].origin and "rare" not in kept.tests


def test_a_sample_is_fixed_and_in_order() -> None:
    many = rows(*(f"word{i}" for i in range(50)))
    task = Agreement("grammar", most=10)
    first, again = task._sampled("t", many), task._sampled("t", many)
    assert first.words == again.words and len(first) == 10
    places = [int(words[0][4:]) for words in first.words]
    assert places == sorted(places) and places != list(range(10))
    assert task._sampled("other", many).words != first.words and "a fixed sample of 10 of 50" in first.origin


def test_minimal_pairs_give_each_prefix_once() -> None:
    pairs = rows("the cat", "the cat", "a dog")
    assert len(once("blimp-x", pairs)) == 2 and once("wiki", pairs) is pairs


def test_a_joined_set_is_trained_on_and_no_longer_tested(monkeypatch) -> None:
    made = {name: rows(f"{name} one", f"{name} two") for name in agreement.NEEDED}
    monkeypatch.setattr(agreement.agreement, "available", lambda home: list(made))
    monkeypatch.setattr(agreement.agreement, "load_set", lambda name, home: {name: made[name]})
    sets = Agreement("wiki", joined=("numpred-val",)).sets(words.NOWHERE)
    assert len(sets.train) == 4 and "numpred-val" not in sets.tests and "wiki" in sets.tests
    with pytest.raises(InputError, match="cannot train on 'x'; the sets here are .*numpred-1"):
        Agreement("wiki", joined=("x",)).sets(words.NOWHERE)


def test_the_authors_split_is_theirs(monkeypatch) -> None:
    """10 / 1 / 89 % after NumPy's legacy shuffle with seed 42 (T16)."""
    table = rows(*(f"word{i}" for i in range(1000)))
    monkeypatch.setattr(agreement.agreement, "load_set", lambda name, home: {"full": table})
    sets = Agreement("full").sets(words.NOWHERE)
    order = list(range(1000))
    np.random.RandomState(42).shuffle(order)
    assert (len(sets.train), len(sets.validation), len(sets.tests["natural"])) == (100, 10, 890)
    assert [words[0] for words in sets.train.words] == [f"word{i}" for i in order[:100]]


def test_a_vocabulary_is_of_the_most_frequent_words() -> None:
    vocabulary = build_vocabulary([["b", "a", "b"], ["c", "b", "c", "<eos>"]], 6)
    assert vocabulary.words == ("<pad>", "<unk>", "<bos>", "<eos>", "b", "c")
    assert vocabulary.encode([["b", "x"], []], end=True).tolist() == [[4, UNKNOWN_WORD, END], [END, PAD, PAD]]
    assert vocabulary.encode([["c"]], begin=True).tolist() == [[2, 5]]
    with pytest.raises(InputError, match="begins with <pad> <unk> <bos> <eos>"):
        Vocabulary(["a", "b", "c", "d"])
    with pytest.raises(InputError, match="1 words are twice"):
        Vocabulary([*vocabulary.words, "b"])


def test_the_word_pad_in_a_text_ends_no_row() -> None:
    some = Vocabulary((*SPECIALS, "a", "b"))
    assert some.encode([["a", "<pad>", "b"], ["b"]]).tolist() == [[4, 1, 5], [5, 0, 0]]
    assert some.encode([["a", "<eos>"]]).tolist() == [[4, 3]]  # asked for by the language model's task
