"""Every reader of bytes from outside, with what it is fed and the laws that an accepted input keeps.

A reader raises InputError, or what it returns keeps its promises; anything else is a fault.
"""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save
from tests.data.test_agreement_fuzz import keep_their_promises
from tests.fuzz import corpus
from tests.fuzz.corpus import Files
from tests.fuzz.mutate import mutated

from distillbias.data import agreement, cache, published
from distillbias.data.files import gunzip
from distillbias.data.mnist import read_idx, write_idx
from distillbias.data.outside import read_slices
from distillbias.data.published import read_npy
from distillbias.data.records import read_json, read_table, read_tensors
from distillbias.data.sentences import fingerprint
from distillbias.data.vocabulary import SPECIALS, Vocabulary, read_words
from distillbias.studies.packing import unpack
from distillbias.studies.store import Store

Wrap = Callable[[Files, Random], Files]


class Reader(NamedTuple):
    """`seeds` are changed, then packed by `wrap`, or packed, then changed; `read` is given the files in a folder.

    `bombs` are slow, so they are `RARE`.
    """

    seeds: Callable[[], list[Files]]
    read: Callable[[Files, Path], None]
    wrap: Wrap | None = None
    written: bool = True  # whether `read` needs the files on disk
    bombs: Callable[[], list[Files]] = list


RARE = 0.002


def case(reader: Reader, seeds: list[Files], bombs: list[Files], random: Random) -> Files:
    """One input: a seed with one of its files changed; one in fifty as it is. Rarely a bomb, as it is."""
    if bombs and random.random() < RARE:
        return random.choice(bombs)
    files = dict(random.choice(seeds))
    early = reader.wrap is None or random.random() < 0.6
    if not early and reader.wrap:
        files = reader.wrap(files, random)
    if random.random() < 0.98:
        name = random.choice(list(files))
        others = [data for seed in random.choices(seeds, k=2) for data in seed.values()]
        files[name] = mutated(files[name], others, random)
    return reader.wrap(files, random) if early and reader.wrap and random.random() < 0.8 else files


def written(files: Files, folder: Path) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _first(files: Files) -> bytes:
    return next(iter(files.values()))


def _idx(files: Files, folder: Path) -> None:
    array = read_idx(_first(files), "x")
    assert array.dtype == np.uint8 and write_idx(array) == _first(files)


def _npy(files: Files, folder: Path) -> None:
    array = read_npy(_first(files), "x")
    again = read_npy(corpus.npy(array), "again")
    assert array.dtype.kind in "biufU" and array.nbytes < len(_first(files))
    assert again.dtype == array.dtype and again.shape == array.shape and again.tobytes() == array.tobytes()


def _gunzip(files: Files, folder: Path) -> None:
    content = gunzip(_first(files), 2**20, "x")
    assert len(content) <= 2**20 and content == gzip.decompress(_first(files))


def _zip(files: Files, folder: Path) -> None:
    name = f"fog/{published.LABELS}"
    found = published.from_zip(io.BytesIO(_first(files)), "x")(name)
    assert found is None or len(found) <= published.LIMITS[published.LABELS]


def _slices(path: Path) -> None:
    found = read_slices(path)
    assert found and len(found) <= 4001
    for name, images in found.items():
        assert name.isprintable() and 0 < len(name) <= 100
        assert images.pixels.dtype == np.uint8 and images.pixels.shape == (len(images.labels), 28, 28)
        assert images.labels.dtype == np.int64 and len(images.labels)
        assert 0 <= images.labels.min() and images.labels.max() <= 9
    assert all(np.array_equal(part.pixels, found[name].pixels) for name, part in read_slices(path).items())


def _sentences(files: Files, folder: Path) -> None:
    path = folder / next(iter(files))
    for skip_bad in (True, False):
        found = agreement.read(path, skip_bad)
        for rows in found.values():
            keep_their_promises(rows)
            assert skip_bad or not rows.skipped
    again = agreement.read(path)
    assert {name: fingerprint(rows) for name, rows in again.items()} == {
        n: fingerprint(rows) for n, rows in found.items()
    }


def _import(name: str) -> Callable[[Files, Path], None]:
    def read(files: Files, folder: Path) -> None:
        home = folder.parent / f"{folder.name}-home"
        before = _paths(folder)
        try:
            kept = cache.import_folder(name, folder, home, skip_bad=True)
        finally:
            assert _paths(folder) == before and not (folder.parent / "evil").exists()
        assert kept and all(path.is_file() and path.resolve().is_relative_to(home.resolve()) for path in kept)
        for part in agreement.available(home):
            for rows in agreement.load_set(part, home, skip_bad=True).values():
                keep_their_promises(rows)

    return read


def _paths(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def _words(files: Files, folder: Path) -> None:
    words = read_words(_first(files), "x")
    assert words[:4] == SPECIALS and len(set(words)) == len(words) and all(isinstance(word, str) for word in words)
    encoded = Vocabulary(words).encode([words[4:]], end=True)
    assert encoded.tolist() == [[*range(4, len(words)), 3]]


def _json(files: Files, folder: Path) -> None:
    read_json(_first(files), "x")


def _tensors(files: Files, folder: Path) -> None:
    found = read_tensors(_first(files), "x")
    again = read_tensors(save(found), "again")
    assert found.keys() == again.keys() and sum(values.nbytes for values in found.values()) <= len(_first(files))
    for name, values in found.items():
        assert again[name].dtype == values.dtype and again[name].shape == values.shape
        assert again[name].tobytes() == values.tobytes()


def _table(files: Files, folder: Path) -> None:
    table = read_table(_first(files), None, "x")
    out = io.BytesIO()
    try:
        pq.write_table(table, out)
    except pa.ArrowNotImplementedError:  # a type that can be read and not be written
        return
    assert len(read_table(out.getvalue(), table.column_names[:1], "again")) == len(table)


def _unpack(files: Files, folder: Path) -> None:
    store = Store(folder.parent / f"{folder.name}-store")
    unpack(folder, store)
    for path in sorted((store.root / "runs").iterdir()):
        record = store.find(path.name)
        assert record.run.name == path.name and not store.damaged(record.run)
        for test, about in record.facts["tests"].items():
            predictions = record.predictions(test)
            assert len(predictions.labels) == len(predictions.logits) == about["n"]
            assert ((predictions.labels >= 0) & (predictions.labels < predictions.logits.shape[1])).all()
    assert not (folder.parent / "evil").exists()


def _one(*contents: bytes) -> Callable[[], list[Files]]:
    return lambda: [{"file": content} for content in contents]


def _pack_some(files: Files, random: Random) -> Files:
    """Each file plain, .gz or .xz, told by content."""
    return {name: corpus.packed(data, random) if random.random() < 0.7 else data for name, data in files.items()}


def _gz(files: Files, random: Random) -> Files:
    return {f"{name}.gz": gzip.compress(data, 1) for name, data in files.items()}


def _agreement(kind: str) -> Reader:
    files = corpus.agreement_files(kind)

    def bombs() -> list[Files]:
        """Of good lines after the first ones, of blank ones and of bad ones."""
        found = []
        for name, data in files.items():
            *_, line = data.splitlines(keepends=True)
            found += [files | {name: bomb} for line in (line, b"\n", b"x\n") for bomb in corpus.bombs(data, line)]
        return found

    return Reader(lambda: [files], _sentences, _pack_some, bombs=bombs)


def _runs(name: str) -> Callable[[], list[Files]]:
    return lambda: [{"file": data} for path, data in corpus.packed_run().items() if path.endswith(name)]


READERS: dict[str, Reader] = {
    "idx": Reader(_one(*corpus.IDX), _idx, written=False),
    "npy": Reader(_one(*corpus.NPY * 8, *corpus.HEADERS), _npy, written=False),
    "gzip": Reader(_one(corpus.IDX[0], b""), _gunzip, lambda f, r: {"file": gzip.compress(_first(f), 1)}, False),
    "zip": Reader(
        lambda: [{f"fog/{published.LABELS}": corpus.NPY[1]}], _zip, lambda f, r: {"x": corpus.zipped(f, r)}, False
    ),
    "npz": Reader(
        lambda: [corpus.arrays()] * 20 + [corpus.arrays() | {"writer.npy": bad} for bad in corpus.HEADERS],
        lambda files, folder: _slices(folder / next(iter(files))),
        lambda files, random: {"d.npz": corpus.zipped(files, random)},
        bombs=lambda: [{"d.npz": bomb} for bomb in corpus.zip_bombs()],
    ),
    "image folders": Reader(lambda: [corpus.image_folder()], lambda files, folder: _slices(folder)),
    "idx folders": Reader(lambda: [corpus.idx_folder()], lambda files, folder: _slices(folder), _gz),
    **{f"agreement {kind}": _agreement(kind) for kind in agreement.FORMATS},
    "import agreement": Reader(lambda: [corpus.all_agreement()], _import("agreement"), _pack_some),
    "import mnist": Reader(
        lambda: [{n.replace("t10k", part): d for part in ("t10k", "train") for n, d in corpus.idx_folder().items()}],
        _import("mnist"),
    ),
    "import mnist_c": Reader(
        lambda: [{f"mnist_c/{name}": data for name, data in corpus.image_folder().items()}],
        _import("mnist_c"),
        lambda files, random: {"mnist_c.zip": corpus.zipped(files, random)},
    ),
    "vocabulary": Reader(_one(corpus.VOCABULARY), _words, written=False),
    "json": Reader(_runs("record.json"), _json, written=False),
    "safetensors": Reader(_runs("safetensors"), _tensors, written=False),
    "parquet": Reader(_runs("parquet"), _table, None, False, lambda: [{"file": bomb} for bomb in corpus.table_bombs()]),
    "packed runs": Reader(lambda: [corpus.packed_run()], _unpack, lambda files, random: corpus.resealed(files)),
}
