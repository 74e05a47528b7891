"""JSON, tensors and tables, read as if a stranger had written them: no code runs, errors are one line.

`what` names the file in errors.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load

from distillbias.data.files import expansion_limit
from distillbias.errors import InputError

MOST_VALUES = 2**26  # of a table: a run of equal values takes no room on disk, but 8 bytes each in memory
LIMIT = 2**30  # bytes of a table, unpacked


@contextmanager
def _readable(what: str, *errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{what} cannot be read: {reason or type(error).__name__}") from error


def read_json(data: bytes, what: str) -> Any:
    """The value in the JSON text `data`. Raises InputError if it is none, or too deep."""
    with _readable(what, ValueError, RecursionError):
        return json.loads(data.decode())


def read_tensors(data: bytes, what: str) -> dict[str, np.ndarray]:
    """The arrays of the safetensors file `data`. Raises InputError if it is none, or holds types NumPy has not."""
    with _readable(what, SafetensorError, KeyError, TypeError, ValueError):
        return load(data)


def read_table(data: bytes, columns: Sequence[str] | None, what: str) -> pa.Table:
    """The given columns (None: all) of the Parquet file `data`.

    Raises:
        InputError: no whole Parquet file, a column that is not there, texts that are not dictionary-encoded, more than
            MOST_VALUES values, or pages that say that they expand beyond `expansion_limit`.
    """
    with _readable(what, pa.ArrowException, OSError, ValueError, KeyError, OverflowError):
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            about, schema = file.metadata, file.schema_arrow
            groups = [about.row_group(group) for group in range(about.num_row_groups)]
            rows = max(about.num_rows, sum(group.num_rows for group in groups))
            values = rows * sum(_values(field.type) for field in schema)  # not of the columns' metadata: it may abort
            size, limit = sum(group.total_byte_size for group in groups), expansion_limit(len(data), LIMIT)
            if values > MOST_VALUES or size > limit:
                raise ValueError(f"{values:,} values in {size:,} bytes; at most {MOST_VALUES:,} in {limit:,} can be")
            missing = [name for name in columns or () if name not in schema.names]
            if missing:
                raise ValueError(f"no column {missing[0]!r} among {', '.join(schema.names)}")
            long = [field.name for field in schema if not _bounded(field.type)]
            if long:
                raise ValueError(f"column {long[0]!r} has neither numbers nor texts of a dictionary")
            table = file.read(columns=None if columns is None else list(columns))
            table.validate(full=True)
    return table


def _values(kind: pa.DataType) -> int:
    """How many values a row has in a column of this type."""
    return max(1, kind.list_size) * _values(kind.value_type) if pa.types.is_fixed_size_list(kind) else 1


def _bounded(kind: pa.DataType) -> bool:
    """Whether a value takes a fixed number of bytes: a text beside each row could be one long one a million times."""
    if pa.types.is_fixed_size_list(kind):
        return _bounded(kind.value_type)
    return pa.types.is_primitive(kind) or pa.types.is_dictionary(kind)
