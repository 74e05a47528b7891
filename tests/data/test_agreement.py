import gzip
import lzma
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.data.agreement_samples import FILES, GOLD, NUMPRED, TEXT, UD, WIKI

from distillbias.data import agreement
from distillbias.data.sentences import FACTS, Sentences, fingerprint
from distillbias.errors import InputError

real = pytest.mark.skipif(
    "DISTILLBIAS_DATA" not in os.environ, reason="needs the genuine agreement sets at $DISTILLBIAS_DATA"
)


def put(folder: Path, kind: str) -> Path:
    """The files of a format in `folder`; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FILES[kind].items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / next(iter(FILES[kind]))


def rows_of(sentences: Sentences) -> list[str]:
    """Each row as one line: prefix [verb] right/wrong number [distance, intervening, attractors]."""
    numbers = ["plural" if plural else "singular" for plural in sentences.plural]
    facts = np.stack([sentences.facts[name] for name in FACTS], axis=1).tolist()
    return [
        f"{' '.join(sentences.prefix(row))} [{' '.join(sentences.words[row][verb : verb + 1])}] "
        f"{sentences.right[row]}/{sentences.wrong[row]} {numbers[row]} {facts[row]}"
        for row, verb in enumerate(sentences.verb.tolist())
    ]


EXPECTED = {
    "wiki": {
        "wiki-dev": [
            "the keys to the NN [are] are/is plural [4, -1, -1]",
            "a `` NN '' [VBZ] abuts/abut singular [2, -1, -1]",
            "the band [is] is/are singular [1, -1, -1]",
            "NNS [lie] lie/ plural [1, -1, -1]",
        ]
    },
    "ud": {
        "ewt": [
            "the keys to the cabinet [are] are/is plural [4, 1, 1]",
            "i know that NN [is] is/are singular [1, 0, 0]",
        ]
    },
    "full": {
        "agr_50_mostcommon_10K": [
            "the keys to the cabinet [belie] belie/belies plural [4, 1, 1]",
            "the key [belies] belies/belie singular [1, 0, 0]",
            "the key [carries] carries/carry singular [1, 0, 0]",
        ]
    },
    "clay": {
        "clay": [
            "the key [opens] opens/open singular [-1, 0, 0]",
            "the keys of nasa [open] open/opens plural [-1, -1, -1]",
        ]
    },
    "wiked": {"wiked": ["among them [are] are/is plural [-1, -1, -1]"]},
    "numpred": {
        "numpred.test.2": ["the keys to the NN [] / plural [-1, 2, 2]", "the NN '' of keys [] / singular [-1, 2, 2]"]
    },
    "gulordava": {
        "subj_agr_filtered": [
            "the keys to the cabinet [are] are/is plural [-1, -1, 1]",
            "the key [is] is/are singular [-1, -1, 0]",
        ]
    },
    "nonce": {"generated": ["the ways to run in fifty [represent] represent/represents plural [-1, -1, -1]"]},
    "blimp": {
        "blimp-one": ["a niece of most senators [has] has/have singular [-1, -1, -1]"],
        "blimp-two": ["the women [meet] meet/meets plural [-1, -1, -1]"],
    },
    "marvin-linzen": {
        "marvin-linzen-prep_anim": ["the authors next to the guard [laugh] laugh/laughs plural [-1, 1, 1]"],
        "marvin-linzen-obj_rel_within_anim": ["the authors that the guard [likes] likes/like singular [1, 0, 0]"],
        "marvin-linzen-long_vp_coord": ["the author knows art and [likes] likes/like singular [-1, -1, -1]"],
    },
    "lakretz": {
        "lakretz-nounpp": [
            "the athlete near the cars [approves] approves/approve singular [-1, 1, 1]",
            "the women [know] know/knows plural [-1, 0, 0]",
        ]
    },
}


@pytest.mark.parametrize("kind", agreement.FORMATS)
def test_every_format_gives_the_rows_written_in_it(kind, tmp_path):
    path = put(tmp_path, kind)
    assert agreement.recognise(path) == kind
    assert {name: rows_of(part) for name, part in agreement.read(path).items()} == EXPECTED[kind]


def test_words_after_the_verb_are_kept_and_the_end_mark_is_not(tmp_path):
    blimp = agreement.read(put(tmp_path, "blimp"))
    assert blimp["blimp-one"].words[0][5:] == ["has", "n't", "left", ",", "al", "."]
    assert blimp["blimp-two"].words[0][2:] == ["meet", "kim", "'s", "dog", "."]
    assert agreement.read(put(tmp_path, "gulordava"))["subj_agr_filtered"].words[0][5:] == ["are", "here", "."]


@pytest.mark.parametrize("pack, ending", [(gzip.compress, ".gz"), (lzma.compress, ".xz"), (lzma.compress, "")])
def test_packing_is_told_by_content_and_changes_nothing(tmp_path, pack, ending):
    plain = agreement.read(put(tmp_path, "wiki"))["wiki-dev"]
    path = tmp_path / "packed" / f"wiki-dev.txt{ending}"
    path.parent.mkdir()
    path.write_bytes(pack(WIKI.replace("\n", "\r\n").encode()))
    assert fingerprint(agreement.read(path)["wiki-dev"]) == fingerprint(plain)


def test_two_files_that_belong_together_are_read_by_either_name_and_packing(tmp_path):
    (tmp_path / "a.text.xz").write_bytes(lzma.compress(TEXT.encode()))
    (tmp_path / "a.gold").write_text(GOLD)
    by_text, by_gold = agreement.read(tmp_path / "a.text.xz"), agreement.read(tmp_path / "a.gold")
    assert list(by_text) == list(by_gold) == ["a"] and fingerprint(by_text["a"]) == fingerprint(by_gold["a"])


@pytest.mark.parametrize(
    "name, count", [("numpred.test.0", 0), ("numpred.test.5.txt", 5), ("numpred.val", -1), ("numpred.test.7", -1)]
)
def test_the_name_of_a_numpred_file_tells_its_attractors(tmp_path, name, count):
    (tmp_path / name).write_text(NUMPRED)
    (part,) = agreement.read(tmp_path / name).values()
    assert part.facts["attractors"].tolist() == part.facts["intervening"].tolist() == [count] * 2


@pytest.mark.parametrize(
    "kind, old, new, message",
    [
        ("wiki", "2\t4\tVBZ", "2\t41\tVBZ", "wiki-dev.txt line 3: verb position 41 is outside the 6 words of the sent"),
        ("wiki", "2\t4\tVBZ", "2\t-4\tVBZ", "line 3: verb position '-4' is not a whole number"),
        ("wiki", "2\t4\tVBZ", "4\t4\tVBZ", "line 3: subject position 4 is not before the verb position 4"),
        ("wiki", "2\t4\tVBZ", "2\t4\tVBD", "line 3: unknown label 'VBD'; the choices are VBZ, VBP"),
        ("wiki", "\tabut\n", "\n", "line 3: 5 columns; the header has 6"),
        ("wiki", "'' VBZ", "''  VBZ", "line 3: word '' at the verb's position is neither 'abuts' nor VBZ"),
        ("wiki", "a ``", "a  ``", "line 3: word \"''\" at the verb's position is neither"),
        ("ud", "NN\t0\t0", "NN\t0\t1", "ewt.tsv line 3: 1 attractors among 0 intervening nouns"),
        (
            "full",
            "\t0\t-\t0\t1\nthe key c",
            "\t0\t-\t0\t9\nthe key c",
            "line 3: distance 9 does not fit verb position 2",
        ),
        ("full", "2\t6\t1", "2\t0\t1", "line 2: verb position 0 is outside the 8 words"),
        ("numpred", "VBZ\t", "VB\t", "numpred.test.2 line 2: unknown label 'VB'"),
        ("numpred", "VBZ\t", "VBZ\tx\t", "line 2: not a label, one tab, and the words before the verb"),
        ("numpred", "NN '' of", "NN  of", "line 2: an empty word"),
        ("gulordava", "5\tare", "8\tare", "text line 1: verb position 8 is outside the 8 words"),
        ("gulordava", "2\tIs", "1\tIs", "text line 2: word 'key' at the verb's position is not 'is'"),
        ("gulordava", "2\tIs\tAre\t0\n", "", "text line 2: no good line 2 in subj_agr_filtered.gold"),
        ("gulordava", "the key Is here . <eos>\n", "", "gold line 2: no good line 2 in subj_agr_filtered.text"),
        ("gulordava", "2\tIs\tAre", "2\tIs", "subj_agr_filtered.gold line 2: 3 columns; the rule is 4"),
        ("nonce", "Number=Plur", "Number=Dual", "generated.gold line 1: no Number=Sing or Number=Plur"),
        ("blimp", '"sentence_bad": "A', '"sentence": "A', "some.jsonl line 1: no text called 'sentence_bad'"),
        ("blimp", "haven't", "hasn't", "line 1: the two sentences do not differ in a word"),
        ("blimp", '"UID": "two"', '"UID": "../two"', "line 2: '../two' is no name of a construction"),
        ("blimp", '"The women"', '"The"', "line 2: 'meet' does not follow two_prefix_prefix_good in sentence_good"),
        ("blimp", '"x"}', '"x"', "line 4: not JSON"),
        ("blimp", "women", "\\ud800", "line 2: no text called 'sentence_good'"),
        ("marvin-linzen", "plur_MS_MV_sing_ES", "MS_MV", "lm.tsv line 2: no numbers in 'MS_MV'; the choices are sing"),
        ("lakretz", "wrong\tid2", "wrong\tid3", "nounpp.txt line 3: no other line has the id 'id3'"),
        ("lakretz", "wrong\tid2", "correct\tid2", "line 4: the two lines of 'id2' are not a correct and a wrong one"),
    ],
)
def test_a_bad_row_is_named_or_skipped_and_noted(tmp_path, kind, old, new, message):
    path = put(tmp_path, kind)
    changed = {name: text.replace(old, new) for name, text in FILES[kind].items()}
    assert changed != FILES[kind]
    for name, text in changed.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        agreement.read(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    if sum(map(len, EXPECTED[kind].values())) > 1:
        skipped = [note for part in agreement.read(path, skip_bad=True).values() for note in part.skipped]
        assert any(message[message.index("line ") :] in note for note in skipped)


def test_text_that_is_none(tmp_path):
    path = tmp_path / "wiki-dev.txt"
    path.write_bytes(WIKI.encode().replace(b"``", b"\xff\xfe"))
    with pytest.raises(InputError, match=r"wiki-dev.txt line 3: not UTF-8 \(byte 3\)"):
        agreement.read(path)
    kept = agreement.read(path, skip_bad=True)["wiki-dev"]
    assert len(kept) == 3 and kept.skipped == ("line 3: not UTF-8 (byte 3)",)
    path.write_bytes(WIKI.encode().replace(b"``", b"`" * 3_000_000))
    assert agreement.read(path, skip_bad=True)["wiki-dev"].skipped == ("line 3: longer than 1,000,000 bytes",)


@pytest.mark.parametrize("content", [b"", b"\n\n", lzma.compress(b""), b"\xff" * 2_000_000])
def test_files_without_text(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="holds no line of text"):
        agreement.read(tmp_path / "file")


def test_unknown_missing_and_damaged_files(tmp_path):
    (tmp_path / "notes.txt").write_text("some notes\n")
    with pytest.raises(InputError, match=r"notes.txt is none of the formats of agreement data \(wiki: table with sen"):
        agreement.read(tmp_path / "notes.txt")
    (tmp_path / "alone.text").write_text(TEXT)
    with pytest.raises(InputError, match="is none of the formats"):
        agreement.read(tmp_path / "alone.text")
    with pytest.raises(InputError, match="cannot read .*nowhere: No such file"):
        agreement.read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot read .*: Is a directory"):
        agreement.read(tmp_path)
    (tmp_path / "empty.txt").write_text(WIKI.split("\n")[0])
    with pytest.raises(InputError, match="empty.txt holds no row of agreement data"):
        agreement.read(tmp_path / "empty.txt")
    for pack in (gzip.compress, lzma.compress):
        (tmp_path / "cut").write_bytes(pack(WIKI.encode())[:-20])
        with pytest.raises(InputError, match="cannot read .*cut"):
            agreement.read(tmp_path / "cut", skip_bad=True)


def test_a_folder_gives_all_its_files_and_tells_equal_names_apart(tmp_path):
    for kind in ("wiki", "gulordava", "blimp"):
        put(tmp_path / "a", kind)
    put(tmp_path / "b", "wiki")
    (tmp_path / "b" / "wiki-dev.tsv").write_text(UD)
    (tmp_path / "b" / "README").write_text("notes")
    (tmp_path / "b" / "lone.gold").write_text(GOLD)
    found = agreement.read_folder(tmp_path)
    assert sorted(found) == [
        *("a/wiki-dev", "b/wiki-dev.tsv/wiki-dev", "b/wiki-dev.txt/wiki-dev"),
        *("blimp-one", "blimp-two", "subj_agr_filtered"),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no agreement data in .*; the formats are wiki, "):
        agreement.read_folder(tmp_path / "empty")
    with pytest.raises(InputError, match="no folder"):
        agreement.read_folder(tmp_path / "nowhere")


@real
def test_the_genuine_sets_have_the_counts_of_their_makers():
    home = Path(os.environ["DISTILLBIAS_DATA"])
    parts = {n: p for name in agreement.available(home) for n, p in agreement.load_set(name, home).items()}
    sizes = {"wiki-train": 50_000, "wiki-dev": 1_000, "wiki-test": 4_000, "numpred-val": 12_135, "gulordava": 7_489}
    sizes |= {"numpred-1": 50_127, "numpred-2": 8_905, "numpred-3": 1_957, "numpred-4": 536, "numpred-5": 151}
    sizes |= {"ud-ewt": 3_414, "ud-craft": 12_430, "ud-partut": 892, "ud-lines": 840, "ud-pud": 358}
    assert {name: len(parts[name]) for name in sizes} == sizes
    shares = {"wiki-train": 0.683, "wiki-dev": 0.659, "wiki-test": 0.675, "numpred-val": 0.684, "numpred-1": 0.418}
    shares |= {"numpred-2": 0.235, "numpred-3": 0.151, "numpred-4": 0.071, "numpred-5": 0.079}
    for name, share in shares.items():
        assert abs(1 - parts[name].plural.mean() - share) < 0.0006
    assert np.bincount(parts["gulordava"].facts["attractors"]).tolist() == [1972, 1957, 1943, 1287, 330]
    assert np.bincount(parts["ud-ewt"].facts["attractors"].clip(max=5)).tolist() == [3158, 159, 52, 25, 6, 14]
    assert np.bincount(parts["ud-craft"].facts["attractors"].clip(max=5)).tolist() == [9786, 1487, 624, 253, 119, 161]
    assert abs(parts["wiki-train"].facts["distance"].mean() - 2.47) < 0.01
    kinds = Counter(name.partition("-")[0] for name in parts)
    assert (kinds["blimp"], kinds["marvin"], kinds["lakretz"]) == (6, 15, 7)
    assert sum(len(part) for name, part in parts.items() if name.startswith("marvin")) == 121_220
    assert sum(len(part) for name, part in parts.items() if name.startswith("blimp")) == 6_000 - 3  # participles
    pairs = agreement.verb_pairs([parts["wiki-train"]])
    assert pairs["is"] == "are" and pairs["uses"] == "use" and not pairs.keys() & set(pairs.values())


@real
def test_an_import_of_the_genuine_sets_is_the_same_data(tmp_path):
    home = Path(os.environ["DISTILLBIAS_DATA"])
    agreement.import_agreement(home / "sva_linzen_gulordava", tmp_path)
    assert agreement.available(tmp_path) == ["gulordava"]
    before, after = (agreement.load_set("gulordava", place)["gulordava"] for place in (home, tmp_path))
    assert fingerprint(before) == fingerprint(after)
