"""Every format of agreement data, read into `Sentences`; where the sets lie in the data home, and how they get there.

A set in the home is a file, plain or as .xz or .gz, or a folder of files (BLiMP, Lakretz).
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from distillbias.data import agreement_templates as templates
from distillbias.data import files
from distillbias.data.agreement_forms import other_form, verb_pairs
from distillbias.data.agreement_gulordava import PACKINGS, both_files, pair_kind, read_pair
from distillbias.data.agreement_lines import LIMIT, XZ_MAGIC, head, stem
from distillbias.data.agreement_tables import is_numpred, read_numpred, read_table, table_kind
from distillbias.data.sentences import Sentences
from distillbias.errors import InputError

__all__ = ["FORMATS", "SETS", "available", "import_agreement", "load_set", "read", "read_folder", "recognise"]
__all__ += ["other_form", "verb_pairs"]

FORMATS = {
    "wiki": "table with sentence, subj_idx, verb_idx, verb_pos, verb, inflected_verb",
    "ud": "the same with n_intervening and n_diff_intervening",
    "full": "the authors' table with verb_index, n_intervening, n_diff_intervening, distance",
    "clay": "table with sentence, verb_idx, verb_pos, verb, past_form",
    "wiked": "table with sentence, verb_idx, verb_pos, verb, shown_wrong_verb",
    "numpred": "lines of VBZ or VBP, a tab, the words before the verb",
    "gulordava": "X.text and X.gold side by side, gold of 4 columns",
    "nonce": "X.text and X.gold side by side, gold of 12 columns",
    "blimp": "lines of JSON with sentence_good and sentence_bad",
    "marvin-linzen": "table with template, case, grammatical, ungrammatical",
    "lakretz": "lines of a sentence, its numbers, correct or wrong, an id",
}

_BY_FIRST_LINE: dict[str, Callable[[str], bool]] = {"marvin-linzen": templates.is_marvin_linzen}
_BY_ANY_LINE = {"numpred": is_numpred, "blimp": templates.is_blimp, "lakretz": templates.is_lakretz}
_READERS: dict[str, Callable[[Path, bool], dict[str, Sentences]]] = {
    "numpred": read_numpred,
    "blimp": templates.read_blimp,
    "marvin-linzen": templates.read_marvin_linzen,
    "lakretz": templates.read_lakretz,
}


def recognise(path: Path) -> str | None:
    """Which of FORMATS the file has, told by its first lines; None if none. InputError if it cannot be read."""
    lines = head(path)
    if not lines:
        return None
    first = next((kind for kind, fits in _BY_FIRST_LINE.items() if fits(lines[0])), None)
    return (
        table_kind(lines[0])
        or first
        or next((kind for kind, fits in _BY_ANY_LINE.items() if any(map(fits, lines))), None)
        or pair_kind(path)
    )


def read(path: Path, skip_bad: bool = False) -> dict[str, Sentences]:
    """{slice: sentences} of one file, plain, .xz or .gz; one slice called as the file, or one for each construction.

    Args:
        path: a file of any of FORMATS; of two files that belong together (X.text, X.gold) either.
        skip_bad: leave bad rows out and note them in `skipped`, instead of stopping at the first.

    Raises:
        InputError: unknown format, nothing in it, damaged, or a bad row: "wiki-test.txt.xz line 17: ...".
    """
    kind = recognise(path)
    if kind is None and not head(path):
        raise InputError(f"{path} holds no line of text")
    if kind is None:
        choices = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
        raise InputError(f"{path} is none of the formats of agreement data ({choices})")
    return _read_as(kind, path, skip_bad)


def _read_as(kind: str, path: Path, skip_bad: bool) -> dict[str, Sentences]:
    if kind in _READERS:
        return _READERS[kind](path, skip_bad)
    return (read_pair if kind in ("gulordava", "nonce") else read_table)(path, kind, skip_bad)


def read_folder(folder: Path, skip_bad: bool = False) -> dict[str, Sentences]:
    """All slices of all files of a known format in `folder` and below, in order of their paths.

    A name that comes twice is preceded by its folder, and if that does not tell them apart by its file.

    Raises:
        InputError: none there, or one is damaged.
    """
    found = [
        (path.relative_to(folder), name, sentences)
        for path, kind in _known_files(folder)
        for name, sentences in _read_as(kind, path, skip_bad).items()
    ]
    if not found:
        raise InputError(f"no agreement data in {folder}; the formats are {', '.join(FORMATS)}")
    names = _told_apart([(path, name) for path, name, _ in found])
    return {name: sentences for name, (_, _, sentences) in zip(names, found, strict=True)}


def _told_apart(found: list[tuple[Path, str]]) -> list[str]:
    names = [name for _, name in found]
    for longer in ([f"{path.parent.as_posix()}/{name}" for path, name in found], [f"{p}/{name}" for p, name in found]):
        often = Counter(names)
        names = [long if often[name] > 1 else name for name, long in zip(names, longer, strict=True)]
    return names


def _known_files(folder: Path) -> list[tuple[Path, str]]:
    """(path, format) of every file that `read` knows; of two that belong together the .text alone."""
    if not folder.is_dir():
        raise InputError(f"no folder {folder}")
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    kinds = [(path, recognise(path)) for path in paths]
    return [(p, kind) for p, kind in kinds if kind and (kind not in ("gulordava", "nonce") or ".text" in p.suffixes)]


class Place(NamedTuple):
    """Where a set lies in the home: a file, given without the ending of its packing, or a folder that ends in "/"."""

    kind: str
    path: str


SETS = {
    **{f"wiki-{part}": Place("wiki", f"sva_nlu_wiki/wiki-{part}.txt") for part in ("train", "dev", "test")},
    "numpred-val": Place("numpred", "sva_linzen_numpred/numpred.val"),
    **{f"numpred-{k}": Place("numpred", f"sva_linzen_numpred/numpred.test.{k}") for k in range(1, 6)},
    "gulordava": Place("gulordava", "sva_linzen_gulordava/subj_agr_filtered.text"),
    **{f"ud-{bank}": Place("ud", f"sva_ud_gold/{bank}.tsv") for bank in ("ewt", "craft", "partut", "lines", "pud")},
    "blimp": Place("blimp", "templates_blimp/"),
    "marvin-linzen": Place("marvin-linzen", "templates_marvin_linzen/lm_syneval_sva.tsv"),
    "lakretz": Place("lakretz", "templates_lakretz/"),
    "full": Place("full", "agreement/agr_50_mostcommon_10K.tsv"),
}


def _locate(place: Place, home: Path) -> Path | None:
    """The file or folder of a set, None if it is not in the home."""
    if place.path.endswith("/"):
        folder = home / place.path
        return folder if folder.is_dir() and any(path.is_file() for path in folder.iterdir()) else None
    return next((path for end in PACKINGS if (path := home / (place.path + end)).is_file()), None)


def available(home: Path) -> list[str]:
    """The names of the SETS that lie in `home`, told by presence alone."""
    return [name for name, place in SETS.items() if _locate(place, home)]


def load_set(name: str, home: Path, skip_bad: bool = False) -> dict[str, Sentences]:
    """The set `name` of SETS: one entry of that name; blimp, marvin-linzen and lakretz: one for each construction.

    Raises:
        InputError: unknown name, the set is not in `home`, or it is damaged.
    """
    if name not in SETS:
        raise InputError(f"unknown agreement set {name!r}; the choices are {', '.join(SETS)}")
    place = SETS[name]
    path = _locate(place, home)
    if path is None:
        raise InputError(
            f"no {name} in {home}: looked for {place.path}{'' if place.path.endswith('/') else ' (or .xz, .gz)'}; "
            "get it with `distillbias data import agreement DIR`"
        )
    if path.is_dir():
        return read_folder(path, skip_bad)
    found = read(path, skip_bad)
    return found if place.kind == "marvin-linzen" else {name: next(iter(found.values()))}


def import_agreement(source: Path, home: Path, skip_bad: bool = False) -> list[Path]:
    """Copy the files of SETS that are in `source` (a folder, or one file) to their place in `home`; return the copies.

    Each file is recognised by its content, the parts of one format (wiki-train, wiki-dev) by their file names. All are
    read through before any is copied. A copy replaces an older one that was packed otherwise.

    Raises:
        InputError: nothing to import, a damaged file, or a bad row (unless `skip_bad`).
    """
    known = [(source, recognise(source))] if source.is_file() else _known_files(source)
    jobs = []
    for path, kind in known:
        target = _target(path, kind)
        if kind and target:
            _read_as(kind, path, skip_bad)
            jobs += [(path, target)] if kind != "gulordava" else _both_targets(path, target)
    if not jobs:
        names = ", ".join(f"{path.name} ({kind})" for path, kind in known) or "nothing"
        raise InputError(f"no agreement set in {source}: found {names}; the sets are {', '.join(SETS)}")
    twice = [target for target, count in Counter(target for _, target in jobs).items() if count > 1]
    if twice:
        given = ", ".join(str(path) for path, target in jobs if target == twice[0])
        raise InputError(f"{twice[0]} can be only one of {given}; import a folder that has one")
    return [_copy(path, home, target) for path, target in jobs]


def _target(path: Path, kind: str | None) -> str | None:
    """Where in the home a file belongs, without the ending of its packing; None if it is of no set."""
    for place in SETS.values():
        if place.kind == kind and place.path.endswith("/"):
            return f"{place.path}{stem(path)}{'.jsonl' if kind == 'blimp' else '.txt'}"
        if place.kind == kind and (kind in ("full", "marvin-linzen") or stem(Path(place.path)) == stem(path)):
            return place.path
    return None


def _both_targets(path: Path, target: str) -> list[tuple[Path, str]]:
    pair = both_files(path)
    assert pair is not None  # it was just read
    return [(pair[0], target), (pair[1], target.removesuffix(".text") + ".gold")]


def _copy(path: Path, home: Path, target: str) -> Path:
    content = files.read_bounded(path, LIMIT)
    ending = ".xz" if content.startswith(XZ_MAGIC) else ".gz" if content.startswith(files.GZIP_MAGIC) else ""
    copy = home / (target + ending)
    files.write_atomically(copy, content)
    for other in PACKINGS:  # two copies would leave it open which one counts
        stale = home / (target + other)
        if stale != copy and stale.is_file() and not stale.samefile(path):
            stale.unlink()
    return copy
