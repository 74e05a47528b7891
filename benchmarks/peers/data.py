"""The examples that all peers train on, as one file; noise of the right shape, or real data if they are given."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.peers.workloads import Workload

from distillbias.data import cache, mnist
from distillbias.data.vocabulary import BEGIN, END
from distillbias.studies.run import register
from distillbias.tasks.agreement_classification import AgreementClassification
from distillbias.tasks.agreement_lm import AgreementLM, NextWordExamples
from distillbias.tasks.task import Examples, Outside, Spec, Splits

ARRAYS = "arrays.npz"
FIRST_WORD = 4  # ids below are special
# Lengths of the 50,000 rows of wiki-train, encoded: every twentieth of them in order.
PREFIXES = (2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 7, 8, 9, 11, 12, 15, 18, 24, 48)
WHOLE = (6, 11, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24, 25, 27, 29, 30, 33, 35, 38, 43, 52)


@register
@dataclass(frozen=True)
class PeerTask:
    """The examples of a workload as a task of distillbias: the first `rows` of the file in the folder it is given."""

    workload: str
    rows: int
    shape: tuple[int, ...]
    classes: int
    vocabulary: int

    @property
    def name(self) -> str:
        return f"peers-{self.workload}"

    @property
    def spec(self) -> Spec:
        return Spec(self.shape, self.classes, self.vocabulary)

    @property
    def headline(self) -> dict[str, str]:
        return {"test": "test"}

    @property
    def path(self) -> None:
        return None

    def load(self, data: Path | None) -> Splits:
        assert data is not None, "peers share a folder"
        with np.load(data / ARRAYS) as arrays:
            train = self._examples(arrays["train"][: self.rows], arrays["labels"][: self.rows])
            test = self._examples(arrays["test"], arrays["test_labels"])
            nothing = self._examples(arrays["test"][:0], arrays["test_labels"][:0])
        return Splits(train, nothing, {"test": test})

    def read(self, path: Path, vocabulary: tuple[str, ...], skip_bad: bool = False) -> Outside:
        return Outside({})

    def _examples(self, inputs: np.ndarray, labels: np.ndarray) -> Examples:
        plain = Examples(inputs, labels, np.arange(len(inputs)), "for peers", f"{self.workload} {len(inputs)}")
        if self.classes != self.vocabulary:
            return plain
        unknown = np.full(len(inputs), -1, np.int32)
        columns = {"position": np.ones(len(inputs), np.int32), "singular": unknown, "plural": unknown}
        forms = np.array([[FIRST_WORD, FIRST_WORD + 1], [FIRST_WORD + 2, FIRST_WORD + 3]])
        return NextWordExamples(**(vars(plain) | {"columns": columns}), forms=forms)


def task_of(workload: Workload, rows: int) -> PeerTask:
    spec = workload.spec
    return PeerTask(workload.name, rows, spec.shape, spec.classes, spec.vocabulary)


def inputs_for(workload: Workload, home: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Training and test inputs, uint8 [n, 28, 28] or int32 [n, longest]: noise where `home` is None, else real ones."""
    if home is not None:
        train, test = _real(workload, cache.home(home))
        return train[: workload.rows], test[: workload.tests]
    random, count = np.random.default_rng(0), workload.rows + workload.tests
    if workload.spec.shape:
        made = random.integers(0, 256, (count, *workload.spec.shape), dtype=np.uint8)
    else:
        made = _sentences(random, count, WHOLE if workload.language else PREFIXES, workload)
    return made[: workload.rows], made[workload.rows :]


def _real(workload: Workload, home: Path) -> tuple[np.ndarray, np.ndarray]:
    if workload.spec.shape:
        train, test = mnist.load(home)
        return train.pixels, test.pixels
    kind = AgreementLM if workload.language else AgreementClassification
    splits = kind("wiki", words=workload.spec.vocabulary).load(home)
    return splits.train.inputs, splits.tests["wiki"].inputs


def _sentences(random: np.random.Generator, count: int, twentieths: tuple[int, ...], workload: Workload) -> np.ndarray:
    """Random words in rows of like lengths as real sentences, `<eos>` at the end, `<bos>` before whole ones."""
    shares = np.linspace(0, 1, len(twentieths))
    lengths = np.interp(random.random(count), shares, twentieths).astype(int)
    words = random.integers(FIRST_WORD, workload.spec.vocabulary, (count, max(twentieths)), dtype=np.int32)
    places = np.arange(words.shape[1])
    words[places == lengths[:, None] - 1] = END
    words[places >= lengths[:, None]] = 0
    if workload.language:
        words[:, 0] = BEGIN
    return words
