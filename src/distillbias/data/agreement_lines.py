"""Lines of a text that may be damaged, and the rows made of them: what all readers of agreement data share."""

import gzip
import lzma
import zlib
from array import array
from collections.abc import Iterator, Sequence
from io import BufferedIOBase, BufferedReader
from itertools import islice
from pathlib import Path
from sys import intern

import numpy as np

from distillbias.data.files import GZIP_MAGIC, expansion_limit
from distillbias.data.sentences import FACTS, UNKNOWN, Sentences
from distillbias.errors import InputError

XZ_MAGIC = b"\xfd7zXZ\0"
LIMIT = 2**31  # bytes of one file, unpacked; the authors' whole table has fewer
LONGEST_LINE = 1_000_000  # bytes
LONGEST_SENTENCE = 1_000  # words
MOST_BAD = 100_000  # rows that may be skipped, or wait for their partner; their notes must not fill the memory
HEAD = 10  # lines that tell the format
HEAD_LINES = 1_000  # where they must be, so that blank lines cost no time
ENDINGS = (".xz", ".gz", ".txt", ".tsv", ".jsonl", ".text", ".gold")
TAGS = {"VBZ": False, "VBP": True}  # tag of the verb: whether it is plural


def stem(path: Path) -> str:
    """The file's name without endings: wiki-test.txt.xz -> wiki-test. Other dots stay: numpred.test.1.xz."""
    name = path.name
    while (shorter := next((name.removesuffix(end) for end in ENDINGS if name.endswith(end)), "")) not in ("", name):
        name = shorter
    return name


class Source:
    """One file to read. A bad row is an InputError "<file> line <1-based number>: <reason>".

    With `skip_bad` it is a note "line <number>: <reason>" in `skipped` instead.
    """

    def __init__(self, path: Path, skip_bad: bool):
        self.path, self.skip_bad = path, skip_bad
        self.skipped: list[str] = []

    def lines(self, path: Path | None = None) -> Iterator[tuple[int, str]]:
        """(1-based number, text without its line end) of all good lines that are not blank; of `path` if given."""
        for number, raw in raw_lines(path or self.path):
            try:
                text = decoded(raw)
            except InputError as error:
                self.bad(number, str(error), path)
            else:
                yield number, text

    def bad(self, line: int, reason: str, path: Path | None = None) -> None:
        """Say that a line (of `path` if given) is bad, or note it if bad lines may be skipped."""
        if not self.skip_bad:
            raise InputError(f"{(path or self.path).name} line {line}: {reason}")
        if len(self.skipped) == MOST_BAD:
            raise InputError(f"{(path or self.path).name} has more than {MOST_BAD:,} bad rows, the last is line {line}")
        self.skipped.append(f"{path.name + ' ' if path else ''}line {line}: {reason}")


class Rows:
    """Collects rows that belong together; `done` makes `Sentences` of them."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []
        self.right: list[str] = []
        self.wrong: list[str] = []
        self.plural = bytearray()
        self.verb = array("i")
        self.facts = {name: array("i") for name in FACTS}

    def add(
        self,
        words: Sequence[str],
        verb: int,
        plural: bool,
        right: str = "",
        wrong: str = "",
        facts: tuple[int, int, int] = (UNKNOWN, UNKNOWN, UNKNOWN),
    ) -> None:
        """Take a row: `verb` may be the length of `words`; a `wrong` equal to `right` is unknown ("").

        Raises:
            InputError: no word before the verb, an empty word, too many words, or facts that contradict each other.
        """
        distance, intervening, attractors = facts
        if len(words) > LONGEST_SENTENCE:
            raise InputError(f"a sentence of {len(words):,} words; at most {LONGEST_SENTENCE:,} can be")
        if not 0 < verb <= len(words):
            raise InputError(f"verb position {verb} is outside the {len(words)} words, or no word comes before it")
        if "" in words:
            raise InputError("an empty word; words are separated by single spaces")
        if distance != UNKNOWN and not 0 < distance <= verb:
            raise InputError(f"distance {distance} does not fit verb position {verb}; the subject comes first")
        if intervening == 0 and attractors == UNKNOWN:
            attractors = 0  # no noun at all
        if attractors > intervening != UNKNOWN:
            raise InputError(f"{attractors} attractors among {intervening} intervening nouns")
        self.words.append(list(map(intern, words)))
        self.verb.append(verb)
        self.plural.append(plural)
        self.right.append(intern(right))
        self.wrong.append(intern("" if wrong == right else wrong))
        for name, value in zip(FACTS, (distance, intervening, attractors), strict=True):
            self.facts[name].append(value)

    def done(self, source: Source) -> Sentences:
        """All rows. Raises InputError if there are none."""
        if not self.words:
            also = f" but {len(source.skipped)} bad ones; the first: {source.skipped[0]}" if source.skipped else ""
            raise InputError(f"{source.path.name} holds no row of agreement data{also}")
        return Sentences(
            self.words,
            np.array(self.verb, np.int32),
            np.array(self.plural, bool),
            self.right,
            self.wrong,
            {name: np.array(values, np.int32) for name, values in self.facts.items()},
            source.path.name,
            tuple(source.skipped),
        )


def raw_lines(path: Path, last: int | None = None) -> Iterator[tuple[int, bytes]]:
    """(1-based number, bytes with their line end) of a plain, .gz or .xz file; unpacked piece by piece.

    The packing is told by content. Blank lines are counted and left out; after line `last` no more are read. Of a line
    longer than LONGEST_LINE only that many bytes and one come, so that `decoded` refuses it and memory stays bounded.

    Raises:
        InputError: the file cannot be read, its packing is damaged, or it expands beyond `expansion_limit`.
    """
    number = 0
    try:
        with path.open("rb") as handle, _unpacked(handle) as stream:
            left = LIMIT if stream is handle else expansion_limit(path.stat().st_size, LIMIT)
            while number != last and (raw := stream.readline(LONGEST_LINE + 1)):
                number, left, rest = number + 1, left - len(raw), raw
                while left >= 0 and len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
                    rest = stream.readline(LONGEST_LINE + 1)
                    left -= len(rest)
                if left < 0:
                    raise InputError(f"{path} expands to more than a genuine copy can have")
                if raw.strip(b"\r\n"):
                    yield number, raw
    except (OSError, EOFError, lzma.LZMAError, zlib.error, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "out of memory"
        where = f" after line {number}" if number else ""
        raise InputError(f"cannot read {path}{where}: {reason}") from error


def _unpacked(handle: BufferedReader) -> BufferedIOBase:
    magic = handle.read(len(XZ_MAGIC))
    handle.seek(0)
    if magic == XZ_MAGIC:
        return BufferedReader(lzma.LZMAFile(handle))  # buffered: lines come several times as fast
    return gzip.GzipFile(fileobj=handle) if magic.startswith(GZIP_MAGIC) else handle


def decoded(raw: bytes) -> str:
    """One line as text, without line end and byte order mark; InputError if it is too long or not UTF-8."""
    if len(raw) > LONGEST_LINE:
        raise InputError(f"longer than {LONGEST_LINE:,} bytes")
    try:
        return raw.decode().rstrip("\r\n").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 (byte {error.start + 1})") from None


def head(path: Path) -> list[str]:
    """The first HEAD lines of the first HEAD_LINES, but for blank ones and those that are not text.

    Raises:
        InputError: the file cannot be read.
    """
    good = []
    for _, raw in islice(raw_lines(path, HEAD_LINES), HEAD):
        try:
            good.append(decoded(raw))
        except InputError:
            pass
    return good


def whole_number(text: str, what: str) -> int:
    """`text` as a number of 0 to 999,999,999; InputError otherwise."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"{what} {text[:40]!r} is not a whole number")
    return int(text)


def tagged_plural(tag: str) -> bool:
    """Whether the tag of a verb is the plural one; InputError if it is neither."""
    if tag not in TAGS:
        raise InputError(f"unknown label {tag[:40]!r}; the choices are {', '.join(TAGS)}")
    return TAGS[tag]
