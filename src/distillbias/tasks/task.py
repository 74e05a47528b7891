"""The contract of a task: data in, examples with tags out. Read this file first.

A task knows its data and what counts as right; it knows no model. Whatever a model must be told
of the task is in its `Spec`; whatever a score may later be cut by is in the tags of its examples.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from distillbias.errors import InputError

# Metadata of a field that a later version added: at its default it is no part of a run's name, so old runs keep theirs.
ADDED = {"added": True}


def check_share(share: float) -> None:
    """Refuse a share of the training set that is none.

    Raises:
        InputError: not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InputError(f"share of the training set is {share}; it must be above 0 and at most 1")


@dataclass(frozen=True)
class Spec:
    """All that a model is told of its task."""

    shape: tuple[int, ...]  # of one input: (28, 28) for an image, () for words, whose number varies
    classes: int  # 10 digits, 2 numbers of a verb, the whole vocabulary for a language model
    vocabulary: int = 0  # words as ids below this; 0 where inputs are no words


@dataclass(frozen=True, eq=False)
class Examples:
    """A set of examples. Rows of all members belong together; `ids` name an example whatever the row order.

    `tags` are what scores can be sliced by, e.g. {"corruption": "scale", "severity": 3}; one value a set.
    `columns` are the same with a value for each example, e.g. {"distance": [n]}; -1 where it is not known.
    `origin` says in words where the examples came from, `fingerprint` is a hash of their bytes.
    """

    inputs: np.ndarray  # [n, *shape], uint8 for images; [n, longest] int32 for words, 0 after the last
    labels: np.ndarray  # [n], int64
    ids: np.ndarray  # [n], int64
    origin: str
    fingerprint: str
    tags: dict[str, str | int] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


class Splits(NamedTuple):
    """`validation` is cut from the training set and may be empty; `tests` are touched once, at the end of a run.

    `vocabulary` is the word of each id, for tasks with words.
    """

    train: Examples
    validation: Examples
    tests: dict[str, Examples]
    vocabulary: tuple[str, ...] = ()


class Outside(NamedTuple):
    """Examples that are no part of a study, by slice; `skipped` are the bad rows left out, one line each."""

    slices: dict[str, Examples]
    skipped: tuple[str, ...] = ()


@runtime_checkable
class Task(Protocol):
    """A task is a frozen dataclass: its fields decide the data, so they are part of a run's name."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> Spec: ...

    @property
    def headline(self) -> dict[str, str]:
        """The test sets of the headline table: {short name of the column: name of the test set}.

        Representations are compared on a sample of each.
        """
        ...

    @property
    def path(self) -> str | None:
        """The test set on which training paths are compared; None where they are not."""
        ...

    def __hash__(self) -> int: ...

    def load(self, data: Path | None) -> Splits:
        """Read the examples; `data` is where data sets live (None: the default place)."""
        ...

    def read(self, path: Path, vocabulary: tuple[str, ...], skip_bad: bool) -> Outside:
        """Examples from outside, in any format that the task knows, for a model with this vocabulary.

        Raises:
            InputError: unknown format, damaged, or a bad row (unless `skip_bad`).
        """
        ...
