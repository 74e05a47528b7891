"""The report of a dial: what each ingredient of the teacher's bias does for the teacher, and for its student."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distillbias.analysis.dial import ingredient_effect, slope
from distillbias.analysis.statistics import Summary
from distillbias.analysis.transfer import transfer
from distillbias.errors import InputError
from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.evidence import Evidence, Trials
from distillbias.report.figures_dial import draw_doses, draw_effects, draw_sizes
from distillbias.report.html import Page, Picture, Section
from distillbias.report.published_agreement import CLASSIFICATION
from distillbias.report.runs import missing_runs, provenance_table, runs_table, trials_of
from distillbias.report.tables import Entry, Table
from distillbias.report.vision_evidence import VisionEvidence
from distillbias.report.writing import Gallery
from distillbias.studies import dial_agreement, dial_vision
from distillbias.studies.dial import SHARES, Dial, at_share
from distillbias.studies.store import Store
from distillbias.studies.study import Study

Metrics = Mapping[str, Mapping[str, Trials]]  # {title: {arm: {trial: accuracy}}}


@dataclass(frozen=True)
class Reading:
    """A dial and its metrics; `headline` is the title of the one that asks for the bias."""

    evidence: Evidence
    dial: Dial
    metrics: Metrics
    headline: str

    def lead(self, metric: str, arm: str) -> Trials:
        """{trial: an arm minus the student from labels}."""
        ours, alone = self.metrics[metric][arm], self.metrics[metric][self.dial.student]
        return {trial: ours[trial] - alone[trial] for trial in sorted(ours.keys() & alone.keys())}

    def coefficient(self, metric: str, teacher: str, share: float = 1.0) -> Entry:
        """The transfer coefficient of that teacher's student, in words."""
        names = (self.dial.taught(teacher), teacher, self.dial.student)
        arms = [self.metrics[metric][at_share(arm, share)] for arm in names]
        trials = sorted(set.intersection(*(set(arm) for arm in arms)))
        if not trials:
            return "missing"
        found = transfer(*([arm[trial] for trial in trials] for arm in arms), higher_is_better=True)
        told = f"{found.coefficient:.2f} [{found.low:.2f}, {found.high:.2f}]".replace("-", "−")
        return found.undefined or told


def make_vision_page(study: Study, store: Store, data: Path | None, gallery: Gallery) -> Page:
    evidence = VisionEvidence(study, store, data)
    metrics = {
        evidence.title(column): {arm: evidence.values(arm, test, "accuracy") for arm in study.arms}
        for column, test in evidence.headline.items()
    }
    return page(Reading(evidence, dial_vision.dial(), metrics, evidence.title("translated")), gallery)


def make_agreement_page(study: Study, store: Store, data: Path | None, gallery: Gallery) -> Page:
    evidence = AgreementEvidence(study, store, data, CLASSIFICATION)
    metrics = {title: evidence.metric(name) for title, name in {"µ": "micro", "D": "D", "A": "A"}.items()}
    return page(Reading(evidence, dial_agreement.dial(), metrics, "A"), gallery)


def page(reading: Reading, gallery: Gallery) -> Page:
    """Raises InputError when no run is done."""
    evidence = reading.evidence
    study = evidence.study
    if evidence.first is None:
        raise InputError(f"nothing to report: no run of {study.title} is finished in {evidence.store.where}")
    train = evidence.first.facts["train"]
    sections: list[Callable[[Reading, Gallery], Section]] = [doses_section, effects_section, sizes_section]
    made = [section(reading, gallery) for section in sections]
    caption = "Accuracy on the headline test sets; NLL and ECE (15 bins) on the first of them."
    return Page(
        title=f"distillbias: {study.title}",
        question=study.question,
        lead=(
            f"{trials_of(evidence)}, trained on {train['n']:,} examples ({train['origin']}), and on shares of them.",
        ),
        headline=dose_table(reading, reading.headline, "headline"),
        sections=(*made, Section("Every run", (), (runs_table(evidence, caption),))),
        provenance=provenance_table(evidence, tuple(study.arms)[:3], "inputs and labels"),
        warnings=missing_runs(evidence),
    )


def dose_table(reading: Reading, metric: str, name: str) -> Table:
    """A row for each teacher: what it has, how good it is, how good its student is."""
    dial, evidence = reading.dial, reading.evidence
    cells = []
    for teacher, dose in dial.doses.items():
        values = reading.metrics[metric]
        taught = dial.taught(teacher)
        cells.append(
            (
                *("yes" if ingredient in dose else "–" for ingredient in dial.ingredients),
                evidence.cell_of(values[teacher]),
                evidence.cell_of(values[taught]),
                evidence.cell_of(reading.lead(metric, taught)),
                reading.coefficient(metric, teacher),
            )
        )
    columns = (*dial.ingredients, "teacher", "its student", "student's gain", "transfer coefficient")
    caption = (
        f"Accuracy, {metric}. Gain: over the {dial.student} from labels, by trial. Coefficient: gain over the "
        "teacher's lead, with Fieller's 95 % interval; not divided where the lead is not clear."
    )
    return Table(name, f"Doses, {metric}", caption, columns, tuple(dial.doses), tuple(cells), "teacher")


def doses_section(reading: Reading, gallery: Gallery) -> Section:
    """Gain against lead, drawn, in a sentence and as tables."""
    teachers = tuple(reading.dial.doses)
    panels = {
        metric: {t: (reading.lead(metric, t), reading.lead(metric, reading.dial.taught(t))) for t in teachers}
        for metric in reading.metrics
    }
    picture = gallery.add(
        draw_doses(panels),
        "doses",
        "What students gain against what their teachers have",
        f"Both over the {reading.dial.student} from labels. Large: means, small: single trials. On the dashed line a "
        "student has all of its teacher's lead, on the grey one nothing of it.",
    )
    told = []
    for metric, panel in panels.items():
        found = slope(*zip(*panel.values(), strict=True))
        if found is not None:
            told.append(f"{metric}: {_with_interval(found)}")
    text = "How much more a student gains for each point that its teacher is better, over all teachers: "
    others = [metric for metric in reading.metrics if metric != reading.headline]  # which stands above
    tables = tuple(dose_table(reading, metric, f"doses-{_slug(metric)}") for metric in others)
    return Section("Transfer against dose", ((text + "; ".join(told) + "."),) if told else (), tables, (picture,))


def effects_section(reading: Reading, gallery: Gallery) -> Section:
    """Each ingredient alone."""
    found = {metric: _effects(reading, metric) for metric in reading.metrics}
    picture = gallery.add(
        draw_effects(found),
        "effects",
        "What each ingredient does, for teachers and for their students",
        "Mean and 95 % interval over trials of the accuracy with it minus without it, other things equal.",
    )
    text = (
        "Each number compares settings that differ in one ingredient alone, averaged over all such pairs, trial by "
        "trial. Where an ingredient works only beside another, the average hides it: the table of doses has every "
        "setting. Every student is the same model: what it has of an ingredient, its teacher's answers gave it."
    )
    columns = tuple(f"{metric}, {who}" for metric in found for who in ("teachers", "students"))
    cells = tuple(
        tuple(
            "missing" if one is None else _with_interval(one) for metric in found for one in found[metric][ingredient]
        )
        for ingredient in reading.dial.ingredients
    )
    caption = "Accuracy with minus without, [95 % t-interval over trials]."
    table = Table("effects", "Effects of ingredients", caption, columns, reading.dial.ingredients, cells, "ingredient")
    return Section("One ingredient at a time", (text,), (table,), (picture,))


def _effects(reading: Reading, metric: str) -> dict[str, tuple[Summary | None, Summary | None]]:
    dial, values = reading.dial, reading.metrics[metric]
    teachers = {dose: values[arm] for arm, dose in dial.doses.items()}
    students = {dose: values[dial.taught(arm)] for arm, dose in dial.doses.items()}
    return {one: (ingredient_effect(one, teachers), ingredient_effect(one, students)) for one in dial.ingredients}


def sizes_section(reading: Reading, gallery: Gallery) -> Section:
    """The full teacher on shares of the training set."""
    dial, evidence = reading.dial, reading.evidence
    by_share = {
        metric: {arm: {share: values[at_share(arm, share)] for share in SHARES} for arm in dial.sized}
        for metric, values in reading.metrics.items()
    }
    pictures: tuple[Picture, ...] = (
        gallery.add(
            draw_sizes(by_share, dial.sized),
            "sizes",
            "With less to learn from",
            "Teacher and student see the same share of the training set, with as many steps. Lines: means; dots: "
            "single trials.",
        ),
    )
    columns = tuple(f"{metric}, {what}" for metric in reading.metrics for what in (*dial.sized, "coefficient"))
    cells = tuple(
        tuple(
            entry
            for metric, arms in by_share.items()
            for entry in (
                *(evidence.cell_of(arms[arm][share]) for arm in dial.sized),
                reading.coefficient(metric, dial.full, share),
            )
        )
        for share in SHARES
    )
    rows = tuple(f"{share:.0%}".replace("%", " %") for share in SHARES)
    caption = f"Coefficient: of {dial.taught(dial.full)}, with Fieller's 95 % interval."
    table = Table("sizes", "By share of the training set", caption, columns, rows, cells, "share")
    text = "A bias counts most where examples are few: then they leave the most open."
    return Section("Less to learn from", (text,), (table,), pictures)


def _with_interval(found: Summary) -> str:
    interval = "" if found.n == 1 else f" [{found.low:+.4f}, {found.high:+.4f}]"
    return f"{found.mean:+.4f}{interval}".replace("-", "−")


def _slug(title: str) -> str:
    return title.replace("µ", "micro").lower()
