"""Whether the files of a packed run hold what reports read: asked once, when they come in."""

from typing import Any

import numpy as np
import pyarrow as pa

from distillbias.data.records import read_table, read_tensors
from distillbias.errors import InputError
from distillbias.studies.record import ACTIVATIONS, PREDICTIONS

NUMBER = (int, float)
# what reports ask of a record, besides its run; {str: x} is a dictionary of any names, "x?" may be missing
SHAPE: dict[str, Any] = {
    "label": str,
    "parameters": int,
    "losses": [NUMBER],
    "train": {"n": int, "origin": str, "fingerprint": str},
    "scores": {str: {str: NUMBER}},
    "tests": {str: {"n": int, "origin": str, "fingerprint": str, "tags": {str: (str, int)}, "columns?": [str]}},
    "seconds": {"preparing": NUMBER, "training": NUMBER, "evaluating": NUMBER},
    "speed?": {"examples_per_second": NUMBER, "processor": NUMBER, "words_per_second?": NUMBER},
    "provenance": {
        **{"commit": str, "device": str, "torch": str, "python": str},
        **{"peak_megabytes": int, "began": NUMBER, "ended": NUMBER, "precision?": str},
    },
}


def check_record(facts: Any, contents: dict[str, bytes], what: str) -> None:
    """Refuse a record whose facts, predictions or activations are not such as `studies.execute` writes.

    Args:
        facts: the content of record.json.
        contents: {file: bytes} of the other files.
        what: names the run in errors.

    Raises:
        InputError: a fact that is missing or of another type; a test set whose rows are not as many as it says, with a
            label outside its classes or a logit that is no finite number; activations of another kind.
    """
    _check_shape(facts, SHAPE, f"the record of {what}")
    if set(facts["tests"]) != set(facts["scores"]):
        raise InputError(f"the record of {what} has not scores of all its test sets")
    columns = {column for test in facts["tests"].values() for column in test.get("columns", [])}
    table = read_table(
        contents[PREDICTIONS], ("test", "id", "label", "logits", *sorted(columns)), f"{PREDICTIONS} of {what}"
    )
    _check_types(table, columns, f"{PREDICTIONS} of {what}")
    counts = {entry["values"]: entry["counts"] for entry in table["test"].cast(pa.string()).value_counts().to_pylist()}
    if counts != {name: test["n"] for name, test in facts["tests"].items() if test["n"]}:
        raise InputError(f"{PREDICTIONS} of {what} has not as many rows of each test set as its record says")
    for name, values in read_tensors(contents[ACTIVATIONS], f"{ACTIVATIONS} of {what}").items():
        axes = 3 if name == "stages" else 2
        if values.ndim != axes or values.dtype.kind != "f" or not np.isfinite(values).all():
            raise InputError(f"{name[:40]!r} in {ACTIVATIONS} of {what} is no finite array of {axes} axes")


def _check_shape(value: Any, shape: Any, what: str) -> None:
    if isinstance(shape, dict):
        known = {key: shape[key] for key in shape if isinstance(key, str) and not key.endswith("?")}
        wanted = isinstance(value, dict) and value.keys() >= known.keys()
        known |= {key.removesuffix("?"): shape[key] for key in shape if isinstance(key, str)}
        inner = [(part, known.get(key, shape.get(str)), key) for key, part in value.items()] if wanted else []
    elif isinstance(shape, list):
        wanted = isinstance(value, list)
        inner = [(part, shape[0], place) for place, part in enumerate(value)] if wanted else []
    else:
        wanted, inner = isinstance(value, shape) and not isinstance(value, bool), []
    if not wanted:
        raise InputError(f"{what} lacks a fact that reports need, or has another in its place")
    for part, inside, place in inner:
        if inside is not None:
            _check_shape(part, inside, f"{what}, {ascii(place)[:40]},")


def _check_types(table: pa.Table, columns: set[str], what: str) -> None:
    logits, test = table.schema.field("logits").type, table.schema.field("test").type
    texts = pa.types.is_dictionary(test) and pa.types.is_string(test.value_type)
    numbers = all(pa.types.is_integer(table.schema.field(name).type) for name in ("id", "label", *columns))
    lists = pa.types.is_fixed_size_list(logits) and pa.types.is_floating(logits.value_type) and logits.list_size > 0
    if not (texts and numbers and lists) or any(table[name].null_count for name in ("test", "id", "label", "logits")):
        raise InputError(f"{what} has other types than a test set, an id, a label and logits")
    values = table["logits"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    labels = table["label"].to_numpy()
    if len(values) != len(table) * logits.list_size or not np.isfinite(values).all():
        raise InputError(f"{what} has logits that are no finite numbers")
    if len(labels) and not (labels.min() >= 0 and labels.max() < logits.list_size):
        raise InputError(f"{what} has labels outside 0..{logits.list_size - 1}")
