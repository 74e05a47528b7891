import gzip
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillbias.data import files
from distillbias.data.catalogue import File
from distillbias.errors import InputError

CONTENT = bytes(range(256)) * 4
GENUINE = File("thing", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest())


@given(st.binary(max_size=3000))
def test_packing_can_be_undone_exactly_at_the_limit(content):
    assert files.gunzip(files.packed(content), len(content), "x") == content
    assert len(files.packed(content)) <= files.packed_limit(len(content))


def test_packing_names_no_time_and_no_file():
    header = files.packed(CONTENT)[:10]
    assert header[3] == 0 and header[4:8] == bytes(4)  # RFC 1952: flags (no name), time stamp
    assert gzip.decompress(files.packed(CONTENT)) == CONTENT


def test_a_bomb_is_stopped_at_the_limit():
    bomb = gzip.compress(bytes(50_000_000), 9)
    with pytest.raises(InputError, match="bomb: expands to more than the 1000 bytes"):
        files.gunzip(bomb, 1000, "bomb")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "cut short"),
        (lambda data: data[:20], "cut short"),
        (lambda data: data[:-8] + bytes(4) + data[-4:], "damaged gzip data"),
        (lambda data: data + b"more", "4 bytes follow the end"),
        (lambda data: b"\x1f\x8b" + bytes(30), "damaged gzip data"),
    ],
)
def test_damaged_gzip_is_named(damage, message):
    with pytest.raises(InputError, match=message):
        files.gunzip(damage(gzip.compress(CONTENT)), len(CONTENT), "x")


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda tail: files.GZIP_MAGIC + b"\x08" + tail))
def test_only_the_genuine_bytes_pass(data):
    with pytest.raises(InputError):
        files.verified(data, GENUINE, "noise")


def test_genuine_bytes_pass_packed_or_plain():
    assert files.verified(CONTENT, GENUINE, "x") == files.verified(gzip.compress(CONTENT), GENUINE, "x") == CONTENT
    with pytest.raises(InputError, match="SHA-256"):
        files.verified(CONTENT[::-1], GENUINE, "x")


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path):
    path = tmp_path / "huge"
    with path.open("wb") as handle:
        handle.truncate(1 << 40)  # sparse: a terabyte that takes no room
    with pytest.raises(InputError, match="huge: longer than 10 bytes"):
        files.read_bounded(path, 10)


def test_unreadable_and_unwritable_places_are_input_errors(tmp_path: Path):
    blocked = tmp_path / "a file"
    blocked.write_bytes(b"")
    with pytest.raises(InputError, match="cannot read"):
        files.read_bounded(tmp_path, 10)
    with pytest.raises(InputError, match="cannot make the folder"):
        files.write_atomically(blocked / "below" / "thing", CONTENT)
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="cannot write .*taken"):
        files.write_atomically(tmp_path / "taken", CONTENT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "taken"]  # no draft is left


def test_an_interrupted_write_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "thing"
    files.write_atomically(target, b"old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(target, b"new")
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]
