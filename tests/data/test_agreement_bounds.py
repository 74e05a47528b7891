"""What agreement data may not do to time and memory."""

import gzip
from pathlib import Path

import pytest
from tests.data.agreement_samples import WIKI

from distillbias.data import agreement, files
from distillbias.errors import InputError


def lines_of(path: Path, first: str, line: str, size: int = 2**21) -> Path:
    """A file of a few kB that expands to `first` and `size` bytes of `line`."""
    path.write_bytes(gzip.compress((first + line * (size // len(line))).encode(), 6))
    return path


@pytest.mark.parametrize("line", ["the key\t0\t1\tVBZ\tkey\tkeys\n", "\n", "a" * 999 + " "])
def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, line, monkeypatch):
    monkeypatch.setattr(files, "ROOM", 2**16)  # a smaller bomb shows the same in less time
    path = lines_of(tmp_path / "wiki.txt.gz", WIKI, line)
    with pytest.raises(InputError, match="wiki.txt.gz expands to more than a genuine copy can have"):
        agreement.read(path)


def test_bad_rows_are_skipped_up_to_a_number(tmp_path):
    (tmp_path / "wiki.txt").write_text(WIKI + "x\n" * 100_000)
    assert len(next(iter(agreement.read(tmp_path / "wiki.txt", skip_bad=True).values())).skipped) == 100_000
    (tmp_path / "wiki.txt").write_text(WIKI + "x\n" * 100_001)
    with pytest.raises(InputError, match="wiki.txt has more than 100,000 bad rows, the last is line 100006"):
        agreement.read(tmp_path / "wiki.txt", skip_bad=True)


def test_lines_wait_for_their_partner_up_to_a_number(tmp_path):
    text = "".join(f"The man sees\tsingular\tcorrect\tid{number}\n" for number in range(100_001))
    (tmp_path / "lakretz.txt").write_text(text)
    with pytest.raises(InputError, match="line 100001: more than 100,000 lines wait"):
        agreement.read(tmp_path / "lakretz.txt")


def test_a_sentence_has_at_most_a_thousand_words(tmp_path):
    for count, taken in ((1000, True), (1001, False)):
        (tmp_path / "numpred").write_text("VBP\t" + " ".join(["keys"] * count) + "\n")
        if taken:
            assert len(agreement.read(tmp_path / "numpred")["numpred"].words[0]) == count
        else:
            with pytest.raises(InputError, match="a sentence of 1,001 words; at most 1,000"):
                agreement.read(tmp_path / "numpred")


def test_blank_lines_before_the_first_cost_no_time(tmp_path):
    (tmp_path / "wiki.txt").write_text("\n" * 990 + WIKI)
    assert "wiki" in agreement.read(tmp_path / "wiki.txt")
    (tmp_path / "wiki.txt").write_text("\n" * 1000 + WIKI)
    with pytest.raises(InputError, match="holds no line of text"):
        agreement.read(tmp_path / "wiki.txt")
