"""Agreement in a language model: each word of a sentence -> the next word (paper-facts F3.1, F7.2).

    <bos> the keys to the cabinet are here <eos>     right if `are` is more likely than `is` after `cabinet`

Whole sentences are learned from, the words after the verb too, and so are the tags that stand for rare words (T26).
Sources that stop before the verb stop without an `<eos>`: nothing is asked of the model where they end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distillbias.data import cache
from distillbias.data.agreement_forms import verb_pairs
from distillbias.data.grammar import VERBS
from distillbias.data.sentences import UNKNOWN, Sentences
from distillbias.data.vocabulary import END, SPECIALS, Vocabulary
from distillbias.tasks.agreement import Agreement, examples, outside
from distillbias.tasks.task import Examples, Outside, Spec, Splits

Pairs = Mapping[str, str]  # {singular form: plural form}


@dataclass(frozen=True, eq=False, kw_only=True)
class NextWordExamples(Examples):
    """Sentences for a language model. The targets are the words themselves; labels are the numbers of the verbs.

    Columns, beside what `tasks.agreement.facts` has:
    position           of the state that predicts the verb: where the word before the verb stands in the row
    singular, plural   ids of the verb's two forms, both -1 where one is not told or not in the vocabulary
    Where they are -1 the forms of all verbs decide together: `forms` has their ids, one column for each verb.
    """

    forms: np.ndarray  # [2, verbs] int64: singular, plural


@dataclass(frozen=True)
class AgreementLM(Agreement):
    """Each word of a sentence -> the next; scored by which form of the verb is the more likely."""

    @property
    def name(self) -> str:
        return f"agreement-lm-{self.source}"

    @property
    def spec(self) -> Spec:
        return Spec(shape=(), classes=self.words, vocabulary=self.words)

    def load(self, data: Path | None) -> Splits:
        vocabulary, sets = self.kept(self.sets(cache.home(data)))
        pairs = verb_pairs([sets.train])
        return Splits(
            train=encoded(sets.train, vocabulary, pairs),
            validation=encoded(sets.validation, vocabulary, pairs),
            tests={name: encoded(rows, vocabulary, pairs) for name, rows in sets.tests.items()},
            vocabulary=vocabulary.words,
        )

    def read(self, path: Path, vocabulary: tuple[str, ...], skip_bad: bool = False) -> Outside:
        """Any of `data.agreement.FORMATS`.

        Verb forms that a row does not tell are looked for among all pairs of its slice, or, if that has none, among
        the verbs of the embedded corpus.
        """
        embedded = dict(pair for verbs in VERBS.values() for pair in verbs.items)
        return outside(
            path, vocabulary, skip_bad, lambda rows, known: encoded(rows, known, verb_pairs([rows]) or embedded)
        )


def encoded(rows: Sentences, vocabulary: Vocabulary, pairs: Pairs) -> NextWordExamples:
    """`<bos>` and the words; and `<eos>`, where the row is a whole sentence."""
    whole = [len(words) > verb for words, verb in zip(rows.words, rows.verb, strict=True)]
    lines = [words + [SPECIALS[END]] * int(ended) for words, ended in zip(rows.words, whole, strict=True)]
    told = np.array([_forms(rows, row, vocabulary) for row in range(len(rows))], np.int32).reshape(-1, 2)
    plain = examples(
        rows,
        vocabulary.encode(lines, begin=True),
        position=rows.verb.astype(np.int32),  # `<bos>` is the row's 0th word
        singular=told[:, 0],
        plural=told[:, 1],
    )
    return NextWordExamples(**vars(plain), forms=known_forms(pairs, vocabulary))


def known_forms(pairs: Pairs, vocabulary: Vocabulary) -> np.ndarray:
    """[2, verbs] int64: ids of the pairs of which both forms are in the vocabulary."""
    known = [(one, many) for one, many in sorted(pairs.items()) if one in vocabulary and many in vocabulary]
    return np.array([[vocabulary.ids[form] for form in pair] for pair in known], np.int64).reshape(-1, 2).T


def _forms(rows: Sentences, row: int, vocabulary: Vocabulary) -> tuple[int, int]:
    right, wrong = (vocabulary.ids.get(form, UNKNOWN) for form in (rows.right[row], rows.wrong[row]))
    if UNKNOWN in (right, wrong):
        return UNKNOWN, UNKNOWN
    return (wrong, right) if rows.plural[row] else (right, wrong)
