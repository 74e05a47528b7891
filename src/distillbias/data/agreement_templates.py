"""Pairs of made sentences, one right and one wrong: BLiMP, Marvin & Linzen, Lakretz et al.; a slice a construction.

    The author next to the guards laughs.     the author next to the guards [laughs] .     wrong: laugh
    The author next to the guards laugh.

An example is the grammatical sentence; its verb is the first word in which the two differ, so both share the prefix.
Words are made those of the corpora: lower case, a final stop or comma, n't and 's as words of their own (hasn't ->
has n't, as the corpora write; can't -> ca n't).
"""

import json
import re
from collections import defaultdict
from pathlib import Path

from distillbias.data.agreement_forms import is_plural, other_forms
from distillbias.data.agreement_lines import MOST_BAD, Rows, Source, stem
from distillbias.data.sentences import UNKNOWN, Sentences
from distillbias.errors import InputError

MARVIN_LINZEN = ("template", "case", "grammatical", "ungrammatical")
NO_FACTS = (UNKNOWN, UNKNOWN, UNKNOWN)
_CLITIC = re.compile(r"(?<=[^ ])(n't|'s)(?=[ .,]|$)")
_STOP = re.compile(r"(?<=[^ ])([.,])(?= |$)")


def corpus_words(text: str) -> list[str]:
    """The words of a natural sentence as the corpora have them."""
    return _CLITIC.sub(r" \1", _STOP.sub(r" \1", text.lower())).split(" ")


def _pair(good: list[str], bad: list[str]) -> tuple[int, str, str]:
    """The first position where the two differ, and both words there."""
    at = next((at for at, (one, other) in enumerate(zip(good, bad, strict=False)) if one != other), None)
    if at is None:
        raise InputError("the two sentences do not differ in a word")
    return at, good[at], bad[at]


def _is_participle(word: str) -> bool:
    return word.endswith("ing") and any(vowel in word[:-3] for vowel in "aeiou")  # singing, not sing


def _construction(prefix: str, name: str) -> str:
    """The name of a slice."""
    if not re.fullmatch(r"[\w-]{1,100}", name):
        raise InputError(f"{name[:40]!r} is no name of a construction; letters, digits, _ and - make one")
    return f"{prefix}-{name}"


def is_blimp(line: str) -> bool:
    return line.startswith("{") and '"sentence_good"' in line


def read_blimp(path: Path, skip_bad: bool) -> dict[str, Sentences]:
    """One slice for each UID, called blimp-<UID>. No facts are told.

    In the sets whose pairs differ in the subject (*_agreement_2) the verb is the word the file names, its number told
    by its shape, and its wrong form made by `other_forms`. Some pairs differ in tense too (is / were). Left out: rows
    of other phenomena, and the few where one of the forms is a participle ("The man singing."), which agrees with
    nothing.
    """
    source = Source(path, skip_bad)
    parts: defaultdict[str, Rows] = defaultdict(Rows)
    for number, text in source.lines():
        try:
            record = _record(text)
            if _field(record, "linguistics_term") == "subject_verb_agreement":
                _add_blimp(parts[_construction("blimp", _field(record, "UID"))], record)
        except InputError as error:
            source.bad(number, str(error))
    for rows in parts.values():
        made = other_forms(rows.right, [bool(plural) for plural in rows.plural])
        rows.wrong = [told or other for told, other in zip(rows.wrong, made, strict=True)]
    return _done(parts, source)


def _record(text: str) -> dict[str, object]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})") from None
    if not isinstance(record, dict):
        raise InputError("not a JSON object")
    return record


def _field(record: dict[str, object], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):  # half a character
        raise InputError(f"no text called {name!r}")
    return value


def _add_blimp(rows: Rows, record: dict[str, object]) -> None:
    good, bad = (corpus_words(_field(record, name)) for name in ("sentence_good", "sentence_bad"))
    if "two_prefix_word" in record:  # the subjects differ
        at, wrong = len(corpus_words(_field(record, "two_prefix_prefix_good"))), ""
        right = corpus_words(_field(record, "two_prefix_word"))[0]
        if good[at : at + 1] != [right]:
            raise InputError(f"{right[:40]!r} does not follow two_prefix_prefix_good in sentence_good")
    else:
        at, right, wrong = _pair(good, bad)
    if not _is_participle(right) and not _is_participle(wrong):
        rows.add(good, at, is_plural(right, wrong), right, wrong)


def is_marvin_linzen(header: str) -> bool:
    return tuple(header.split("\t")) == MARVIN_LINZEN


def read_marvin_linzen(path: Path, skip_bad: bool) -> dict[str, Sentences]:
    """One slice for each template, called marvin-linzen-<template>; those of reflexives and NPIs are left out.

    The case ("sing_MS_MV_plur_ES") begins with the verb's number. What stands between subject and verb follows from
    the template, and is unknown only of long_vp_coord.
    """
    source = Source(path, skip_bad)
    parts: defaultdict[str, Rows] = defaultdict(Rows)
    lines = source.lines()
    next(lines)
    for number, text in lines:
        try:
            cells = text.split("\t")
            if len(cells) != len(MARVIN_LINZEN):
                raise InputError(f"{len(cells)} columns; the rule is {', '.join(MARVIN_LINZEN)}")
            template, case, good, bad = cells
            if not template.startswith(("reflexive", "npi")):
                at, right, wrong = _pair(corpus_words(good), corpus_words(bad))
                numbers = _numbers([part for part in case.split("_") if part in ("sing", "plur")], case)
                rows = parts[_construction("marvin-linzen", template)]
                rows.add(corpus_words(good), at, numbers[0], right, wrong, _marvin_linzen_facts(template, numbers))
        except InputError as error:
            source.bad(number, str(error))
    return _done(parts, source)


def _marvin_linzen_facts(template: str, numbers: list[bool]) -> tuple[int, int, int]:
    if template in ("simple_agrmt", "sent_comp") or "_within_" in template:
        return 1, 0, 0  # the author that the guards like: of "like"
    if template == "vp_coord":
        return UNKNOWN, 0, 0
    if template.startswith("prep_") or template == "subj_rel" or "_across_" in template:
        return UNKNOWN, 1, int(len(numbers) > 1 and numbers[1] != numbers[0])
    return NO_FACTS


def is_lakretz(line: str) -> bool:
    cells = line.split("\t")
    return len(cells) == 4 and cells[2] in ("correct", "wrong")


def read_lakretz(path: Path, skip_bad: bool) -> dict[str, Sentences]:
    """One slice, called lakretz-<file>; the right and the wrong line of an item have the same id.

    The number column names subject and later nouns (singular_plural): those are taken to stand between subject and
    verb. A name (namepp) is no noun there, as proper nouns are not counted in the corpora either.
    """
    source, rows = Source(path, skip_bad), Rows()
    waiting: dict[str, tuple[int, list[str]]] = {}
    for number, text in source.lines():
        try:
            cells = text.split("\t")
            if not is_lakretz(text):
                raise InputError("not a sentence, its numbers, correct or wrong, and an id")
            if cells[3] not in waiting:
                waiting[cells[3]] = number, cells
                if len(waiting) > MOST_BAD:
                    raise InputError(f"more than {MOST_BAD:,} lines wait for the other one of their id")
            else:
                _add_lakretz(rows, waiting.pop(cells[3])[1], cells)
        except InputError as error:
            source.bad(number, str(error))
    for number, cells in waiting.values():
        source.bad(number, f"no other line has the id {cells[3][:40]!r}")
    return {f"lakretz-{stem(path)}": rows.done(source)}


def _add_lakretz(rows: Rows, first: list[str], second: list[str]) -> None:
    if first[1] != second[1] or first[2] == second[2]:
        raise InputError(f"the two lines of {first[3][:40]!r} are not a correct and a wrong one of the same numbers")
    good, bad = (corpus_words(cells[0]) for cells in ((first, second) if first[2] == "correct" else (second, first)))
    numbers = _numbers(first[1].split("_"), first[1])
    at, right, wrong = _pair(good, bad)
    attractors = sum(number != numbers[0] for number in numbers[1:])
    rows.add(good, at, numbers[0], right, wrong, (UNKNOWN, len(numbers) - 1, attractors))


def _numbers(names: list[str], what: str) -> list[bool]:
    """Whether plural, for each name; InputError naming `what` if there is none or another."""
    known = {"singular": False, "sing": False, "plural": True, "plur": True}
    if not names or not known.keys() >= set(names):
        raise InputError(f"no numbers in {what[:40]!r}; the choices are {', '.join(known)}, joined by _")
    return [known[name] for name in names]


def _done(parts: dict[str, Rows], source: Source) -> dict[str, Sentences]:
    found = {name: rows.done(source) for name, rows in parts.items() if rows.words}
    return found or {stem(source.path): Rows().done(source)}  # which raises: nothing there
