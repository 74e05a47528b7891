"""The quantities that claims compare, one value a trial, read off a study's records; what is missing is absent.

Some are of two models of different trials (distances, overlap of errors). Pairs share models, so their values are not
independent; their mean over pairs is a U-statistic, and its per-trial values are the pseudo-values of the jackknife,
whose mean is the mean over pairs and whose t-interval is the jackknife's. The plain means over the pairs of each trial
would not do: they vary less, by (n - 2) / (2 (n - 1)), a third with 4 trials, and make p-values far too small.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple, TypeVar

import numpy as np

from distillbias.analysis.overlap import error_consistency, jaccard
from distillbias.analysis.similarity import similarity_matrix
from distillbias.analysis.trajectory import path_distance
from distillbias.evaluation.calibration import Reliability, reliability_curve
from distillbias.evaluation.metrics import softmax
from distillbias.report.claims_judge import Part, Spread
from distillbias.report.distances import common_rows
from distillbias.report.evidence import Trials
from distillbias.studies.basins import Line, line
from distillbias.studies.vision import second

Pair = tuple[int, int]  # of trials, the lower first
Pairs = dict[Pair, float]
Arms = tuple[str, ...]
Two = tuple[str, str]  # arms
Key = TypeVar("Key")
MEASURES = {"Jaccard": jaccard, "kappa": error_consistency}  # of how errors overlap


def minus(a: Mapping[Key, float], b: Mapping[Key, float]) -> dict[Key, float]:
    """a - b of what both have."""
    return {key: value - b[key] for key, value in a.items() if key in b}


def times(factor: float, a: Mapping[Key, float]) -> dict[Key, float]:
    return {key: factor * value for key, value in a.items()}


def jackknife(pairs: Pairs) -> Trials:
    """Pseudo-values `U + 2 (n - 1) / (n - 2) (mean of trial i's pairs - U)`, U the mean over all pairs of n trials.

    Of two trials there is one pair and no jackknife: both get its value. nan for all where a pair is missing or
    undefined. Source: Efron & Stein 1981; for U-statistics Arvesen 1969.
    """
    trials = sorted({trial for pair in pairs for trial in pair})
    n = len(trials)
    if n * (n - 1) / 2 != len(pairs):
        return dict.fromkeys(trials, float("nan"))
    overall = float(np.mean([pairs[pair] for pair in sorted(pairs)])) if pairs else 0.0
    stretch = 2 * (n - 1) / (n - 2) if n > 2 else 0.0
    own = {trial: float(np.mean([pairs[pair] for pair in sorted(pairs) if trial in pair])) for trial in trials}
    return {trial: overall + stretch * (own[trial] - overall) for trial in trials}


class Quantities:
    """Reads an `Evidence`, each costly thing once."""

    def __init__(self, evidence: Any):
        self.evidence = evidence
        self._distances: dict[tuple[str, Arms], dict[tuple[str, int, str, int], float]] = {}
        self._wrong: dict[tuple[str, str], dict[int, np.ndarray]] = {}
        self._lines: dict[Two, dict[int, Line]] = {}

    def records(self, arm: str) -> dict[int, Any]:
        return self.evidence.records.get(arm, {})

    def score(self, arm: str, column: str, metric: str) -> Trials:
        """A score of the records on a headline column."""
        return self.evidence.values(arm, self.evidence.headline[column], metric) if self.records(arm) else {}

    def metric(self, arm: str, name: str) -> Trials:
        """A metric of an `AgreementEvidence` by name."""
        return self.evidence.metric(name).get(arm, {})

    def distance(self, first: str, other: str, column: str, arms: Arms) -> Pairs:
        """Representational distance ("code" reading) of two arms, for each pair of trials that both finished; the mean
        of either arm's model of the one trial with the other arm's of the other.

        `arms` are all that are compared with one another: the examples are those that all their models kept.
        """
        if (column, arms) not in self._distances:
            self._distances[column, arms] = self._all_distances(self.evidence.headline[column], arms)
        known = self._distances[column, arms]
        return self._over_pairs(first, other, lambda i, j: known[first, i, other, j])

    def _all_distances(self, test: str, arms: Arms) -> dict[tuple[str, int, str, int], float]:
        names = [(arm, trial) for arm in arms for trial in self.records(arm)]
        if not names:
            return {}
        activations = common_rows([self.records(arm)[trial].activations(test) for arm, trial in names])
        found = 1 - similarity_matrix(activations, "code")
        return {
            (*one, *other): float(found[i, j]) for i, one in enumerate(names) for j, other in enumerate(names) if i != j
        }

    def _over_pairs(self, first: str, other: str, value: Callable[[int, int], float]) -> Pairs:
        both = sorted(self.records(first).keys() & self.records(other).keys())
        return {(i, j): (value(i, j) + value(j, i)) / 2 for i, j in combinations(both, 2)}

    def wrong(self, arm: str, test: str) -> dict[int, np.ndarray]:
        """{trial: [n] True where it errs}."""
        if (arm, test) not in self._wrong:
            rows = {trial: record.predictions(test) for trial, record in self.records(arm).items()}
            self._wrong[arm, test] = {t: each.logits.argmax(1) != each.labels for t, each in rows.items()}
        return self._wrong[arm, test]

    def overlap(self, first: str, other: str, test: str, measure: str) -> Trials:
        """Overlap of the errors of two arms' models of the same trial; `measure` is one of MEASURES."""
        ones, others = self.wrong(first, test), self.wrong(other, test)
        return {t: MEASURES[measure](ones[t], others[t]) for t in sorted(ones.keys() & others.keys())}

    def overlap_across(self, first: str, other: str, test: str, measure: str) -> Pairs:
        """The same for models of different trials, as `distance` has them."""
        ones, others = self.wrong(first, test), self.wrong(other, test)
        return self._over_pairs(first, other, lambda i, j: MEASURES[measure](ones[i], others[j]))

    def path_distance(self, arm: str, other: str) -> Trials:
        """Mean distance of two arms' training paths, trial by trial; packed runs have no paths."""
        both = sorted(self.records(arm).keys() & self.records(other).keys())
        paths = {t: (_stages(self.records(arm)[t]), _stages(self.records(other)[t])) for t in both}
        return {t: path_distance(a, b, "code") for t, (a, b) in paths.items() if a is not None and b is not None}

    def barrier(self, first: str, other: str) -> Trials:
        """Height of the barrier, batch norm refreshed, from an arm's model to the other arm's in its second order."""
        return {trial: each.heights[0] for trial, each in self._lines_of(first, other).items()}

    def rise(self, first: str, other: str) -> Trials:
        """The height over the mean loss of the two ends; nan where both have none."""
        ends = {t: (each.refreshed[0] + each.refreshed[-1]) / 2 for t, each in self._lines_of(first, other).items()}
        heights = self.barrier(first, other)
        return {trial: heights[trial] / end if end else float("nan") for trial, end in ends.items()}

    def _lines_of(self, first: str, other: str) -> dict[int, Line]:
        arms, store = self.evidence.study.arms, self.evidence.store
        if (first, other) not in self._lines:
            ones, others = (
                {run.trial: run for run in arms.get(arm, ()) if store.has_weights(run)}
                for arm in (first, second(other))
            )
            both = sorted(ones.keys() & others.keys())
            self._lines[first, other] = {t: line(ones[t], others[t], store, self.evidence.data) for t in both}
        return self._lines[first, other]

    def reliability(self, arm: str, test: str) -> dict[int, Reliability]:
        """Accuracy by confidence in 20 bins."""
        rows = {trial: record.predictions(test) for trial, record in self.records(arm).items()}
        return {trial: reliability_curve(softmax(each.logits), each.labels, bins=20) for trial, each in rows.items()}


def _stages(record: Any) -> np.ndarray | None:
    try:
        return record.stages()
    except KeyError:
        return None


class Measure(NamedTuple):
    """A quantity that an arm has in each trial."""

    name: str
    of: Callable[[Quantities, str], Trials]


def exceeds(measure: Measure, high: str, low: str, **bounds: float) -> Part:
    """One arm has more of it than another."""
    return Part(
        f"{measure.name}: {high} minus {low}", lambda q: minus(measure.of(q, high), measure.of(q, low)), **bounds
    )


def in_order(measure: Measure, arms: Sequence[str], **bounds: float) -> tuple[Part, ...]:
    """Each arm has more of it than the one before."""
    return tuple(exceeds(measure, high, low, **bounds) for low, high in zip(arms, arms[1:], strict=False))


def varies_more(measure: Measure, wide: str, narrow: str) -> Part:
    """Over trials, the first arm's standard deviation is the larger."""
    text = f"ln sd of {measure.name}: {wide} minus {narrow}"
    return Part(text, lambda q: Spread(measure.of(q, wide), measure.of(q, narrow)))


def farther(far: Two, near: Two, column: str | None, title: str, arms: Arms) -> Part:
    """Two arms are farther apart than two others, by representational distance over pairs of different trials, on a
    headline column (None: the first)."""

    def values(q: Quantities) -> Trials:
        on = column or next(iter(q.evidence.headline))
        return jackknife(minus(q.distance(*far, on, arms), q.distance(*near, on, arms)))

    return Part(f"distance{title}: ({', '.join(far)}) minus ({', '.join(near)})", values)
