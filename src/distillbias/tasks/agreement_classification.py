"""Agreement as classification: the words before a verb -> its number (paper-facts F3.1).

    the keys to the cabinet <eos>     -> 1 (plural)

`<eos>` stands where the verb was; the verb and what follows are never seen.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distillbias.data import cache
from distillbias.data.sentences import Sentences
from distillbias.data.vocabulary import Vocabulary
from distillbias.tasks.agreement import PAIRS, Agreement, examples, outside
from distillbias.tasks.task import Examples, Outside, Spec, Splits


@dataclass(frozen=True)
class AgreementClassification(Agreement):
    """The words before a verb -> singular or plural."""

    @property
    def name(self) -> str:
        return f"agreement-{self.source}"

    @property
    def spec(self) -> Spec:
        return Spec(shape=(), classes=2, vocabulary=self.words)

    def load(self, data: Path | None) -> Splits:
        vocabulary, sets = self.kept(self.sets(cache.home(data)))
        return Splits(
            train=encoded(sets.train, vocabulary),
            validation=encoded(sets.validation, vocabulary),
            tests={name: encoded(once(name, rows), vocabulary) for name, rows in sets.tests.items()},
            vocabulary=vocabulary.words,
        )

    def read(self, path: Path, vocabulary: tuple[str, ...], skip_bad: bool = False) -> Outside:
        """Any of `data.agreement.FORMATS`; every row counts, whether its prefix was seen in training or not."""
        return outside(path, vocabulary, skip_bad, encoded)


def encoded(rows: Sentences, vocabulary: Vocabulary) -> Examples:
    return examples(rows, vocabulary.encode([rows.prefix(row) for row in range(len(rows))], end=True))


def once(name: str, rows: Sentences) -> Sentences:
    """Of minimal pairs, each prefix once: the pairs repeat it with every verb. Other sets as they are."""
    if not name.startswith(PAIRS):
        return rows
    first: dict[tuple[str, ...], int] = {}
    for row in range(len(rows)):
        first.setdefault((*rows.prefix(row), str(rows.plural[row])), row)
    return rows.rows(np.array(sorted(first.values())))
