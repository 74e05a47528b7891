"""Two line-aligned files, as Gulordava et al. (2018) published them: X.text with sentences, X.gold with the verbs.

    the town is very opulently designed . <eos>        2   is   are   0

The second kind, with 12 columns of gold, is of the nonce sentences: position, number, right and wrong form come from
its columns 3, 5, 6 and 7 (from 0). Its text has some other verb of the same number at that position; the right form
is put there. All words are made lower-case, as the other corpora are.
"""

from collections.abc import Callable
from pathlib import Path
from sys import intern
from typing import NamedTuple

from distillbias.data.agreement_forms import is_plural
from distillbias.data.agreement_lines import Rows, Source, head, stem, whole_number
from distillbias.data.sentences import UNKNOWN, Sentences
from distillbias.errors import InputError

PACKINGS = ("", ".xz", ".gz")
END = "<eos>"


class Gold(NamedTuple):
    """One line of gold."""

    position: int
    right: str
    wrong: str
    plural: bool
    attractors: int


def _gulordava(cells: list[str]) -> Gold:
    right, wrong = intern(cells[1].lower()), intern(cells[2].lower())
    plural = is_plural(right, wrong)  # no column tells it; right and wrong are the same word in 4 published rows
    return Gold(whole_number(cells[0], "verb position"), right, wrong, plural, whole_number(cells[3], "attractors"))


def _nonce(cells: list[str]) -> Gold:
    numbers = {"Number=Sing": False, "Number=Plur": True}
    plural = next((number for feature in cells[5].split("|") if (number := numbers.get(feature)) is not None), None)
    if plural is None:
        raise InputError(f"no {' or '.join(numbers)} in {cells[5][:40]!r}")
    return Gold(
        whole_number(cells[3], "verb position"), intern(cells[6].lower()), intern(cells[7].lower()), plural, UNKNOWN
    )


_COLUMNS: dict[str, tuple[int, Callable[[list[str]], Gold]]] = {"gulordava": (4, _gulordava), "nonce": (12, _nonce)}


def both_files(path: Path) -> tuple[Path, Path] | None:
    """The .text and the .gold that `path` is one of; None if it is neither or the other is not beside it."""
    plain = next((path.name.removesuffix(end) for end in PACKINGS[1:] if path.name.endswith(end)), path.name)
    others = {".text": ".gold", ".gold": ".text"}
    if Path(plain).suffix not in others:
        return None
    other = Path(plain).with_suffix(others[Path(plain).suffix]).name
    found = next((file for end in PACKINGS if (file := path.with_name(other + end)).is_file()), None)
    if found is None:
        return None
    return (path, found) if plain.endswith(".text") else (found, path)


def pair_kind(path: Path) -> str | None:
    """Which kind of gold belongs to `path`, which is a .text or a .gold; None if none."""
    files = both_files(path)
    rows = [line.split("\t") for line in head(files[1])] if files else []
    kinds = {"gulordava": any(len(row) == 4 and row[0].isdigit() and row[3].isdigit() for row in rows)}
    kinds["nonce"] = any(len(row) == 12 and row[3].isdigit() for row in rows)
    return next((kind for kind, found in kinds.items() if found), None)


def read_pair(path: Path, kind: str, skip_bad: bool) -> dict[str, Sentences]:
    """One slice, called as the files. Attractors are known of "gulordava", no other fact of either.

    Raises:
        InputError: also where a line of one file has no partner in the other.
    """
    files = both_files(path)
    assert files is not None
    text_path, gold_path = files
    source, rows = Source(text_path, skip_bad), Rows()
    golds = _golds(source, gold_path, kind)
    for number, text in source.lines():
        gold = golds.pop(number, None)
        try:
            if gold is None:
                raise InputError(f"no good line {number} in {gold_path.name}")
            _add(rows, text, gold, kind)
        except InputError as error:
            source.bad(number, str(error))
    for number in golds:
        source.bad(number, f"no good line {number} in {text_path.name}", gold_path)
    return {stem(text_path): rows.done(source)}


def _golds(source: Source, path: Path, kind: str) -> dict[int, Gold]:
    columns, parse = _COLUMNS[kind]
    found = {}
    for number, text in source.lines(path):
        cells = text.split("\t")
        try:
            if len(cells) != columns:
                raise InputError(f"{len(cells)} columns; the rule is {columns}")
            found[number] = parse(cells)
        except InputError as error:
            source.bad(number, str(error), path)
    return found


def _add(rows: Rows, text: str, gold: Gold, kind: str) -> None:
    words = text.lower().split(" ")
    if words[-1] == END:
        words.pop()
    if not gold.position < len(words):
        raise InputError(f"verb position {gold.position} is outside the {len(words)} words of the sentence")
    if kind == "nonce":
        words[gold.position] = gold.right
    if words[gold.position] != gold.right:
        raise InputError(f"word {words[gold.position][:40]!r} at the verb's position is not {gold.right[:40]!r}")
    rows.add(words, gold.position, gold.plural, gold.right, gold.wrong, (UNKNOWN, UNKNOWN, gold.attractors))
