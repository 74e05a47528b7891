"""How much of the teacher's lead reaches a student, and how much of it a control gives as well."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, isnan

import numpy as np

from distillbias.analysis.bootstrap import hierarchical_bootstrap
from distillbias.analysis.statistics import (
    effect_size,
    holm,
    paired_t_p_value,
    resolution,
    sign_flip_p_value,
    summary,
)
from distillbias.analysis.transfer import Transfer, transfer
from distillbias.report.evidence import Evidence, Trials
from distillbias.report.figures_transfer import draw_coefficients
from distillbias.report.html import Picture, Section
from distillbias.report.tables import Entry, Table, interval
from distillbias.report.writing import Gallery

DRAWS = 2_000
Slice = tuple[str, tuple[str, int] | None]  # a test set, and of it the rows with this value in a column, or all


@dataclass(frozen=True)
class Metric:
    """`by_arm` is {arm: {trial: value}}. `test`, where the metric is the accuracy on one test set, lets examples be
    resampled, too."""

    title: str
    by_arm: Mapping[str, Trials]
    test: str | None = None
    higher_is_better: bool = True


@dataclass(frozen=True)
class Plan:
    """What is compared: `teacher` and `student` are arms that learned from labels, `taught` and `itself` the student of
    the teacher and of its own kind. `slices` are {title: (test set, None or (column, value))}."""

    teacher: str
    student: str
    taught: str
    itself: str
    metrics: tuple[Metric, ...]
    slices: Mapping[str, Slice]

    @property
    def probed(self) -> tuple[str, ...]:
        """The arms that are looked at closest."""
        return self.teacher, self.student, self.taught, self.itself

    def students(self, evidence: Evidence) -> tuple[str, ...]:
        """Every arm whose model is the student's and that is not the student from labels; the taught one first."""
        model = evidence.study.arms[self.student][0].model
        arms = [arm for arm, runs in evidence.study.arms.items() if runs[0].model == model and arm != self.student]
        listed = [arm for arm in arms if not arm.endswith("second order")]
        return tuple(sorted(listed, key=lambda arm: (arm != self.taught, arm != self.itself)))


@dataclass(frozen=True)
class Compared:
    """One arm against the student from labels, on one metric, over the trials that all have."""

    plan: Plan
    metric: Metric
    arm: str

    @cached_property
    def trials(self) -> list[int]:
        found = self.metric.by_arm
        return sorted(found[self.arm].keys() & found[self.plan.student].keys())

    def values(self, arm: str) -> list[float]:
        return [self.metric.by_arm[arm][trial] for trial in self.trials]

    @property
    def differences(self) -> np.ndarray:
        """[n] gains, positive is better."""
        found = np.array(self.values(self.arm)) - np.array(self.values(self.plan.student))
        return found if self.metric.higher_is_better else -found

    @property
    def transfer(self) -> Transfer | None:
        """None without a trial that arm, student and teacher share."""
        teacher = self.metric.by_arm[self.plan.teacher]
        shared = [trial for trial in self.trials if trial in teacher]
        if not shared:
            return None
        arms = self.arm, self.plan.teacher, self.plan.student
        ours, theirs, alone = ([self.metric.by_arm[arm][trial] for trial in shared] for arm in arms)
        return transfer(ours, theirs, alone, higher_is_better=self.metric.higher_is_better)


def transfer_section(evidence: Evidence, gallery: Gallery, plan: Plan) -> Section:
    """Coefficients with intervals, drawn and as a table, and the gains behind them."""
    arms = plan.students(evidence)
    drawn = {
        metric.title: {arm: found for arm in arms if (found := Compared(plan, metric, arm).transfer)}
        for metric in plan.metrics
        if any(not found.undefined for arm in arms if (found := Compared(plan, metric, arm).transfer))
    }
    pictures: tuple[Picture, ...] = ()
    if drawn:
        picture = gallery.add(
            draw_coefficients(drawn, arms),
            "transfer",
            "How much of the teacher's lead came over",
            f"0: no better than {plan.student} from labels; 1: as good as {plan.teacher}. Tick and line: ratio of the "
            "means with its 95 % interval (Fieller); dots: single trials. An arrow: the interval goes on.",
        )
        pictures = (picture,)
    text = (
        f"The transfer coefficient is (student − {plan.student}) / ({plan.teacher} − {plan.student}) on each metric, "
        "trial by trial. A control that reaches the coefficient of the taught student explains it. "
        "Calibration alone says little: a model that gives every example the class frequencies is calibrated, "
        "and knows nothing."
    )
    tables = [coefficient_table(evidence, plan), *(gains_table(evidence, plan, metric) for metric in plan.metrics)]
    return Section("Transfer and controls", (text, _tells(evidence)), tuple(tables), pictures)


def _tells(evidence: Evidence) -> str:
    found = resolution(max(evidence.study.trials, 1))
    least = "" if isnan(found.least_effect) else f" an effect smaller than {found.least_effect:.1f} standard deviations"
    return f"What {found.n} trials cannot tell: the exact sign-flip test gives no p below {found.least_p_value:.3g}" + (
        f", and a paired t-test at .05 finds{least} less than 4 times in 5." if least else "."
    )


def headline_table(evidence: Evidence, plan: Plan) -> Table:
    """The coefficients of the accuracies."""
    accuracies = tuple(metric for metric in plan.metrics if metric.higher_is_better)
    return coefficient_table(evidence, replace(plan, metrics=accuracies), "headline")


def coefficient_table(evidence: Evidence, plan: Plan, name: str = "transfer") -> Table:
    """Rows are arms with the student's model, columns metrics."""
    arms = plan.students(evidence)
    cells = tuple(tuple(_coefficient(Compared(plan, metric, arm)) for metric in plan.metrics) for arm in arms)
    caption = (
        f"(arm − {plan.student}) / ({plan.teacher} − {plan.student}): 0 is none of the teacher's lead, 1 all of it. "
        "Ratio of the means with Fieller's 95 % interval over trials; not divided where the teacher's lead is "
        "not clear."
    )
    columns = tuple(metric.title for metric in plan.metrics)
    return Table(name, "Transfer coefficients", caption, columns, arms, cells, "arm")


def _coefficient(compared: Compared) -> Entry:
    found = compared.transfer
    if found is None:
        return "missing"
    if found.undefined:
        return found.undefined
    short = "" if found.n == compared_trials(compared) else f" (n = {found.n})"
    return f"{found.coefficient:.2f} [{found.low:.2f}, {found.high:.2f}]{short}".replace("-", "−")


def compared_trials(compared: Compared) -> int:
    """How many trials the teacher and the student from labels have."""
    found = compared.metric.by_arm
    return len(found[compared.plan.teacher].keys() & found[compared.plan.student].keys())


def gains_table(evidence: Evidence, plan: Plan, metric: Metric) -> Table:
    """What each arm gains over the student from labels on one metric, with every test that n trials allow."""
    arms = plan.students(evidence)
    compared = {arm: Compared(plan, metric, arm) for arm in arms}
    p_values = {arm: paired_t_p_value(each.differences) for arm, each in compared.items() if len(each.trials) > 1}
    adjusted = holm({arm: p for arm, p in p_values.items() if not isnan(p)})
    cells = tuple(tuple(_gain_cells(evidence, compared[arm], adjusted.get(arm))) for arm in arms)
    columns = ("gain", "95 %, trials", "95 %, trials and examples", "d", "p (Holm)", "p, sign flip")
    what = f"arm minus {plan.student}" if metric.higher_is_better else f"{plan.student} minus arm"
    caption = (
        f"{metric.title}: {what}, paired by trial, positive is better. Intervals: t over trials; bootstrap over trials "
        "and then examples, too narrow with few trials. d: mean over standard deviation, Hedges-corrected. p: paired "
        "t-test, adjusted after Holm over the rows; exact sign-flip test, not adjusted."
    )
    name = f"gains-{_slug(metric.title)}"
    return Table(name, f"Gains, {metric.title}", caption, columns, arms, cells, "arm")


def _gain_cells(evidence: Evidence, compared: Compared, adjusted: float | None) -> Iterator[Entry]:
    differences = compared.differences
    yield evidence.cell_of(dict(zip(compared.trials, map(float, differences), strict=True)))
    if len(differences) < 2:
        yield from ("too few trials", "", None, None, None)
        return
    told = summary(differences)
    yield interval(told.low, told.high)
    yield _examples_interval(evidence, compared)
    effect = effect_size(differences, np.zeros(len(differences)))
    yield round(effect, 2) if isfinite(effect) else None
    yield adjusted
    yield sign_flip_p_value(differences)


def _examples_interval(evidence: Evidence, compared: Compared) -> Entry:
    """From per-example predictions, where the metric is an accuracy."""
    test = compared.metric.test
    if test is None:
        return ""
    hits = {arm: _hits(evidence, arm, test, compared.trials) for arm in (compared.arm, compared.plan.student)}
    pairs = zip(hits[compared.arm], hits[compared.plan.student], strict=True)
    found = hierarchical_bootstrap([ours - theirs for ours, theirs in pairs], DRAWS)
    return interval(found.low, found.high)


def _hits(evidence: Evidence, arm: str, test: str, trials: list[int]) -> list[np.ndarray]:
    rows = [evidence.records[arm][trial].predictions(test) for trial in trials]
    return [(each.logits.argmax(1) == each.labels).astype(np.float64) for each in rows]


def _slug(title: str) -> str:
    plain = title.replace("µ", "micro").lower()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in plain).split())
