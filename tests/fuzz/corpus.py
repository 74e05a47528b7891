"""What is changed: one small good file of every kind, and some that are hostile as they are."""

import gzip
import hashlib
import io
import json
import lzma
import tempfile
import warnings
import zipfile
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save
from tests import tiny
from tests.data.agreement_samples import FILES

from distillbias.data.mnist import write_idx
from distillbias.data.published import IMAGES, LABELS
from distillbias.data.vocabulary import SPECIALS
from distillbias.studies.files import write_json
from distillbias.studies.packing import PACKED, pack
from distillbias.studies.record import ACTIVATIONS, RECORD, write_predictions
from distillbias.studies.record import PREDICTIONS as TABLE
from distillbias.studies.run import to_json
from distillbias.studies.store import DONE, Store
from distillbias.studies.study import Study

Files = dict[str, bytes]  # path -> content

SET = tiny.examples(12)
PIXELS, DIGITS = SET.inputs, SET.labels
TAGS = {"writer": np.arange(12) % 3, "size": np.repeat([0.5, np.nan], 6), "kind": np.array(["fog", "none"] * 6)}
BOMB = 2**26  # bytes that come out of a bomb


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def header(text: str, body: bytes = b"") -> bytes:
    """A .npy file with a header of one's own."""
    line = text.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + body


def _said(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


HEADERS = (
    *(header(_said("'|u1'", shape)) for shape in ("(0, 2**70)", f"(0, {2**70})", f"(0, {2**62}, 4)", "(-1, -1)")),
    *(header(_said("'|u1'", shape)) for shape in (f"(0x{'f' * 6000},)", f"({'1, ' * 70})", "(True,)", "(1.0,)")),
    *(header(_said(descr, "(1,)"), b"x" * 8) for descr in ("()", "('|u1',)", "{}", "None", "'|O'", "[('a', '|O')]")),
    *(header(_said("'<U0'", f"({10**12},)")), header(_said("'<U1'", "(1,)"), b"\xff\xff\xff\x7f")),
    *(header("(" * 3000), header("-" * 9000 + "1"), header("[1]"), header("{1: 2}"), header("\0")),
)
IDX = (
    *(write_idx(PIXELS), write_idx(DIGITS.astype(np.uint8)), bytes((0, 0, 8, 4)) + b"\0" * 4 + b"\xff" * 12),
    *(bytes((0, 0, 8, 1)) + b"\xff" * 4, bytes((0, 0, 8, 255)) + b"\0\0\0\1" * 255 + b"x"),
)
NPY = (npy(PIXELS), npy(DIGITS), npy(TAGS["kind"]), npy(np.asfortranarray(PIXELS)), npy(np.float64(1.0)))
VOCABULARY = json.dumps([*SPECIALS, "the", "keys", "[red]", "=1+1", "\ud800", "İ"]).encode()


def zipped(files: Files, random: Random) -> bytes:
    """A zip archive of `files`, now and then with a member of a nasty name, or the same one twice."""
    members, method = list(files.items()), random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    if random.random() < 0.2:  # members that want to be elsewhere, or to be two, or to colour the terminal
        name, data = random.choice(members)
        members.append((random.choice(("../../evil.npy", "/evil.npy", "a\n[red].npy", "[/].npy", name)), data))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method, compresslevel=1) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name comes twice
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def packed(data: bytes, random: Random) -> bytes:
    return random.choice((gzip.compress(data, 1), lzma.compress(data, preset=0)))


@cache
def bombs(first: bytes, line: bytes) -> list[bytes]:
    """Files of some 100 kB that expand to `first` and BOMB bytes of `line`."""
    content = first + line * (BOMB // len(line))
    return [gzip.compress(content, 6), lzma.compress(content, preset=1)]


def zip_bombs() -> list[bytes]:
    """An array of BOMB bytes in 130 kB; one whose entry says that it is short; one of a method without a limit."""
    found = []
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            archive.writestr("images.npy", bytes(BOMB))
        found.append(out.getvalue())
    lying = bytearray(found[0])
    entry = lying.index(b"PK\x01\x02")
    lying[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    return [*found, bytes(lying)]


def table_bombs() -> list[bytes]:
    """Many equal numbers, one long text many times, one page of much."""
    texts = pa.array(["a" * 2**16] * 2**12)
    found = []
    for column in (pa.array(np.zeros(2**26 + 1, np.int8)), texts, texts.dictionary_encode(), pa.array(["a" * BOMB])):
        out = io.BytesIO()
        pq.write_table(pa.table({"x": column}), out, compression="zstd")
        found.append(out.getvalue())
    return found


def arrays() -> Files:
    return {"images.npy": npy(PIXELS), "labels.npy": npy(DIGITS)} | {f"{tag}.npy": npy(v) for tag, v in TAGS.items()}


def image_folder() -> Files:
    return {
        f"{name}/{file}": npy(part) for name in ("fog", "[red]") for file, part in ((IMAGES, PIXELS), (LABELS, DIGITS))
    }


def idx_folder() -> Files:
    return {"t10k-images-idx3-ubyte": IDX[0], "t10k-labels-idx1-ubyte": IDX[1]}


def agreement_files(kind: str) -> Files:
    return {name: text.encode() for name, text in FILES[kind].items()}


def all_agreement() -> Files:
    return {name: data for kind in FILES for name, data in agreement_files(kind).items()}


def packed_run() -> Files:
    """A packed run, made by hand: a real record without the training."""
    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place) / "store")
        folder = store.start(tiny.ALONE)
        logits = np.random.default_rng(0).normal(size=(len(SET), 10)).astype(np.float32)
        tests = {
            name: {"n": len(SET), "origin": "noise", "fingerprint": "0", "tags": {}, "columns": []} for name in "ab"
        }
        facts = {
            "label": tiny.ALONE.label,
            "run": to_json(tiny.ALONE),
            **{"parameters": 1, "teacher": None, "weights": "0", "train": tests["a"], "losses": [0.5]},
            **{"scores": {name: {"n": len(SET), "accuracy": 0.5} for name in "ab"}, "tests": tests},
            "seconds": {"preparing": 1.0, "training": 1.0, "evaluating": 1.0},
            "provenance": {"commit": "0", "device": "a", "threads": 1, "torch": "2", "python": "3"}
            | {"peak_megabytes": 1, "began": 0.0, "ended": 1.0},
        }
        write_json(folder / RECORD, facts)
        write_predictions(folder / TABLE, {"a": SET, "b": SET}, {"a": logits, "b": logits})
        (folder / ACTIVATIONS).write_bytes(save({"final/a": logits, "stages": logits[None]}))
        store.finish(tiny.ALONE)
        pack(Study("vision", "tiny", "Why?", {"MLP": (tiny.ALONE,)}), store, Path(place))
        found = sorted((Path(place) / PACKED / tiny.ALONE.name).iterdir())
        return {f"{PACKED}/{path.parent.name}/{path.name}": path.read_bytes() for path in found}


def resealed(files: Files) -> Files:
    """With the checksums that a stranger would put beside changed files."""
    (done,) = (name for name in files if name.endswith(DONE))
    folder = done.removesuffix(DONE)
    sums = {name.removeprefix(folder): hashlib.sha256(data).hexdigest() for name, data in files.items() if name != done}
    return files | {done: json.dumps(sums).encode()}
