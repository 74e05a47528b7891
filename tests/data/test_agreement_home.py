import gzip
import lzma
from pathlib import Path

import pytest
from tests.data.agreement_samples import FILES, GOLD, TEXT, WIKI

from distillbias.data import agreement
from distillbias.data.sentences import fingerprint
from distillbias.errors import InputError

IMPORTED = ["wiki-dev", "numpred-2", "gulordava", "ud-ewt", "blimp", "marvin-linzen", "lakretz", "full"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a file of every format."""
    folder = tmp_path / "source"
    folder.mkdir()
    for texts in FILES.values():
        for name, text in texts.items():
            (folder / name).write_text(text)
    return folder


def everything(home: Path) -> dict[str, str]:
    sets = [agreement.load_set(name, home) for name in agreement.available(home)]
    return {name: fingerprint(part) for found in sets for name, part in found.items()}


def test_an_import_puts_every_set_in_its_place(source, tmp_path):
    home, again = tmp_path / "home", tmp_path / "again"
    written = agreement.import_agreement(source, home)
    assert agreement.available(home) == IMPORTED
    assert {path.relative_to(home).as_posix() for path in written} == {
        *("agreement/agr_50_mostcommon_10K.tsv", "sva_linzen_gulordava/subj_agr_filtered.gold"),
        *("sva_linzen_gulordava/subj_agr_filtered.text", "sva_linzen_numpred/numpred.test.2", "sva_ud_gold/ewt.tsv"),
        *("sva_nlu_wiki/wiki-dev.txt", "templates_blimp/some.jsonl", "templates_lakretz/nounpp.txt"),
        "templates_marvin_linzen/lm_syneval_sva.tsv",
    }
    names = ["wiki-dev", "numpred-2", "gulordava", "ud-ewt", "blimp-one", "blimp-two", "marvin-linzen-prep_anim"]
    names += ["marvin-linzen-obj_rel_within_anim", "marvin-linzen-long_vp_coord", "lakretz-nounpp", "full"]
    assert list(everything(home)) == names
    agreement.import_agreement(home, again)
    agreement.import_agreement(home, home)  # does no harm
    assert everything(home) == everything(again)


def test_a_single_file_and_a_newer_copy_packed_otherwise(source, tmp_path):
    home = tmp_path / "home"
    agreement.import_agreement(source / "wiki-dev.txt", home)
    before = everything(home)
    newer = tmp_path / "wiki-dev.txt.xz"
    newer.write_bytes(lzma.compress("\n".join(WIKI.split("\n")[:2]).encode()))
    (written,) = agreement.import_agreement(newer, home)
    assert [path.name for path in written.parent.iterdir()] == ["wiki-dev.txt.xz"]
    assert len(agreement.load_set("wiki-dev", home)["wiki-dev"]) == 1 and everything(home) != before


def test_the_whole_table_may_have_any_name(tmp_path):
    (tmp_path / "copy.gz").write_bytes(gzip.compress(FILES["full"]["agr_50_mostcommon_10K.tsv"].encode()))
    (written,) = agreement.import_agreement(tmp_path / "copy.gz", tmp_path / "home")
    assert written == tmp_path / "home" / "agreement" / "agr_50_mostcommon_10K.tsv.gz"
    assert list(agreement.load_set("full", tmp_path / "home")) == ["full"]


def test_both_files_of_a_pair_are_imported_by_either(tmp_path):
    (tmp_path / "subj_agr_filtered.text").write_text(TEXT)
    (tmp_path / "subj_agr_filtered.gold").write_text(GOLD)
    written = agreement.import_agreement(tmp_path / "subj_agr_filtered.gold", tmp_path / "home")
    assert [path.suffix for path in written] == [".text", ".gold"]


def test_one_bad_row_stops_the_whole_import_unless_it_may_be_skipped(source, tmp_path):
    (source / "wiki-dev.txt").write_text(WIKI.replace("2\t4\tVBZ", "2\t9\tVBZ"))
    with pytest.raises(InputError, match="wiki-dev.txt line 3: verb position 9"):
        agreement.import_agreement(source, tmp_path / "home")
    assert not (tmp_path / "home").exists()
    agreement.import_agreement(source, tmp_path / "home", skip_bad=True)
    assert len(agreement.load_set("wiki-dev", tmp_path / "home", skip_bad=True)["wiki-dev"]) == 3


def test_what_cannot_be_imported(source, tmp_path):
    home = tmp_path / "home"
    with pytest.raises(InputError, match=r"no agreement set in .*: found clay.tsv \(clay\); the sets are wiki-train"):
        agreement.import_agreement(source / "clay.tsv", home)
    with pytest.raises(InputError, match="no folder"):
        agreement.import_agreement(tmp_path / "nowhere", home)
    (source / "wiki-dev.txt.gz").write_bytes(gzip.compress(WIKI.encode()))
    with pytest.raises(
        InputError, match="sva_nlu_wiki/wiki-dev.txt can be only one of .*wiki-dev.txt, .*wiki-dev.txt.gz"
    ):
        agreement.import_agreement(source, home)
    assert not home.exists()


def test_a_set_that_is_not_there_and_one_that_is_none(tmp_path):
    assert agreement.available(tmp_path) == []
    with pytest.raises(
        InputError, match=r"no wiki-dev in .*: looked for sva_nlu_wiki/wiki-dev.txt \(or .xz, .gz\); get"
    ):
        agreement.load_set("wiki-dev", tmp_path)
    with pytest.raises(
        InputError, match="looked for templates_blimp/; get it with `distillbias data import agreement D"
    ):
        agreement.load_set("blimp", tmp_path)
    with pytest.raises(InputError, match="unknown agreement set 'wiki'; the choices are wiki-train, wiki-dev, "):
        agreement.load_set("wiki", tmp_path)
