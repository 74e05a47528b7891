"""Finished runs made small enough to publish: what reports need, without the weights.

    distillbias pack agreement --scale laptop --out results/agreement-laptop
    distillbias unpack results/agreement-laptop

A packed run keeps its record, every prediction and a quarter of the sampled activations. Logits become float16
differences to the first class, which leaves probabilities as they are to about 1 in 1,000, and every answer. A study
goes on from packed runs as from any others, on another machine, too; a teacher whose students are still to come is
trained again, because its weights are not there.
"""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file
from safetensors.numpy import save as serialize

from distillbias.data.files import read_bounded
from distillbias.data.records import read_json
from distillbias.errors import InputError
from distillbias.studies.files import clear_errors, write_whole
from distillbias.studies.packed_record import check_record
from distillbias.studies.record import ACTIVATIONS, PREDICTIONS, RECORD
from distillbias.studies.run import Run, from_json
from distillbias.studies.store import DONE, Store, seal
from distillbias.studies.study import Study

PACKED = "packed"
KEPT = (RECORD, PREDICTIONS, ACTIVATIONS)
LIMIT = 2**27  # bytes of one packed file; real ones have some 100 kB
THINNED = 4  # of the sampled examples each fourth keeps its activations


def pack(study: Study, store: Store, out: Path) -> list[Run]:
    """Write every finished run of `study` to `out`/packed; what is there already and is whole stays."""
    done = [run for run in study.runs if store.done(run)]
    if not done:
        raise InputError(f"nothing to pack: no run of {study.title} is finished in {store.where}")
    for run in done:
        target = out / PACKED / run.name
        if not (target / DONE).exists():
            with clear_errors(out):
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir(parents=True)
            _pack_run(store.record(run).folder, target)
    return done


def _pack_run(source: Path, target: Path) -> None:
    record = (source / RECORD).read_bytes()
    write_whole(target / RECORD, lambda part: part.write_bytes(record))
    table = slim(pq.read_table(source / PREDICTIONS))
    write_whole(target / PREDICTIONS, lambda part: _write_small(table, part))
    tensors = {name: thin(values) for name, values in load_file(source / ACTIVATIONS).items()}
    write_whole(target / ACTIVATIONS, lambda part: part.write_bytes(serialize(tensors)))
    seal(target)


def thin(activations: np.ndarray) -> np.ndarray:
    """[..., sample, width]: every fourth example, in float16; what is packed already stays as it is."""
    if activations.dtype == np.float16:
        return activations
    return np.ascontiguousarray(activations[..., ::THINNED, :]).astype(np.float16)


def slim(table: pa.Table) -> pa.Table:
    """Logits as float16 differences to the first: all that probabilities depend on. Where rounding makes two largest
    ones equal, that of the answer is the next larger number: the first of equal ones would be taken for it."""
    column = table["logits"].combine_chunks()
    logits = column.flatten().to_numpy().reshape(table.num_rows, -1).astype(np.float32)
    less = (logits - logits[:, :1]).astype(np.float16)
    answers, told = logits.argmax(1), less.argmax(1)
    lost = np.flatnonzero(answers != told)
    less[lost, answers[lost]] = np.nextafter(less[lost, told[lost]], np.float16(np.inf))
    packed = pa.FixedSizeListArray.from_arrays(pa.array(less.reshape(-1)), less.shape[1])
    return table.set_column(table.schema.get_field_index("logits"), "logits", packed)


def _write_small(table: pa.Table, path: Path) -> None:
    encodings = {"id": "DELTA_BINARY_PACKED"}
    others = [name for name in table.column_names if name not in ("id", "logits")]
    pq.write_table(
        table, path, compression="zstd", compression_level=19, use_dictionary=others, column_encoding=encodings
    )


def unpack(folder: Path, store: Store) -> tuple[int, int]:
    """Copy packed runs into `store`; runs that are finished there stay. Returns how many were copied and how many
    were there.

    Nothing of a run is written before all of it was read and checked, and only what was read is written.

    Raises:
        InputError: no packed runs in `folder`, or one that is damaged, is not the run that its name says, or does not
            hold what reports read.
    """
    packed = sorted(path.parent for path in (folder / PACKED).glob(f"*/{DONE}"))
    if not packed:
        raise InputError(f"no packed runs in {folder}: looked for {PACKED}/*/{DONE}")
    copied = 0
    with store.alone():
        store.sweep()
        for source in packed:
            run, contents = open_packed(source)
            if store.done(run):
                continue
            target = store.start(run)
            with clear_errors(store.root):
                for name, content in contents.items():
                    (target / name).write_bytes(content)
            store.finish(run)
            copied += 1
    return copied, len(packed) - copied


def open_packed(folder: Path) -> tuple[Run, dict[str, bytes]]:
    """The run of a packed folder and its files, {name: content}, read once and checked as a stranger's.

    Raises:
        InputError: a link, a name that is no run's, a file too many, too few, too long or changed, or a record that
            reports could not read.
    """
    if folder.is_symlink() or not re.fullmatch("[0-9a-f]{12}", folder.name):
        raise InputError(f"{folder} is no packed run; its name has 12 hexadecimal digits and it is no link")
    sums = read_json(_content(folder / DONE), str(folder / DONE))
    if not isinstance(sums, dict) or set(sums) != set(KEPT):
        raise InputError(f"{folder} is no packed run; it holds {', '.join(KEPT)}")
    contents = {name: _content(folder / name) for name in KEPT}
    damaged = [name for name in KEPT if hashlib.sha256(contents[name]).hexdigest() != sums[name]]
    if damaged:
        raise InputError(f"{', '.join(damaged)} in {folder} is not what was packed; get the folder again")
    facts = read_json(contents[RECORD], str(folder / RECORD))
    run = _run(facts, folder)
    check_record(facts, contents, str(folder))
    return run, contents


def _content(path: Path) -> bytes:
    if path.is_symlink():
        raise InputError(f"{path} is a link; a packed run holds files only")
    return read_bounded(path, LIMIT)


def _run(facts: Any, folder: Path) -> Run:
    try:
        run = from_json(facts["run"])
        name = run.name
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{folder} is no packed run: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(run, Run) or name != folder.name:
        raise InputError(f"{folder} holds run {name}, of this version or of another; it must be called so")
    return run
