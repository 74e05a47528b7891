"""What a finished run left on disk: its facts, its predictions, its activations, its weights."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from distillbias.data.records import read_json
from distillbias.studies.files import write_whole
from distillbias.studies.run import Run, from_json
from distillbias.tasks.task import Examples

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
ACTIVATIONS = "activations.safetensors"
WEIGHTS = "weights.safetensors"
VOCABULARY = "vocabulary.json"


@dataclass(frozen=True)
class Predictions:
    """One row per example of a test set."""

    ids: np.ndarray  # [n]
    labels: np.ndarray  # [n]
    logits: np.ndarray  # [n, classes], float32
    tags: dict[str, str | int]
    columns: dict[str, np.ndarray]  # {column: [n] int32}, -1 where it is not known


class Record:
    """What a finished run left; files are read when asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def facts(self) -> dict[str, Any]:
        return read_json((self.folder / RECORD).read_bytes(), str(self.folder / RECORD))

    @cached_property
    def run(self) -> Run:
        return from_json(self.facts["run"])

    def score(self, test: str, metric: str) -> float:
        return self.facts["scores"][test][metric]

    def predictions(self, test: str) -> Predictions:
        path, wanted = self.folder / PREDICTIONS, [("test", "==", test)]
        facts = self.facts["tests"][test]
        columns = facts.get("columns", [])
        table = pq.read_table(path, columns=["id", "label", "logits", *columns], filters=wanted)
        logits = table["logits"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1).astype(np.float32)
        labels = table["label"].to_numpy().astype(np.int64)
        known = {column: table[column].to_numpy() for column in columns}
        return Predictions(table["id"].to_numpy(), labels, logits, facts["tags"], known)

    @cached_property
    def _activations(self) -> dict[str, np.ndarray]:
        return load_file(self.folder / ACTIVATIONS)

    def activations(self, test: str) -> np.ndarray:
        """Penultimate activations [sample, width] of the fixed sample, after training."""
        return self._activations[f"final/{test}"].astype(np.float32)

    def stages(self) -> np.ndarray:
        """Penultimate activations [stages, sample, width] along training, from the initial weights on."""
        return self._activations["stages"].astype(np.float32)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The word of each id; empty for a task without words."""
        path = self.folder / VOCABULARY
        return tuple(json.loads(path.read_text())) if path.exists() else ()

    def weights(self) -> dict[str, np.ndarray]:
        return load_file(self.folder / WEIGHTS)


def write_predictions(path: Path, tests: dict[str, Examples], logits: dict[str, np.ndarray]) -> None:
    """One row per example and test set; the tags are columns, so that any tool can slice by them."""
    tables = []
    for name, examples in tests.items():
        count, classes = logits[name].shape
        flat = pa.array(logits[name].reshape(-1), pa.float32())
        columns = {
            "test": pa.array([name] * count).dictionary_encode(),
            **{tag: pa.array([value] * count).dictionary_encode() for tag, value in examples.tags.items()},
            **{column: pa.array(values, pa.int32()) for column, values in examples.columns.items()},
            "id": pa.array(examples.ids, pa.int32()),
            "label": pa.array(examples.labels, pa.uint8()),
            "logits": pa.FixedSizeListArray.from_arrays(flat, classes),
        }
        tables.append(pa.table(columns))
    table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    write_whole(path, lambda part: pq.write_table(table, part, compression="zstd"))
