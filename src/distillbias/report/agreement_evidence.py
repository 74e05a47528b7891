"""What the sections on agreement read: micro, D- and A-accuracy, scores by group, the paper's numbers beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, nan

from distillbias.evaluation.agreement import EMPTY, GroupScore, group_scores, macro_accuracy
from distillbias.evaluation.calibration import expected_calibration_error
from distillbias.evaluation.metrics import softmax
from distillbias.report.evidence import Evidence, Trials
from distillbias.report.published import Published
from distillbias.report.published_agreement import Numbers
from distillbias.report.tables import Cell
from distillbias.studies.record import Record
from distillbias.tasks.agreement import Group

TRAIN = "train"  # the sample of training sentences that is tested on, too
TITLES = {
    "micro": "µ",
    "D": "D",
    "A": "A",
    "perplexity": "perplexity",
    "batch_perplexity": "perplexity, mean of batches",
    "nll": "NLL",
}
Groups = dict[int, GroupScore]


@dataclass(frozen=True)
class AgreementEvidence(Evidence):
    """`numbers` are the paper's. `teacher` is the family with the strongest bias: its students are looked at closest.

    Metrics by name: "micro", "D", "A", "ece20", "perplexity", or any score of a record; "train D" is that on the sample
    of training sentences.
    """

    numbers: Numbers
    teacher: str = "LSTM"

    @property
    def families(self) -> tuple[str, ...]:
        """The models of the paper that learned from labels; arms with a comma in their name are variants of these."""
        return tuple(arm for arm in self.study.arms if "→" not in arm and "," not in arm)

    @property
    def distilled(self) -> tuple[str, ...]:
        return tuple(arm for arm in self.study.arms if "→" in arm and "," not in arm)

    @property
    def taught(self) -> tuple[str, ...]:
        """The students of `teacher`."""
        return tuple(arm for arm in self.distilled if arm.startswith(f"{self.teacher} → "))

    @property
    def on_real_data(self) -> bool:
        """Only then does a published number stand beside ours."""
        return self.task.source != "grammar"

    @property
    def micro_test(self) -> str:
        """The test set of micro accuracy: the first of the headline."""
        return next(iter(self.headline.values()))

    @cached_property
    def test_facts(self) -> dict[str, dict]:
        """{test set: its n, origin, columns}, as the records have it."""
        return self.first.facts["tests"] if self.first else {}

    def beside(self, arm: str, metric: str) -> Published | None:
        return self.numbers.get((arm, metric)) if self.on_real_data else None

    def cell(self, arm: str, metric: str, digits: int = 4) -> Cell:
        """A metric of an arm, beside the published one where there is one and the data are real sentences."""
        return self.cell_of(self.metric(metric)[arm], digits, self.beside(arm, metric))

    def metric(self, name: str) -> dict[str, Trials]:
        """{arm: {trial: value}}; where a value is undefined (a group without examples) the trial is not there."""
        if name not in self._metrics:
            self._metrics[name] = {
                arm: {trial: value for trial, record in trials.items() if isfinite(value := self._value(record, name))}
                for arm, trials in self.records.items()
            }
        return self._metrics[name]

    @cached_property
    def _metrics(self) -> dict[str, dict[str, Trials]]:
        return {}

    def _value(self, record: Record, name: str) -> float:
        part, _, metric = name.rpartition(" ")
        if metric in ("D", "A"):
            return macro_accuracy(self.scores_of(record, self.groups(metric, part))).accuracy
        scores, test = record.facts["scores"], part or self.micro_test
        if metric.endswith("perplexity") and not part:
            test = next((each for each in self.headline.values() if metric in scores[each]), test)
        if metric == "ece20":
            rows = record.predictions(test)
            return expected_calibration_error(softmax(rows.logits), rows.labels, bins=20)
        return scores.get(test, {}).get("accuracy" if metric == "micro" else metric, nan)

    def groups(self, which: str, part: str = "") -> dict[int, Group]:
        """The groups of "D" or "A"; those of the training sample for the part "train"."""
        groups = self.task.by_distance if which == "D" else self.task.by_attractors
        if part != TRAIN:
            return groups
        return {value: Group(TRAIN, "near" if which == "D" else "homogeneous", value) for value in groups}

    def scores_of(self, record: Record, groups: Mapping[int, Group]) -> Groups:
        """The score of each group; `EMPTY` where the test set is not there. Each test set is read once."""
        key = record.folder.name, tuple(groups.items())
        if key not in self._read:
            found: Groups = {}
            for test in {group.test for group in groups.values()} & record.facts["tests"].keys():
                rows = record.predictions(test)
                for value, group in groups.items():
                    if group.test == test:
                        column = rows.columns[group.column]
                        found[value] = group_scores(rows.logits, rows.labels, column, [group.value])[group.value]
            self._read[key] = {value: found.get(value, EMPTY) for value in groups}
        return self._read[key]

    @cached_property
    def _read(self) -> dict[object, Groups]:
        return {}

    def sizes(self, groups: Mapping[int, Group]) -> dict[int, int]:
        """The number of examples of each group; 0 before any run is done."""
        found = self.scores_of(self.first, groups) if self.first else {}
        return {value: found[value].n if found else 0 for value in groups}

    def missing_groups(self, which: str, part: str = "") -> tuple[int, ...]:
        """The groups of "D" or "A" without an example."""
        return tuple(value for value, n in self.sizes(self.groups(which, part)).items() if not n)

    def over_present(self, which: str) -> dict[str, Trials]:
        """The mean over the groups with examples, for when the macro accuracy itself is undefined."""
        return {
            arm: {
                trial: macro_accuracy(self.scores_of(record, self.groups(which))).over_present
                for trial, record in trials.items()
            }
            for arm, trials in self.records.items()
        }

    def by_group(self, arms: Sequence[str], groups: Mapping[int, Group]) -> dict[str, dict[int, Groups]]:
        """{arm: {trial: {group: score}}}."""
        return {
            arm: {trial: self.scores_of(record, groups) for trial, record in self.records[arm].items()} for arm in arms
        }
