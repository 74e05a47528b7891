"""The embedded agreement corpus: English sentences written by a small grammar, with every fact known exactly.

    however , the keys that cover the cabinet of anna [need] a door .     verb at 10, plural, distance 7, 1 attractor

`grammar_rules.py` is the grammar, `grammar_words.py` has the words. Words of a kind are drawn by Zipf's law and
whatever their sense, so meaning does not tell the number (as in the nonce sentences of Gulordava et al. 2018).
Attractors are as rare as in real text: the number of the nearest noun is the right answer in about 95 % of the natural
mix, and in no row whose intervening nouns are all attractors. All is lower case; names are not counted as intervening
nouns (paper-facts F3.1).
"""

import hashlib
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, chain, islice
from math import fsum
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

import numpy as np

from distillbias.data import grammar_rules as rules
from distillbias.data import grammar_words as lexicon
from distillbias.data.sentences import Sentences
from distillbias.errors import InputError

T = TypeVar("T")

Rule = tuple[str, ...]
MOST_ATTRACTORS = 5
HELD_OUT = 5  # one prefix in five is kept out of training
BLOCK = 1 << 14  # numbers drawn at once


class Choice(NamedTuple):
    """Weighted items: `reach[i]` is the share of the items up to and with the i-th."""

    reach: list[float]
    items: list


def weighted(weights: Mapping[T, int | float]) -> Choice:
    total = fsum(weights.values())  # sum() rounds differently before Python 3.12
    return Choice(list(accumulate(weight / total for weight in weights.values())), list(weights))


def zipf(items: Iterable[T]) -> Choice:
    """The i-th item, from 0, has weight 1 / (i + 3): Zipf's law as corrected by Mandelbrot."""
    return weighted({item: 1 / (rank + 3) for rank, item in enumerate(items)})


def compiled(table: Mapping[str, int | float]) -> Choice:
    return weighted({tuple(rule.split()): weight for rule, weight in table.items()})


def without_relatives(table: Mapping[str, int | float]) -> Choice:
    return compiled({rule: weight for rule, weight in table.items() if not rule.startswith("REL")})


WORDS = {
    "ADJECTIVE": zipf(lexicon.ADJECTIVES.split()),
    "PREPOSITION": zipf(lexicon.PREPOSITIONS.split()),
    "PLACE": zipf(lexicon.PLACES.split()),
    "ADVERB": zipf(lexicon.ADVERBS.split()),
    "MANNER": zipf(lexicon.MANNERS.split()),
    "OPENER": zipf(lexicon.OPENERS.split()),
    "CONJUNCTION": zipf(lexicon.CONJUNCTIONS.split()),
}
NAMES = zipf(lexicon.NAMES.split())
VERBS = {
    "VT": zipf(lexicon.verb_pairs(lexicon.TRANSITIVE)),
    "VI": zipf(lexicon.verb_pairs(lexicon.INTRANSITIVE)),
    "REPORT": zipf(lexicon.verb_pairs(lexicon.REPORT)),
    "BE": zipf(lexicon.verb_pairs(lexicon.BE)),
    "HAVE": zipf(lexicon.verb_pairs(lexicon.HAVE)),
}
NOUNS = {False: zipf(lexicon.pairs(lexicon.THINGS)), True: zipf(lexicon.pairs(lexicon.PEOPLE))}
DETERMINERS = {False: weighted(lexicon.SINGULAR_DETERMINERS), True: weighted(lexicon.PLURAL_DETERMINERS)}
RELATIVE = {person: weighted(words) for person, words in rules.RELATIVES.items()}
ADJECTIVE_COUNT = weighted(rules.ADJECTIVES)
BETWEEN = weighted(rules.BETWEEN)
BEFORE, PREDICATE, AFTER = compiled(rules.BEFORE), compiled(rules.PREDICATE), compiled(rules.AFTER)
MODIFIERS = {  # by "inside that NP VT"
    False: [compiled(table) for table in rules.MODIFIERS],
    True: [without_relatives(table) for table in rules.MODIFIERS],
}
OTHER_FORM = {form: other for verbs in VERBS.values() for pair in verbs.items for form, other in (pair, reversed(pair))}


class Row(NamedTuple):
    """One sentence and its facts, as in `Sentences`."""

    words: list[str]
    verb: int
    plural: bool
    distance: int
    intervening: int
    attractors: int


class Writer:
    """Writes sentences; every choice takes the next number, uniform on [0, 1), of `draw`."""

    def __init__(self, draw: Callable[[], float]):
        self.draw = draw
        self.words: list[str] = []
        self.planned: list[bool] = []  # plural or not, of the nouns still to come before the verb, last one first

    def sentence(self, attractors: int | None) -> Row:
        """The next sentence, of the natural mix, or with `attractors` intervening nouns that are all attractors."""
        self.words = []
        if attractors is None:
            plural = self.happens(100 - rules.SINGULAR)
            between, different = self.choose(BETWEEN)
        else:
            plural = self.happens(50)
            between = different = attractors
        numbers = self.shuffled([not plural] * different + [plural] * (between - different))
        self.expand(self.choose(BEFORE))
        person = self.noun(plural)
        subject = len(self.words) - 1
        self.planned = numbers
        self.hang(plural, person, between)
        if self.happens(rules.ADVERB_BEFORE_VERB):
            self.words.append(self.choose(WORDS["ADVERB"]))
        verb = len(self.words)
        self.expand(self.choose(PREDICATE), plural)
        self.expand(self.choose(AFTER))
        self.words.append(".")
        return Row(self.words, verb, plural, verb - subject, between, different)

    def expand(
        self, rule: Rule, plural: bool = False, person: bool = False, extra: int = 0, flat: bool = False
    ) -> None:
        """Write `rule`.

        Args:
            plural, person: number and kind of the noun that the rule hangs on, where there is one.
            extra: how many nouns come below the rule's last NP or BOTH, beyond its own.
            flat: inside "that NP VT".
        """
        flat = flat or (rule[:1] == ("REL",) and rule[-1] == "VT")
        for symbol in rule:
            if symbol in WORDS:
                self.words.append(self.choose(WORDS[symbol]))
            elif symbol in VERBS:
                self.words.append(self.choose(VERBS[symbol])[plural])
            elif symbol == "NP":
                plural = self.noun_phrase(extra, flat)
            elif symbol == "PERSON":
                plural = self.noun_phrase(extra, flat, person=True)
            elif symbol == "BOTH":
                self.noun(self.number())
                self.words.append("and")
                self.noun_phrase(extra, flat)
                plural = True
            elif symbol == "NAME":
                self.words.append(self.choose(NAMES))
                plural = False
            elif symbol == "REL":
                self.words.append(self.choose(RELATIVE[person]))
            else:
                self.words.append(symbol)

    def noun_phrase(self, extra: int, flat: bool, person: bool = False) -> bool:
        """A noun and what hangs on it; True if it is plural."""
        plural = self.number()
        self.hang(plural, self.noun(plural, person), extra, flat)
        return plural

    def hang(self, plural: bool, person: bool, nouns: int, flat: bool = False) -> None:
        """What hangs on the noun just written, with exactly `nouns` more nouns in it."""
        rule = self.choose(MODIFIERS[flat][min(nouns, 2)])
        own = rule.count("NP") + 2 * rule.count("BOTH")
        self.expand(rule, plural, person, nouns - own, flat)

    def noun(self, plural: bool, person: bool = False) -> bool:
        """Determiner, adjectives and noun; True if it is a person."""
        start = len(self.words)
        person = person or self.happens(rules.PERSONS)
        determiner = self.choose(DETERMINERS[plural])
        if determiner:
            self.words.append(determiner)
        for _ in range(self.choose(ADJECTIVE_COUNT)):
            adjective = self.choose(WORDS["ADJECTIVE"])
            if self.words[-1:] != [adjective]:
                self.words.append(adjective)
        self.words.append(self.choose(NOUNS[person])[plural])
        if determiner == "a" and self.words[start + 1][0] in "aeiou":
            self.words[start] = "an"
        return person

    def number(self) -> bool:
        """True for plural: as planned before the verb, otherwise drawn."""
        return self.planned.pop() if self.planned else self.happens(100 - rules.SINGULAR)

    def shuffled(self, items: list[bool]) -> list[bool]:
        for last in range(len(items) - 1, 0, -1):
            other = int(self.draw() * (last + 1))
            items[last], items[other] = items[other], items[last]
        return items

    def happens(self, percent: int | float) -> bool:
        return 100 * self.draw() < percent

    def choose(self, choice: Choice) -> Any:
        return choice.items[bisect(choice.reach, self.draw(), 0, len(choice.items) - 1)]


def generate(count: int, seed: str, attractors: int | None = None) -> Sentences:
    """`count` sentences: the natural mix, or a controlled group.

    The same on every machine; a longer draw begins with the shorter one. Rows may repeat, as short sentences do.

    Args:
        count: at least 1.
        seed: any text.
        attractors: None for the natural mix; k, 0..5, for sentences with exactly k nouns between subject and verb, all
            of them of the other number (as numpred.test.k of Linzen et al. 2016), half of them with a singular subject.

    Raises:
        InputError: count or attractors out of range.
    """
    check_at_least("count", count, 1)
    if attractors is not None and not 0 <= attractors <= MOST_ATTRACTORS:
        raise InputError(f"attractors {attractors}; the choices are None and 0 to {MOST_ATTRACTORS}")
    group = "" if attractors is None else f", {attractors} attractors"
    return collected(islice(rows(seed, attractors), count), f"generated sentences{group}, seed {seed!r}")


def splits(train: int, test: int, per_group: int, seed: str) -> dict[str, Sentences]:
    """The corpus: "train", "validation" (a tenth of `test`), "test", and "attractors-1" to "attractors-5".

    The first three are the natural mix, the others are controlled groups of `per_group` rows. No prefix (the words
    before the verb) of another split is in "train", whatever the sizes and seeds: one prefix in five, by its checksum,
    is never trained on, and the other splits have no other prefixes. So each split stays the same when another one
    grows, and its rates are those of the mix, short prefixes included.

    Raises:
        InputError: fewer than 1 train row, 10 test rows or 1 row a group.
    """
    for name, count, least in (("train", train, 1), ("test", test, 10), ("per_group", per_group, 1)):
        check_at_least(name, count, least)
    sizes: dict[str, tuple[int, int | None]] = {
        "train": (train, None),
        "validation": (test // 10, None),
        "test": (test, None),
        **{f"attractors-{k}": (per_group, k) for k in range(1, MOST_ATTRACTORS + 1)},
    }
    corpus = {}
    for name, (count, attractors) in sizes.items():
        stream = rows(f"{seed}/{name}", attractors)
        chosen = (row for row in stream if is_held_out(row) == (name != "train"))
        corpus[name] = collected(islice(chosen, count), f"generated sentences, {name}, seed {seed!r}")
    return corpus


def rows(seed: str, attractors: int | None) -> Iterator[Row]:
    """Sentences without end; each pair of arguments has its own random stream."""
    writer = Writer(chain.from_iterable(uniform_blocks(repr((seed, attractors)))).__next__)
    while True:
        yield writer.sentence(attractors)


def uniform_blocks(seed: str) -> Iterator[list[float]]:
    """Numbers of 53 bits, uniform on [0, 1), in blocks."""
    generator = np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big"))
    while True:
        # Raw words, because NumPy promises the stream of a bit generator for ever, and of Generator's methods not.
        yield ((generator.random_raw(BLOCK) >> np.uint64(11)) * 2.0**-53).tolist()


def is_held_out(row: Row) -> bool:
    """True for one prefix in five: kept out of training."""
    return crc32(" ".join(row.words[: row.verb]).encode()) % HELD_OUT == 0


def collected(chosen: Iterable[Row], origin: str) -> Sentences:
    words, verb, plural, distance, intervening, attractors = zip(*chosen, strict=True)
    right = [sentence[position] for sentence, position in zip(words, verb, strict=True)]
    return Sentences(
        words=list(words),
        verb=np.array(verb, np.int32),
        plural=np.array(plural, bool),
        right=right,
        wrong=[OTHER_FORM[form] for form in right],
        facts={
            "distance": np.array(distance, np.int32),
            "intervening": np.array(intervening, np.int32),
            "attractors": np.array(attractors, np.int32),
        },
        origin=origin,
    )


def check_at_least(name: str, count: int, least: int) -> None:
    if count < least:
        raise InputError(f"{name} {count}; it must be at least {least}")
