"""Words to ids and back."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from distillbias.data.records import read_json
from distillbias.errors import InputError

MOST_CELLS = 2**28  # of an encoded matrix: 1 GiB

SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
PAD, UNKNOWN_WORD, BEGIN, END = range(4)


class Vocabulary:
    """`words[id]` is the word of an id; the first four are SPECIALS. A word that is not there is `<unk>`."""

    def __init__(self, words: Sequence[str]):
        if tuple(words[: len(SPECIALS)]) != SPECIALS:
            raise InputError(f"a vocabulary begins with {' '.join(SPECIALS)}; this one with {' '.join(words[:4])}")
        self.words = tuple(words)
        self.ids = {word: index for index, word in enumerate(self.words)}
        # the text of a row may hold the word <pad>, but its id ends a row
        self._in_text = self.ids | {SPECIALS[PAD]: UNKNOWN_WORD}
        if len(self.ids) != len(self.words):
            raise InputError(f"{len(self.words) - len(self.ids)} words are twice in the vocabulary")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.ids

    def encode(self, rows: Sequence[Sequence[str]], begin: bool = False, end: bool = False) -> np.ndarray:
        """[n, longest] int32, one row each, 0 after its end; `<bos>` before and `<eos>` behind where asked for."""
        before, behind = [BEGIN] * begin, [END] * end
        lengths = np.array([len(row) for row in rows], np.int64) + begin + end
        if len(rows) * int(lengths.max(initial=0)) > MOST_CELLS:
            raise InputError(
                f"{len(rows):,} rows of up to {lengths.max():,} words; at most {MOST_CELLS:,} in all can be"
            )
        flat = np.fromiter(
            chain.from_iterable(
                (*before, *(self._in_text.get(word, UNKNOWN_WORD) for word in row), *behind) for row in rows
            ),
            np.int32,
            int(lengths.sum()),
        )
        encoded = np.full((len(rows), int(lengths.max(initial=0))), PAD, np.int32)
        encoded[np.arange(encoded.shape[1]) < lengths[:, None]] = flat
        return encoded


def read_words(data: bytes, what: str) -> tuple[str, ...]:
    """The words of a vocabulary.json, in order of their ids; `what` names it in errors.

    Raises:
        InputError: not a JSON list of texts, or none that `Vocabulary` takes.
    """
    words = read_json(data, what)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{what} is no vocabulary; it must be a list of words")
    return Vocabulary(words).words


def build_vocabulary(rows: Iterable[Sequence[str]], size: int) -> Vocabulary:
    """The SPECIALS and the most frequent words of the training sentences (T3), `size` in all at most."""
    counts = Counter(chain.from_iterable(rows))
    for special in SPECIALS:
        counts.pop(special, None)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary((*SPECIALS, *ordered[: size - len(SPECIALS)]))
