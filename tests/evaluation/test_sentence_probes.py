"""Probes of classifiers of agreement: models whose behaviour is known, and every word occluded one by one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from tests import words
from torch import nn

from distillbias.data.grammar_words import PEOPLE, PREPOSITIONS, THINGS, pairs
from distillbias.data.vocabulary import SPECIALS, UNKNOWN_WORD, Vocabulary
from distillbias.errors import InputError
from distillbias.evaluation.sentence_probes import (
    length_probe,
    occlusion,
    phrase_counts,
    phrased,
    place_probe,
    sayable,
)
from distillbias.models.output import Output, fresh, initialise
from distillbias.tasks.task import Examples, Spec

PAIRS = [*pairs(THINGS), *pairs(PEOPLE)]
NUMBER = {form: number for pair in PAIRS for number, form in enumerate(pair)}
KNOWN = Vocabulary((*SPECIALS, "the", *dict.fromkeys([*PREPOSITIONS.split(), *NUMBER])))


class Reader(nn.Module):
    """Answers by a rule from each sentence's nouns, as numbers 0 and 1 from left to right."""

    def __init__(self, rule: Callable[[list[int]], int]):
        super().__init__()
        self.place, self.rule = nn.Parameter(torch.zeros(1)), rule

    def forward(self, ids: torch.Tensor) -> Output:
        read = [[NUMBER[KNOWN.words[each]] for each in row if KNOWN.words[each] in NUMBER] for row in ids.tolist()]
        answers = torch.tensor([self.rule(nouns) for nouns in read])
        return Output(torch.eye(2)[answers], {"penultimate": torch.zeros(len(ids), 1)})


def subject(nouns: list[int]) -> int:
    return nouns[0]


def nearest(nouns: list[int]) -> int:
    return nouns[-1]


def majority(nouns: list[int]) -> int:
    return int(2 * sum(nouns) > len(nouns))


def test_made_sentences_are_what_they_say() -> None:
    rows = phrased(KNOWN, 3, [1], 20, seed=0)
    assert rows.plural.mean() == 0.5 and len(set(map(tuple, rows.words))) == 20
    for row, sentence in enumerate(rows.words):
        assert len(sentence) == 11 == rows.verb[row] and sentence[0::3] == ["the"] * 4
        assert set(sentence[2::3]) <= set(PREPOSITIONS.split())
        numbers = [NUMBER[form] for form in sentence[1::3]]
        own = int(rows.plural[row])
        assert numbers == [own, own, 1 - own, own]
    assert {name: set(values.tolist()) for name, values in rows.facts.items()} == {
        "distance": {10},
        "intervening": {3},
        "attractors": {1},
    }


def test_conditions_differ_in_the_attractor_alone() -> None:
    without, last = phrased(KNOWN, 2, [], 30, seed=1), phrased(KNOWN, 2, [0], 30, seed=1)
    other = {form: partner for pair in PAIRS for form, partner in (pair, pair[::-1])}
    for one, two in zip(without.words, last.words, strict=True):
        assert one[:-1] == two[:-1] and other[one[-1]] == two[-1]


def test_rules_are_found_out_by_place() -> None:
    for rule, expected, without in (
        (subject, [1, 1, 1, 1], 1),
        (nearest, [0, 1, 1, 1], 1),
        (majority, [1, 1, 1, 1], 1),
        (lambda nouns: nouns[2], [1, 1, 0, 1], 1),
        (lambda nouns: 1 - nouns[0], [0, 0, 0, 0], 0),
    ):
        probe = place_probe(Reader(rule), KNOWN, count=10)
        assert probe.places.tolist() == [1, 4, 7, 10] and probe.n == 10
        assert probe.accuracy.tolist() == expected and probe.without == without


def test_rules_are_found_out_by_length() -> None:
    short = lambda nouns: nouns[0] if len(nouns) <= 7 else 0  # noqa: E731
    for rule, attracted in ((subject, 1.0), (nearest, 0.0), (majority, 0.0)):
        probe = length_probe(Reader(rule), KNOWN, longest=20, count=10)
        assert set(probe.without.tolist()) == {1.0} and set(probe.attracted[1:].tolist()) == {attracted}
    probe = length_probe(Reader(short), KNOWN, longest=20, count=10)
    assert (probe.lengths > 20).tolist() == probe.beyond.tolist() and 0 < probe.beyond.sum() < len(probe.lengths)
    assert probe.without.tolist() == np.where(probe.beyond, 0.5, 1.0).tolist()


@given(st.integers(8, 300))
def test_lengths_rise_on_both_sides_of_the_longest(longest: int) -> None:
    lengths = [2 + 3 * count for count in phrase_counts(longest)]
    assert lengths == sorted(set(lengths)) and lengths[0] <= longest < lengths[-1] <= 2 * longest + 3
    at_most = [length for length in lengths if length <= longest]
    assert longest - at_most[-1] < 3


def examples() -> Examples:
    """Four sentences; the last one begins with an unknown word. `<eos>` is 3."""
    inputs = np.array([[5, 6, 7, 3, 0], [8, 3, 0, 0, 0], [9, 5, 6, 8, 3], [1, 9, 3, 0, 0]], np.int32)
    columns = {"distance": np.array([2, 1, 4, -1], np.int32)}
    return Examples(inputs, np.array([0, 1, 1, 0]), np.arange(4), "by hand", "", columns=columns)


@pytest.mark.parametrize("family", ["LSTM", "Transformer", "Transformer-seq"])
def test_occlusion_is_that_of_each_word_by_itself(family: str) -> None:
    model = fresh(words.setting().models[family], Spec(shape=(), classes=2, vocabulary=10))
    initialise(model, torch.Generator().manual_seed(0))
    with torch.no_grad():  # the first weights hardly tell one word from another
        for parameter in model.parameters():
            parameter.mul_(4)
    model.eval()

    def right(row: list[int], label: int) -> float:
        with torch.no_grad():
            return softmax(model(torch.tensor([row])).logits.numpy().astype(float)[0])[label]

    asked = examples()
    rows = [[word for word in row if word] for row in asked.inputs.tolist()]
    moves: dict[int, list[float]] = {k: [] for k in range(1, 6)}
    of_subject: dict[int, list[float]] = {k: [] for k in range(1, 6)}
    for row, label, distance in zip(rows, asked.labels, asked.columns["distance"], strict=True):
        for k in range(1, len(row)):
            place = len(row) - 1 - k
            if row[place] != UNKNOWN_WORD:
                gone = [*row[:place], UNKNOWN_WORD, *row[place + 1 :]]
                moves[k].append(abs(right(gone, label) - right(row, label)))
                of_subject[k] += moves[k][-1:] if k == distance else []
    found = occlusion(model, asked, reach=5)
    assert found.n.tolist() == [len(each) for each in moves.values()] == [4, 2, 2, 1, 0]
    assert found.subject_n.tolist() == [1, 1, 0, 1, 0]
    for values, each in ((found.change, moves), (found.subject, of_subject)):
        expected = [np.mean(row) if row else np.nan for row in each.values()]
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-7)
    assert found.whole_subject == pytest.approx(np.mean(sum(of_subject.values(), [])), rel=1e-4)
    assert found.change[0] > 1e-3  # so the comparison is one of something


def test_without_distances_no_subject_is_known() -> None:
    model = fresh(words.setting().models["LSTM"], Spec(shape=(), classes=2, vocabulary=10))
    initialise(model, torch.Generator().manual_seed(0))
    asked = examples()
    found = occlusion(model, Examples(asked.inputs, asked.labels, asked.ids, "", ""), reach=2)
    assert found.subject_n.tolist() == [0, 0] and np.isnan(found.whole_subject)


def test_too_few_words_are_refused() -> None:
    few = Vocabulary((*SPECIALS, "the", "of", "in", *(form for pair in PAIRS[:9] for form in pair)))
    assert not sayable(few) and sayable(KNOWN)
    with pytest.raises(InputError, match="9 nouns in both numbers and 2 prepositions .* 10 and 2, and 'the'"):
        phrased(few, 2, [], 4, seed=0)
    with pytest.raises(InputError, match="attractor in phrase 2; the choices are 0 to 1"):
        phrased(KNOWN, 2, [0, 2], 4, seed=0)
