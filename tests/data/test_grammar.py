from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.grammar import KIND, NOUN, VERB, VERB_LISTS, WORD_LISTS, read

from distillbias.data import grammar, grammar_rules, grammar_words
from distillbias.data.sentences import FACTS, Sentences, fingerprint
from distillbias.errors import InputError

ROWS = 6_000
GROUP_ROWS = 300


@pytest.fixture(scope="module")
def natural() -> Sentences:
    return grammar.generate(ROWS, "natural")


@pytest.fixture(scope="module")
def groups() -> list[Sentences]:
    return [grammar.generate(GROUP_ROWS, "group", attractors) for attractors in range(6)]


@pytest.fixture(scope="module")
def corpus() -> dict[str, Sentences]:
    return grammar.splits(train=1_500, test=600, per_group=20, seed="corpus")


def prefixes(sentences: Sentences) -> set[str]:
    return {" ".join(sentences.prefix(row)) for row in range(len(sentences))}


def near(share: float, deviations: float = 4.0) -> object:
    """`share` of ROWS, give or take the sampling error."""
    return pytest.approx(share, abs=deviations * (share * (1 - share) / ROWS) ** 0.5)


def nearest_noun(sentences: Sentences) -> np.ndarray:
    """True where the last noun before the verb has the verb's number."""
    numbers = [next(NOUN[w] for w in reversed(sentences.prefix(row)) if w in NOUN) for row in range(len(sentences))]
    return np.array(numbers) == sentences.plural


# --- words


def test_every_form_has_one_kind_and_one_number():
    nouns = grammar_words.pairs(grammar_words.PEOPLE + grammar_words.THINGS)
    verbs = [pair for text in VERB_LISTS.values() for pair in grammar_words.verb_pairs(text)]
    words = [word for text in WORD_LISTS.values() for word in text.split()]
    counts = Counter([form for pair in nouns + verbs for form in pair] + words)
    assert [form for form, count in counts.items() if count > 1] == []
    assert set(grammar_words.PLACES.split()) <= set(grammar_words.PREPOSITIONS.split())
    determiners = {*grammar_words.SINGULAR_DETERMINERS, *grammar_words.PLURAL_DETERMINERS} - {""}
    assert {KIND[word] for word in determiners} == {"DETERMINER"}


def test_the_letter_tells_a_from_an():
    spoken_otherwise = ("eu", "ew", "uni", "us", "ut", "one", "once", "hour", "hon", "heir")
    assert [word for word in KIND if word.startswith(spoken_otherwise) and KIND[word] in ("NOUN", "ADJECTIVE")] == []


@pytest.mark.parametrize(
    ("singular", "plural"),
    [("cat", "cats"), ("bus", "buses"), ("box", "boxes"), ("church", "churches"), ("city", "cities"), ("key", "keys")],
)
def test_spelling(singular, plural):
    assert grammar_words.with_s(singular) == plural
    assert grammar_words.pairs(f"{singular} man/men") == [(singular, plural), ("man", "men")]
    assert grammar_words.verb_pairs(f"{singular} is/are") == [(plural, singular), ("is", "are")]


# --- rules


def test_weights_sum_to_100():
    tables = [grammar_rules.BETWEEN, *grammar_rules.MODIFIERS, grammar_rules.BEFORE, grammar_rules.PREDICATE]
    tables += [grammar_rules.AFTER, grammar_rules.ADJECTIVES, *grammar_rules.RELATIVES.values()]
    tables += [grammar_words.SINGULAR_DETERMINERS, grammar_words.PLURAL_DETERMINERS]
    assert [sum(table.values()) for table in tables] == pytest.approx([100.0] * len(tables))


def test_rules_have_no_unknown_symbol():
    tables = [*grammar_rules.MODIFIERS, grammar_rules.BEFORE, grammar_rules.PREDICATE, grammar_rules.AFTER]
    symbols = {symbol for table in tables for rule in table for symbol in rule.split() if symbol.isupper()}
    known = {*grammar.WORDS, *grammar.VERBS, "NP", "PERSON", "BOTH", "NAME", "REL"}
    assert symbols <= known


# --- sentences


def test_an_independent_reader_finds_the_same_facts_and_only_agreeing_verbs(natural, groups):
    for sentences in (natural, *groups):
        for row, words in enumerate(sentences.words):
            facts = read(words)
            told = (sentences.verb[row], sentences.plural[row], *(sentences.facts[name][row] for name in FACTS))
            assert facts == told, " ".join(words)
            right, wrong = VERB[sentences.right[row]], VERB[sentences.wrong[row]]
            assert words[facts.verb] == sentences.right[row]
            assert right == (wrong[0], facts.plural) and wrong[1] == (not facts.plural)


@pytest.mark.parametrize(
    "damage",
    [
        "the keys to the door is old .",
        "the man that sees the dogs are old .",
        "the man that see the dogs is old .",
        "the dogs that the men sees are old .",
        "the dogs that the man and the woman sees are old .",
        "a men is old .",
        "these man is old .",
        "an dog is old .",
        "the man say that the dogs are old .",
        "when the man sleep , the dogs are old .",
        "the dogs are old when the man sleep .",
    ],
)
def test_the_reader_would_notice(damage):
    with pytest.raises(AssertionError):
        read(damage.split())


def test_the_reader_by_hand():
    words = "however , the keys that cover the cabinets of anna and the door need a door .".split()
    assert read(words) == (13, True, 10, 2, 1)


def test_the_two_forms_are_of_one_verb(natural):
    verbs = {pair for text in VERB_LISTS.values() for pair in grammar_words.verb_pairs(text)}
    forms = zip(natural.right, natural.wrong, natural.plural, strict=True)
    assert {(wrong, right) if plural else (right, wrong) for right, wrong, plural in forms} <= verbs


@given(seed=st.text(), attractors=st.none() | st.integers(0, 5), count=st.integers(1, 9), more=st.integers(0, 9))
@settings(max_examples=30)
def test_any_seed_gives_sentences_and_a_longer_draw_begins_with_the_shorter(seed, attractors, count, more):
    short, long = grammar.generate(count, seed, attractors), grammar.generate(count + more, seed, attractors)
    assert len(short) == count and fingerprint(short) == fingerprint(long.rows(np.arange(count)))
    for words in long.words:
        read(words)


def test_a_controlled_group_has_only_attractors_and_both_numbers_alike(groups):
    for attractors, group in enumerate(groups):
        assert (group.facts["attractors"] == attractors).all() and (group.facts["intervening"] == attractors).all()
        assert group.plural.mean() == pytest.approx(0.5, abs=4 * 0.5 / GROUP_ROWS**0.5)
        assert attractors == 0 or len(prefixes(group)) > 0.98 * GROUP_ROWS


def test_rates_of_the_natural_mix(natural):
    attractors, distance = natural.facts["attractors"], natural.facts["distance"]
    assert [float((attractors == k).mean()) for k in range(3)] == [near(0.935), near(0.05), near(0.01)]
    assert (attractors >= 3).mean() == near(0.005)
    assert (~natural.plural).mean() == near(0.68)
    # adjacent: no noun between, nothing else hangs on the subject, no adverb
    assert (distance == 1).mean() == near(0.775 * 0.90 * 0.95)
    assert set(range(1, 17)) <= set(distance.tolist()) and distance.max() > 16
    assert (attractors[natural.facts["intervening"] == 0] == 0).all()


def test_the_nearest_noun_tempts(natural, groups):
    """Right in 95 % of the natural mix, never where all nouns between are attractors.

    "of the man and the woman" is no exception: each noun counts by its own number, as in Linzen et al.'s groups,
    though the two together are plural.
    """
    # wrong: the last of n nouns is one of the k attractors, k / n of the rows (n, k)
    wrong = sum(share * k / n for (n, k), share in grammar_rules.BETWEEN.items() if n) / 100
    assert nearest_noun(natural).mean() == near(1 - wrong) and 0.94 < 1 - wrong < 0.96
    assert nearest_noun(groups[0]).all()
    assert not any(nearest_noun(group).any() for group in groups[1:])


def test_an_ending_in_s_is_no_rule(natural):
    subjects = [
        words[v - d] for words, v, d in zip(natural.words, natural.verb, natural.facts["distance"], strict=True)
    ]
    ends_in_s = np.array([word.endswith("s") for word in subjects])
    assert 0.1 < ends_in_s[~natural.plural].mean() < 0.3 and 0.1 < (~ends_in_s)[natural.plural].mean() < 0.3


def test_words_have_a_long_tail(natural):
    counts = Counter(word for words in natural.words for word in words)
    pairs = grammar_words.pairs(grammar_words.PEOPLE + grammar_words.THINGS)
    nouns = sorted((counts[one] + counts[many] for one, many in pairs), reverse=True)
    assert nouns[0] > 20 * nouns[-1] > 0
    assert set(counts) <= {*KIND, ",", ".", "and", "but"}
    assert len(counts) > 0.97 * len(KIND)


# --- splits


def test_splits_have_the_sizes_and_groups_asked_for(corpus):
    sizes = {name: len(part) for name, part in corpus.items()}
    groups = {f"attractors-{k}": 20 for k in range(1, 6)}
    assert sizes == {"train": 1_500, "validation": 60, "test": 600, **groups}
    for k in range(1, 6):
        group = corpus[f"attractors-{k}"]
        assert (group.facts["attractors"] == k).all() and (group.facts["intervening"] == k).all()
    for name, part in corpus.items():
        assert part.origin == f"generated sentences, {name}, seed 'corpus'"


def test_no_prefix_of_another_split_is_trained_on(corpus):
    trained = prefixes(corpus["train"]) | prefixes(grammar.splits(1_500, 10, 1, "another seed")["train"])
    for name, part in corpus.items():
        assert name == "train" or not trained & prefixes(part)


def test_the_test_split_keeps_the_natural_mix(corpus):
    """Short prefixes, which repeat most, are not the ones that go."""
    for name in ("train", "test"):
        distance = corpus[name].facts["distance"]
        assert (distance == 1).mean() == pytest.approx(0.66, abs=4 * (0.66 * 0.34 / len(distance)) ** 0.5)


def test_a_split_does_not_depend_on_the_size_of_another(corpus):
    larger = grammar.splits(train=1_600, test=600, per_group=1, seed="corpus")
    assert fingerprint(larger["test"]) == fingerprint(corpus["test"])
    assert fingerprint(larger["train"].rows(np.arange(1_500))) == fingerprint(corpus["train"])


def test_the_same_on_every_machine():
    """Pins the bytes, so that corpora made elsewhere are the same; whether they are right is tested above."""
    assert fingerprint(grammar.generate(2_000, "pinned")) == "e31a76972316034a"
    assert fingerprint(grammar.generate(2_000, "pinned", 3)) == "a377475a4477b15d"
    assert fingerprint(grammar.generate(2_000, "other")) != fingerprint(grammar.generate(2_000, "pinned"))


# --- bad input


@pytest.mark.parametrize("attractors", [-1, 6])
def test_an_unknown_group_is_named(attractors):
    with pytest.raises(InputError, match=f"^attractors {attractors}; the choices are None and 0 to 5$"):
        grammar.generate(1, "x", attractors)


def test_sizes_that_are_too_small_are_named():
    with pytest.raises(InputError, match="^count 0; it must be at least 1$"):
        grammar.generate(0, "x")
    for sizes, message in (((0, 10, 1), "train 0"), ((1, 9, 1), "test 9; .* 10"), ((1, 10, 0), "per_group 0")):
        with pytest.raises(InputError, match=message):
            grammar.splits(*sizes, "x")
