"""Tables of agreement data with named columns, and the label-and-prefix files.

    sentence                            subj_idx  verb_idx  verb_pos  verb  inflected_verb
    the keys to the cabinet are here .  1         5         VBP       are   is

A rare word stands as its tag in capitals, the verb too: the word at the verb's position is the verb or its tag
(paper-facts T2). The right and the wrong form come from their own columns and are always words, in lower case.
"""

from dataclasses import dataclass
from pathlib import Path

from distillbias.data.agreement_forms import other_forms
from distillbias.data.agreement_lines import Rows, Source, stem, tagged_plural, whole_number
from distillbias.data.sentences import UNKNOWN, Sentences
from distillbias.errors import InputError


@dataclass(frozen=True)
class Table:
    """How one kind of table names what every kind has."""

    columns: tuple[str, ...]  # by these its header is recognised
    verb: str = "verb_idx"
    first: int = 0  # the number of a sentence's first word
    wrong: str = ""  # column of the wrong form, "" if there is none
    natural: bool = False  # words in their own case, none masked: made lower-case, as the other corpora are


_COMMON = ("sentence", "verb_pos", "verb")
TABLES = {
    "full": Table((*_COMMON, "verb_index", "n_intervening", "n_diff_intervening", "distance"), "verb_index", 1),
    "ud": Table((*_COMMON, "subj_idx", "verb_idx", "inflected_verb", "n_diff_intervening"), wrong="inflected_verb"),
    "wiki": Table((*_COMMON, "subj_idx", "verb_idx", "inflected_verb"), wrong="inflected_verb"),
    "clay": Table((*_COMMON, "verb_idx", "past_form"), natural=True),
    "wiked": Table((*_COMMON, "verb_idx", "shown_wrong_verb"), wrong="shown_wrong_verb", natural=True),
}


def table_kind(header: str) -> str | None:
    """Which of TABLES has this header line; None if none."""
    columns = set(header.split("\t"))
    return next((kind for kind, table in TABLES.items() if columns.issuperset(table.columns)), None)


def read_table(path: Path, kind: str, skip_bad: bool) -> dict[str, Sentences]:
    """One slice, called as the file. Distance is the column of that name, else verb position - subject position.

    Where the table has no wrong forms ("full" and "clay"), `other_forms` makes them, by rule and from the plural forms
    of the same file.
    """
    source, rows, table = Source(path, skip_bad), Rows(), TABLES[kind]
    lines = source.lines()
    _, header = next(lines)
    columns = header.split("\t")
    at = {name: number for number, name in enumerate(columns)}
    for number, text in lines:
        try:
            cells = text.split("\t")
            if len(cells) != len(columns):
                raise InputError(f"{len(cells)} columns; the header has {len(columns)}")
            _add(rows, cells, at, table)
        except InputError as error:
            source.bad(number, str(error))
    if not table.wrong:
        rows.wrong = other_forms(rows.right, [bool(plural) for plural in rows.plural])
    return {stem(path): rows.done(source)}


def _add(rows: Rows, cells: list[str], at: dict[str, int], table: Table) -> None:
    tag, right = cells[at["verb_pos"]], cells[at["verb"]].lower()
    plural = tagged_plural(tag)
    sentence = cells[at["sentence"]]
    words = (sentence.lower() if table.natural else sentence).split(" ")
    verb = whole_number(cells[at[table.verb]], "verb position") - table.first
    if not 0 <= verb < len(words):
        raise InputError(f"verb position {verb + table.first} is outside the {len(words)} words of the sentence")
    if words[verb] != tag and words[verb].lower() != right:
        raise InputError(f"word {words[verb][:40]!r} at the verb's position is neither {right[:40]!r} nor {tag}")
    facts = _facts(cells, at, verb)
    rows.add(words, verb, plural, right, cells[at[table.wrong]].lower() if table.wrong else "", facts)


def _facts(cells: list[str], at: dict[str, int], verb: int) -> tuple[int, int, int]:
    if "distance" in at:
        distance = _fact(cells, at, "distance")
    elif "subj_idx" in at:
        subject = whole_number(cells[at["subj_idx"]], "subject position")
        if subject >= verb:
            raise InputError(f"subject position {subject} is not before the verb position {verb}")
        distance = verb - subject
    else:
        distance = UNKNOWN
    return distance, _fact(cells, at, "n_intervening"), _fact(cells, at, "n_diff_intervening")


def _fact(cells: list[str], at: dict[str, int], name: str) -> int:
    if name not in at or cells[at[name]] in ("-", ""):
        return UNKNOWN
    return whole_number(cells[at[name]], name)


def is_numpred(line: str) -> bool:
    """VBZ or VBP, a tab, and the words before the verb."""
    return line.count("\t") == 1 and line[:4] in ("VBZ\t", "VBP\t")


def read_numpred(path: Path, skip_bad: bool) -> dict[str, Sentences]:
    """One slice, called as the file; rows stop before their verb, which is not told.

    numpred.test.<k>, k = 0..5, holds sentences with k nouns between, all attractors: so its name says.
    """
    name = stem(path)
    before, _, last = name.rpartition(".")
    known = before.endswith("numpred.test") and len(last) == 1 and last in "012345"
    count = int(last) if known else UNKNOWN
    source, rows = Source(path, skip_bad), Rows()
    for number, text in source.lines():
        try:
            label, tab, prefix = text.partition("\t")
            if not tab or "\t" in prefix:
                raise InputError("not a label, one tab, and the words before the verb")
            words = prefix.split(" ")
            rows.add(words, len(words), tagged_plural(label), facts=(UNKNOWN, count, count))
        except InputError as error:
            source.bad(number, str(error))
    return {name: rows.done(source)}
