"""The report of a transfer study: verdicts, then how much of the teacher's lead came over, beside every control."""

from collections.abc import Callable
from pathlib import Path

from distillbias.errors import InputError
from distillbias.report import vision_errors, vision_structure
from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.claims import claims_section
from distillbias.report.evidence import Evidence
from distillbias.report.html import Page, Section
from distillbias.report.probes import sentence_probes, vision_probes
from distillbias.report.published_agreement import CLASSIFICATION
from distillbias.report.runs import missing_runs, provenance_table, runs_table, trials_of
from distillbias.report.transfer_fidelity import fidelity_section
from distillbias.report.transfer_scores import Metric, Plan, Slice, headline_table, transfer_section
from distillbias.report.transfer_structure import aligned_section, nulls_section
from distillbias.report.vision_evidence import VisionEvidence
from distillbias.report.writing import Gallery
from distillbias.studies import transfer_agreement, transfer_vision
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.tasks.vision import CLEAN, SEVERITIES, test_name

MakeSection = Callable[[Evidence, Gallery, Plan], Section]


def make_vision_page(study: Study, store: Store, data: Path | None, gallery: Gallery) -> Page:
    evidence = VisionEvidence(study, store, data)
    metrics = [
        Metric(evidence.title(column), {arm: evidence.values(arm, test, "accuracy") for arm in study.arms}, test)
        for column, test in evidence.headline.items()
    ]
    metrics += [
        Metric(
            f"ECE, {evidence.title(column)}",
            {arm: evidence.values(arm, test, "ece") for arm in study.arms},
            None,
            False,
        )
        for column, test in evidence.headline.items()
    ]
    slices: dict[str, Slice] = {"as it is": (CLEAN, None)}
    for corruption in ("scale", "translate"):
        slices |= {f"{corruption} {severity}": (test_name(corruption, severity), None) for severity in SEVERITIES}
    names = transfer_vision.TEACHER, transfer_vision.STUDENT, transfer_vision.TAUGHT, transfer_vision.SELF
    plan = Plan(*names, tuple(metrics), slices)
    sections: list[MakeSection] = [
        lambda evidence, gallery, plan: claims_section(evidence),
        transfer_section,
        fidelity_section,
        nulls_section,
        lambda evidence, gallery, plan: vision_structure.representations(evidence, gallery),
        lambda evidence, gallery, plan: vision_structure.paths(evidence, gallery),
        aligned_section,
        lambda evidence, gallery, plan: vision_errors.errors(evidence, gallery),
        lambda evidence, gallery, plan: vision_probes(evidence, gallery, plan.probed),
    ]
    return page(evidence, gallery, plan, sections, "pixels and labels")


def make_agreement_page(study: Study, store: Store, data: Path | None, gallery: Gallery) -> Page:
    evidence = AgreementEvidence(study, store, data, CLASSIFICATION)
    first = evidence.micro_test
    metrics = [Metric("µ", evidence.metric("micro"), first)]
    metrics += [Metric(which, evidence.metric(which)) for which in ("D", "A")]
    metrics += [Metric("ECE (20 bins)", evidence.metric("ece20"), None, higher_is_better=False)]
    slices: dict[str, Slice] = {"all": (first, None)}
    groups = evidence.groups("A")
    slices |= {f"{value} attractors": (group.test, (group.column, group.value)) for value, group in groups.items()}
    names = transfer_agreement.TEACHER, transfer_agreement.STUDENT, transfer_agreement.TAUGHT, transfer_agreement.SELF
    plan = Plan(*names, tuple(metrics), slices)
    sections: list[MakeSection] = [
        lambda evidence, gallery, plan: claims_section(evidence),
        transfer_section,
        fidelity_section,
        nulls_section,
        lambda _, gallery, plan: sentence_probes(evidence, gallery, plan.probed),
    ]
    return page(evidence, gallery, plan, sections, "words and labels")


def page(evidence: Evidence, gallery: Gallery, plan: Plan, sections: list[MakeSection], hashed: str) -> Page:
    """Raises InputError when no run is done."""
    study = evidence.study
    if evidence.first is None:
        raise InputError(f"nothing to report: no run of {study.title} is finished in {evidence.store.where}")
    train = evidence.first.facts["train"]
    made = [section(evidence, gallery, plan) for section in sections]
    caption = "Accuracy on the headline test sets; NLL and ECE (15 bins) on the first of them."
    return Page(
        title=f"distillbias: {study.title}",
        question=study.question,
        lead=(f"{trials_of(evidence)}, trained on {train['n']:,} examples ({train['origin']}).",),
        headline=headline_table(evidence, plan),
        sections=(*made, Section("Every run", (), (runs_table(evidence, caption),))),
        provenance=provenance_table(evidence, tuple(study.arms), hashed),
        warnings=missing_runs(evidence),
    )
