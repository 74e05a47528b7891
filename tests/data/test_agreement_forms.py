import numpy as np
import pytest

from distillbias.data.agreement_forms import is_plural, other_form, other_forms, third_person, verb_pairs
from distillbias.data.sentences import FACTS, Sentences

PAIRS = (
    *(("is", "are"), ("has", "have"), ("does", "do"), ("goes", "go"), ("undergoes", "undergo"), ("keeps", "keep")),
    *(("carries", "carry"), ("plays", "play"), ("dies", "die"), ("reaches", "reach"), ("pushes", "push")),
    *(("passes", "pass"), ("fixes", "fix"), ("uses", "use"), ("organizes", "organize"), ("buzzes", "buzz")),
    *(("sees", "see"), ("radios", "radio"), ("was", "were")),
)


def made(rows: list[tuple[str, str, bool]]) -> Sentences:
    right, wrong, plural = zip(*rows, strict=True)
    unknown = np.full(len(rows), -1, np.int32)
    return Sentences(
        [["it", form] for form in right],
        np.ones(len(rows), np.int32),
        np.array(plural, bool),
        list(right),
        list(wrong),
        {name: unknown for name in FACTS},
        "made",
    )


@pytest.mark.parametrize("one, many", PAIRS[:-2])
def test_the_rule_finds_either_form_from_the_other(one, many):
    assert other_form(one, False, {}) == many and other_form(many, True, {}) == one


@pytest.mark.parametrize("one, many", PAIRS)
def test_number_is_told_by_shape(one, many):
    assert not is_plural(one, many) and is_plural(many, one) and third_person(many) == one
    assert not is_plural(one) and is_plural(many)


def test_shapes_that_mislead():
    assert is_plural("focus") and is_plural("discuss")
    assert other_form("occurs", True, {}) == other_form("occur", False, {}) == other_form("", True, {}) == ""
    assert other_forms(["belie", "belies", "relies"], [True, False, False]) == ["belies", "belie", "rely"]


def test_pairs_go_before_rules_both_ways():
    pairs = {"aches": "ache"}
    assert other_form("aches", False, pairs) == "ache" and other_form("ache", True, pairs) == "aches"


def test_pairs_come_from_rows_that_know_both_forms_and_the_most_frequent_wins():
    rows = made(
        [
            *(
                ("fixes", "fix", False),
                ("fix", "fixes", True),
                ("fix", "fixes", False),
            ),  # the last: a slip of the tagger
            *(("lies", "lie", False), ("lie", "lies", True), ("lay", "lies", True)),
            *(("lie", "", True), ("ends", "end", False)),
        ]
    )
    assert verb_pairs([rows]) == {"fixes": "fix", "lies": "lie", "ends": "end"}
    assert verb_pairs([rows, rows]) == verb_pairs([rows]) and verb_pairs([]) == {}
