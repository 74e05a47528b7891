"""Subject-verb agreement: what both tasks on it share, from sentences to test sets and groups.

    the keys to the cabinet [are]     plural, though the nearest noun is singular: one attractor

The right bias is that a verb agrees with the head of its subject, wherever that stands; the tempting one is that it
agrees with the noun before it, which is right for some 95 of 100 sentences.

Three sources of data:
    grammar  the embedded generated corpus
    wiki     real sentences of Linzen, Dupoux & Goldberg 2016: trained on 50,000, tested on what stands in SETS
    full     the authors' whole table, with the paper's splits (paper-facts F3.1, T16)
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from distillbias.data import agreement, grammar
from distillbias.data.sentences import FACTS, UNKNOWN, Sentences, fingerprint
from distillbias.data.vocabulary import Vocabulary, build_vocabulary
from distillbias.errors import InputError
from distillbias.tasks.task import ADDED, Examples, Outside, check_share

Source = Literal["grammar", "wiki", "full"]
NATURAL = "natural"  # the natural mix of attractors
NEEDED = ("wiki-train", "wiki-dev", "wiki-test", "numpred-val", *(f"numpred-{k}" for k in range(1, 6)))
PAIRS = ("blimp", "marvin-linzen", "lakretz")  # sets of minimal pairs, one test set for each construction
OPTIONAL = ("gulordava", "ud-ewt", "ud-craft", "ud-partut", "ud-lines", "ud-pud", *PAIRS)
DISTANCES = range(1, 17)  # F7.3
ATTRACTORS = range(5)
MOST_INTERVENING = 4
KNOWN_SHARE = 0.5  # of the words of a file from outside, for a model to be asked about it
GRAMMAR_TRAIN, GRAMMAR_TEST, GRAMMAR_GROUP = 8_000, 4_000, 500


class Group(NamedTuple):
    """The rows of a test set where a column has this value."""

    test: str
    column: str
    value: int


class Sets(NamedTuple):
    train: Sentences
    validation: Sentences
    tests: dict[str, Sentences]


@dataclass(frozen=True)
class Agreement:
    """The data of a task on agreement.

    `words` bounds the vocabulary, which is built from the training sentences (T3); the paper's has 10,034. `most`
    keeps a fixed sample of at most so many examples of each test set, 0 all of them. `joined` are further sets to
    train on, by the names of SETS; they are not tested on then. `share` of the training sentences are used, the same
    ones for all trials; vocabulary and test sets stay those of all.
    """

    source: Source = "wiki"
    words: int = 10_034
    most: int = 0
    joined: tuple[str, ...] = ()
    share: float = field(default=1.0, metadata=ADDED)

    def __post_init__(self) -> None:
        check_share(self.share)

    @property
    def headline(self) -> dict[str, str]:
        """The test set of micro accuracy; for the real sentences `numpred-val` is the natural mix of the paper's test
        set, while `wiki` is the only one with distances."""
        return {"wiki": {"natural": "numpred-val", "wiki": "wiki"}}.get(self.source, {"natural": NATURAL})

    @property
    def path(self) -> None:
        """No training paths in this case of the paper."""
        return None

    @property
    def by_distance(self) -> dict[int, Group]:
        """D-accuracy is the mean over these (F7.3)."""
        test = "wiki" if self.source == "wiki" else NATURAL
        return {distance: Group(test, "near", distance) for distance in DISTANCES}

    @property
    def by_attractors(self) -> dict[int, Group]:
        """A-accuracy is the mean over these: every noun between subject and verb is an attractor (F7.3).

        Of the real sentences the prefix-only sets know 1 to 5; group 0 is the rows of wiki-test at distance 1, where
        no word at all stands between.
        """
        if self.source == "wiki":
            return {0: Group("wiki", "near", 1)} | {k: Group(f"numpred-{k}", "homogeneous", k) for k in ATTRACTORS[1:]}
        if self.source == "grammar":
            groups = {k: Group(f"attractors-{k}", "homogeneous", k) for k in ATTRACTORS[1:]}
            return {0: Group(NATURAL, "homogeneous", 0)} | groups
        return {k: Group(NATURAL, "homogeneous", k) for k in ATTRACTORS}

    def sets(self, home: Path) -> Sets:
        """The sentences as they come."""
        return {"grammar": _grammar, "wiki": _wiki, "full": _full}[self.source](home, self.joined)

    def kept(self, sets: Sets) -> tuple[Vocabulary, Sets]:
        """The vocabulary, and the sets without what must not be tested on: prefixes seen in training, and verbs that
        are not in the vocabulary, nor their other number (T4). Origins say how many."""
        vocabulary = build_vocabulary(sets.train.words, self.words)
        seen = {tuple(sets.train.prefix(row)) for row in range(len(sets.train))}
        clean = {name: self._sampled(name, _clean(rows, seen, vocabulary)) for name, rows in sets.tests.items()}
        used = self._share(sets.train)
        train = self._sampled("train", used, most=10_000)
        tests = {name: rows for name, rows in clean.items() if len(rows)}
        return vocabulary, Sets(used, _clean(sets.validation, seen, vocabulary), tests | {"train": train})

    def _share(self, rows: Sentences) -> Sentences:
        """The first of a fixed shuffle, in the order of the file."""
        if self.share == 1:
            return rows
        chosen = np.random.default_rng(0).permutation(len(rows))[: round(self.share * len(rows))]
        return _named(rows.rows(np.sort(chosen)), f"{self.share:.0%} of {len(rows):,}")

    def _sampled(self, name: str, rows: Sentences, most: int = 0) -> Sentences:
        """A fixed sample, in the order of the file."""
        most = most or self.most
        if not most or len(rows) <= most:
            return rows
        seed = [ord(letter) for letter in name]
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
        return _named(rows.rows(chosen), f"a fixed sample of {most:,} of {len(rows):,}")


def facts(rows: Sentences) -> dict[str, np.ndarray]:
    """The columns of examples: FACTS, and what the groups of F7.3 are cut by.

    near          distance, where at most 4 nouns intervene as far as is known; else -1
    homogeneous   attractors, where every intervening noun is one; else -1
    """
    distance, intervening, attractors = (rows.facts[name].astype(np.int32) for name in FACTS)
    return {
        **dict(zip(FACTS, (distance, intervening, attractors), strict=True)),
        "near": np.where(intervening <= MOST_INTERVENING, distance, UNKNOWN).astype(np.int32),
        "homogeneous": np.where(intervening == attractors, attractors, UNKNOWN).astype(np.int32),
    }


def examples(rows: Sentences, inputs: np.ndarray, **columns: np.ndarray) -> Examples:
    """Label 0 is singular (VBZ), 1 plural (VBP)."""
    known = facts(rows) | columns
    labels = rows.plural.astype(np.int64)
    return Examples(inputs, labels, np.arange(len(rows)), rows.origin, fingerprint(rows), columns=known)


def outside(
    path: Path, words: tuple[str, ...], skip_bad: bool, encoded: Callable[[Sentences, Vocabulary], Examples]
) -> Outside:
    """Every slice of a file or folder of agreement data, for a model whose vocabulary is `words`."""
    vocabulary = Vocabulary(words)
    found = (agreement.read_folder if path.is_dir() else agreement.read)(path, skip_bad)
    for name, rows in found.items():
        heard = [word in vocabulary for words in rows.words for word in words]
        if not heard or np.mean(heard) < KNOWN_SHARE:
            share = f"{np.mean(heard):.0%}" if heard else "none"
            raise InputError(
                f"{share} of the words of {name} are in the model's vocabulary of {len(vocabulary):,}; at least "
                f"{KNOWN_SHARE:.0%} must be, or its answers mean nothing"
            )
    skipped = tuple(dict.fromkeys(line for rows in found.values() for line in rows.skipped))
    return Outside({name: encoded(rows, vocabulary) for name, rows in found.items()}, skipped)


def _clean(rows: Sentences, seen: set[tuple[str, ...]], vocabulary: Vocabulary) -> Sentences:
    new = np.array([tuple(rows.prefix(row)) not in seen for row in range(len(rows))], bool)
    said = np.array([_sayable(rows, row, vocabulary) for row in range(len(rows))], bool)
    chosen = np.flatnonzero(new & said)
    left_out = f"{np.sum(~new):,} prefixes seen in training and {np.sum(new & ~said):,} verbs outside the vocabulary"
    return _named(rows.rows(chosen), f"{left_out} left out")


def _sayable(rows: Sentences, row: int, vocabulary: Vocabulary) -> bool:
    """Both forms of the verb are words of the vocabulary, as far as they are known."""
    return all(form in vocabulary for form in (rows.right[row], rows.wrong[row]) if form)


def _named(rows: Sentences, what: str) -> Sentences:
    return replace(rows, origin=f"{rows.origin}; {what}")


def _grammar(home: Path, joined: tuple[str, ...]) -> Sets:
    splits = dict(grammar.splits(GRAMMAR_TRAIN, GRAMMAR_TEST, GRAMMAR_GROUP, seed="agreement"))
    train, validation = splits.pop("train"), splits.pop("validation")
    return Sets(train, validation, {NATURAL: splits.pop("test"), **splits})


def _wiki(home: Path, joined: tuple[str, ...]) -> Sets:
    here = [name for name in OPTIONAL if name in agreement.available(home)]
    loaded: dict[str, Sentences] = {}
    for name in (*NEEDED, *here):
        loaded |= agreement.load_set(name, home)
    train, validation = loaded.pop("wiki-train"), loaded.pop("wiki-dev")
    unknown = [name for name in joined if name not in loaded]
    if unknown:
        raise InputError(f"cannot train on {unknown[0]!r}; the sets here are {', '.join(loaded)}")
    train = _together([train, *(loaded.pop(name) for name in joined)])
    return Sets(train, validation, {"wiki": loaded.pop("wiki-test"), **loaded})


def _together(parts: list[Sentences]) -> Sentences:
    return Sentences(
        [words for part in parts for words in part.words],
        np.concatenate([part.verb for part in parts]),
        np.concatenate([part.plural for part in parts]),
        [form for part in parts for form in part.right],
        [form for part in parts for form in part.wrong],
        {name: np.concatenate([part.facts[name] for part in parts]) for name in FACTS},
        " and ".join(part.origin for part in parts),
    )


def _full(home: Path, joined: tuple[str, ...]) -> Sets:
    """The authors' split: NumPy's legacy generator with seed 42 shuffles the rows in file order; 10 % are for
    training, 1 % for validation, the rest for testing (F3.1)."""
    table = next(iter(agreement.load_set("full", home).values()))
    order = list(range(len(table)))
    np.random.RandomState(42).shuffle(order)
    ends = int(0.1 * len(order)), int(0.1 * len(order)) + int(0.01 * len(order))
    train, validation, test = (
        np.array(part) for part in (order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :])
    )
    return Sets(table.rows(train), table.rows(validation), {NATURAL: table.rows(test)})
