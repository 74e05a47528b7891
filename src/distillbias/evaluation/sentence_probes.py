"""Direct probes of a classifier of agreement: which words before the verb does its answer hang on?

    occlusion   one word of a test sentence becomes `<unk>`: how much does the probability of the right number move?
    place       the keys to the cabinet near the doors of the gardens [are]: one attractor, 1, 4, 7 or 10 words before
                the verb, all other nouns of the subject's number, so that its place is all that differs
    length      more and more phrases, on beyond the longest training sentence; no noun but the subject is an attractor,
                or every one is

The sentences of the last two are "the", a noun, and phrases of a preposition, "the" and a noun; the words are those of
the embedded lexicon (`data.grammar_words`) that the model's vocabulary has, drawn alike and whatever their sense. They
are no sentences of the embedded grammar, which has no long rows without attractors to offer.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from distillbias.data.grammar_words import PEOPLE, PREPOSITIONS, THINGS, pairs
from distillbias.data.sentences import FACTS, Sentences
from distillbias.data.vocabulary import UNKNOWN_WORD, Vocabulary
from distillbias.errors import InputError
from distillbias.evaluation.metrics import accuracy, softmax
from distillbias.evaluation.predict import predict
from distillbias.tasks.agreement_classification import encoded
from distillbias.tasks.task import Examples

THE = "the"
PHRASE = 3  # words: a preposition, "the", a noun
PHRASES = 4  # of a sentence of the place probe
FEWEST_NOUNS, FEWEST_PREPOSITIONS = 10, 2  # that a vocabulary must know
SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # lengths, as shares of the longest training sentence


@dataclass(frozen=True)
class Occlusion:
    """Mean |change| of the probability of the right number, 0 to 1, when one word becomes `<unk>`.

    Item k - 1 is for the word k words before the verb, k = 1 .. reach. Sentences without such a word are left out, and
    those where it is `<unk>` already; `n` counts the others, and `change` is nan where there is none. `subject` and
    `subject_n` are the same for the subjects that stand k words before the verb; `whole_subject` is the mean over all
    subjects whose place is known, at any distance, nan if there is none.
    """

    n: np.ndarray  # [reach]
    change: np.ndarray  # [reach]
    subject_n: np.ndarray  # [reach]
    subject: np.ndarray  # [reach]
    whole_subject: float


@dataclass(frozen=True)
class PlaceProbe:
    """Accuracy, 0 to 1, where the one attractor is `places` words before the verb; `without` has none. Paired: all
    are the same `n` sentences but for the number of that noun."""

    places: np.ndarray  # [k], 1 is right before the verb
    accuracy: np.ndarray  # [k]
    without: float
    n: int


@dataclass(frozen=True)
class LengthProbe:
    """Accuracy, 0 to 1, on `n` sentences of each length, in words before the verb; `longest` of the training ones.

    `without` any attractor, and `attracted` by every noun but the subject, where the majority of nouns is wrong.
    """

    lengths: np.ndarray  # [k]
    without: np.ndarray  # [k]
    attracted: np.ndarray  # [k]
    longest: int
    n: int

    @property
    def beyond(self) -> np.ndarray:
        """[k] bool: longer than any training sentence."""
        return self.lengths > self.longest


def occlusion(model: nn.Module, examples: Examples, reach: int = 12) -> Occlusion:
    """`examples` are of the classification task: words, `<eos>` where the verb was, 0s; the subject's place is taken
    from the column "distance"."""
    words = (examples.inputs != 0).sum(1) - 1
    before = _right(model, examples, examples.inputs, np.arange(len(examples)))
    n, change = np.zeros(reach, int), np.full(reach, np.nan)
    for k in range(1, reach + 1):
        moved = _moved(model, examples, words, np.full(len(examples), k), before)
        n[k - 1] = len(moved)
        change[k - 1] = _mean(moved)
    distance = examples.columns.get("distance", np.full(len(examples), -1))
    known = np.flatnonzero(_there(examples, words, distance))
    of_subject = _moved(model, examples, words, distance, before)
    by_distance = [of_subject[distance[known] == k] for k in range(1, reach + 1)]
    subject_n = np.array([len(values) for values in by_distance], int)
    subject = np.array([_mean(values) for values in by_distance], float)
    return Occlusion(n, change, subject_n, subject, _mean(of_subject))


def place_probe(model: nn.Module, vocabulary: Vocabulary, count: int = 400, seed: int = 0) -> PlaceProbe:
    """Accuracy by the place of the one attractor among PHRASES phrases; see `phrased` for what is raised."""

    def score(attractors: Collection[int]) -> float:
        return _accuracy(model, vocabulary, phrased(vocabulary, PHRASES, attractors, count, seed))

    scores = [score([after]) for after in range(PHRASES)]
    return PlaceProbe(1 + PHRASE * np.arange(PHRASES), np.array(scores, float), score([]), count)


def length_probe(
    model: nn.Module, vocabulary: Vocabulary, longest: int, count: int = 400, seed: int = 0
) -> LengthProbe:
    """Accuracy at SHARES of `longest`, the words before the verb of the longest training sentence; see `phrased`."""

    def score(each: int, attractors: Collection[int]) -> float:
        return _accuracy(model, vocabulary, phrased(vocabulary, each, attractors, count, seed))

    phrases = phrase_counts(longest)
    without = [score(each, []) for each in phrases]
    attracted = [score(each, range(each)) for each in phrases]
    lengths = 2 + PHRASE * np.array(phrases, int)
    return LengthProbe(lengths, np.array(without, float), np.array(attracted, float), longest, count)


def phrase_counts(longest: int) -> list[int]:
    """How many phrases give the lengths at SHARES of `longest`, rising: not above it up to 1, above it beyond."""
    exact = [(share, (share * longest - 2) / PHRASE) for share in SHARES]
    return sorted({max(1, int(np.floor(count) if share <= 1 else np.floor(count) + 1)) for share, count in exact})


def sayable(vocabulary: Vocabulary) -> bool:
    """Whether the vocabulary has the words that `phrased` needs."""
    nouns, prepositions = _known(vocabulary)
    return THE in vocabulary and len(nouns) >= FEWEST_NOUNS and len(prepositions) >= FEWEST_PREPOSITIONS


def phrased(vocabulary: Vocabulary, phrases: int, attractors: Collection[int], count: int, seed: int) -> Sentences:
    """`count` sentences with `phrases` phrases between subject and verb; they stop before the verb.

    Subjects are singular in even rows and plural in odd ones. The nouns of the phrases `attractors`, counted from the
    verb (0 is the last), have the other number, all others the subject's. The other arguments being equal, sentences
    differ in the numbers of those nouns alone.

    Raises:
        InputError: too few known words, or no such phrase.
    """
    nouns, prepositions = _known(vocabulary)
    if not sayable(vocabulary):
        raise InputError(
            f"the vocabulary has {len(nouns)} nouns in both numbers and {len(prepositions)} prepositions of the "
            f"lexicon; {FEWEST_NOUNS} and {FEWEST_PREPOSITIONS}, and {THE!r}, are needed"
        )
    wrong = [each for each in attractors if not 0 <= each < phrases]
    if wrong:
        raise InputError(f"attractor in phrase {wrong[0]}; the choices are 0 to {phrases - 1}")
    random = np.random.default_rng(seed)
    chosen = random.integers(len(nouns), size=(count, phrases + 1))
    linked = random.integers(len(prepositions), size=(count, phrases))
    plural = np.arange(count) % 2 == 1
    numbers = np.repeat(plural[:, None], phrases + 1, 1)
    numbers[:, [phrases - each for each in attractors]] ^= True
    rows = []
    for row in range(count):
        forms = [nouns[noun][number] for noun, number in zip(chosen[row], numbers[row].astype(int), strict=True)]
        links = [prepositions[link] for link in linked[row]]
        later = (word for link, form in zip(links, forms[1:], strict=True) for word in (link, THE, form))
        rows.append([THE, forms[0], *later])
    length = 2 + PHRASE * phrases
    facts = (length - 1, phrases, len(attractors))
    return Sentences(
        rows,
        np.full(count, length, np.int32),
        plural,
        [""] * count,
        [""] * count,
        {name: np.full(count, value, np.int32) for name, value in zip(FACTS, facts, strict=True)},
        f"made of {phrases} phrases, attractors {list(attractors)}, seed {seed}",
    )


def _known(vocabulary: Vocabulary) -> tuple[list[tuple[str, str]], list[str]]:
    """(singular, plural) of the nouns, and the prepositions, that the vocabulary has."""
    nouns = [pair for pair in (*pairs(THINGS), *pairs(PEOPLE)) if all(form in vocabulary for form in pair)]
    return nouns, [word for word in PREPOSITIONS.split() if word in vocabulary]


def _accuracy(model: nn.Module, vocabulary: Vocabulary, rows: Sentences) -> float:
    examples = encoded(rows, vocabulary)
    return accuracy(predict(model, examples, batch=100)[0], examples.labels)


def _there(examples: Examples, words: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """[n] bool: the sentence has a word at this distance, and it is not `<unk>`."""
    inside = (distance >= 1) & (distance <= words)
    place = np.where(inside, words - distance, 0)
    return inside & (examples.inputs[np.arange(len(examples)), place] != UNKNOWN_WORD)


def _moved(
    model: nn.Module, examples: Examples, words: np.ndarray, distance: np.ndarray, before: np.ndarray
) -> np.ndarray:
    """|change| for each sentence that has a word at its `distance`, in the order of `examples`."""
    rows = np.flatnonzero(_there(examples, words, distance))
    if not len(rows):
        return np.empty(0)
    inputs = examples.inputs.copy()
    inputs[rows, words[rows] - distance[rows]] = UNKNOWN_WORD
    return np.abs(_right(model, examples, inputs, rows) - before[rows])


def _right(model: nn.Module, examples: Examples, inputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Probability of the right number in `rows`."""
    asked = Examples(inputs[rows], examples.labels[rows], rows, "a probe", "")
    return softmax(predict(model, asked)[0])[np.arange(len(rows)), asked.labels]


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
