"""Agreement sentences, whatever file or grammar they came from: a type that every reader returns.

    the keys to the cabinet [are]      verb at 5, plural, distance 4, 1 intervening noun, 1 attractor

Tokens are what single spaces separate, nothing else (paper-facts T2). Some sources stop before the verb; then
`verb` is the length of the row. Facts that a source does not tell are -1, never a guess.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np

UNKNOWN = -1
FACTS = ("distance", "intervening", "attractors")  # known facts of an example, in this order


@dataclass(frozen=True, eq=False)
class Sentences:
    """One row per example; rows of all members belong together.

    `right` and `wrong` are the verb form that the sentence has and the same verb in the other number, "" where
    the source does not tell. `facts` has an int32 array [n] for each of FACTS:
    distance      verb position - subject position, 1 if adjacent (paper-facts F3.1)
    intervening   nouns strictly between subject and verb
    attractors    those of them whose number differs from the subject's
    `skipped` are the rows left out as bad, one line each, when a reader was allowed to.
    """

    words: list[list[str]]
    verb: np.ndarray  # [n] int32, 0-based; len(words[i]) where the row stops before its verb
    plural: np.ndarray  # [n] bool: the verb is VBP, not VBZ
    right: list[str]
    wrong: list[str]
    facts: dict[str, np.ndarray]
    origin: str
    skipped: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.words)

    def prefix(self, row: int) -> list[str]:
        """The words before the verb."""
        return self.words[row][: self.verb[row]]

    def rows(self, rows: np.ndarray) -> "Sentences":
        """The given rows (indices), in that order."""
        return Sentences(
            [self.words[row] for row in rows],
            self.verb[rows],
            self.plural[rows],
            [self.right[row] for row in rows],
            [self.wrong[row] for row in rows],
            {name: values[rows] for name, values in self.facts.items()},
            self.origin,
            self.skipped,
        )


def fingerprint(sentences: Sentences) -> str:
    """16 hexadecimal digits that change with any word, position, number, form or fact."""
    digest = hashlib.sha256()
    for words in sentences.words:
        digest.update(" ".join(words).encode())
        digest.update(b"\n")
    for form in (*sentences.right, *sentences.wrong):
        digest.update(form.encode())
        digest.update(b"\n")
    for array in (sentences.verb, sentences.plural, *(sentences.facts[name] for name in FACTS)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
