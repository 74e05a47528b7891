import numpy as np
import pytest

from distillbias.data import agreement_forms
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


def test_many_forms_are_looked_up_and_not_searched_for(monkeypatch):
    """20,000 forms against all pairs of one another would be 400 million looks: a hang for a file of 1 MB."""
    calls = []
    monkeypatch.setattr(agreement_forms, "_turned", lambda pairs: calls.append(1) or {"v1s": "never", "v1": "told"})
    forms = [f"v{number}" for number in range(20_000)]
    found = other_forms(forms, [True] * len(forms))
    assert len(calls) == 1 and found[:3] == ["v0s", "told", "v2s"]


def test_of_several_singular_forms_the_first_counts():
    assert other_form("ache", True, {"aches": "ache", "acheth": "ache"}) == "aches"
