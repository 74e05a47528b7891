"""The report of the agreement study, classification: from the records of its runs to one page."""

from pathlib import Path

from distillbias.report.agreement_calibration import calibration
from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.agreement_groups import by_group, other_sets
from distillbias.report.agreement_padding import padding
from distillbias.report.agreement_page import page
from distillbias.report.agreement_scores import classification, train_split
from distillbias.report.agreement_soft import softness
from distillbias.report.distances import MapPlan, representations_section
from distillbias.report.errors import ErrorPlan, Member, errors_section
from distillbias.report.html import Page, Section
from distillbias.report.published_agreement import CLASSIFICATION
from distillbias.report.writing import Gallery
from distillbias.studies.agreement import paper
from distillbias.studies.store import Store
from distillbias.studies.study import Study

TRANSFORMERS = ("Transformer", "Transformer-seq", "UniversalTransformer-seq")
# Figure 6b and claim C17: students of an LSTM lie away from their like that learned from labels.
MAPPED = (*TRANSFORMERS, "LSTM", *(f"LSTM → {student}" for student in TRANSFORMERS))
PAIRS = (
    *((family, family) for family in (*TRANSFORMERS, "LSTM")),
    *((f"LSTM → {family}", f"LSTM → {family}") for family in TRANSFORMERS),
    *((f"LSTM → {family}", family) for family in TRANSFORMERS),
    *((f"LSTM → {family}", "LSTM") for family in TRANSFORMERS),
    *((family, "LSTM") for family in TRANSFORMERS),
)
STUDENT = "LSTM → Transformer"
# The panels of Figure 10; "#2" is the next trial's model.
VENNS: dict[str, tuple[Member, Member, Member]] = {
    "(a) two LSTMs and a Transformer": (("LSTM", 0), ("LSTM", 1), ("Transformer", 0)),
    "(b) two Transformers and an LSTM": (("Transformer", 0), ("Transformer", 1), ("LSTM", 0)),
    "(c) student, teacher, independent Transformer": ((STUDENT, 0), ("LSTM", 0), ("Transformer", 0)),
    "(d) student, teacher, independent LSTM": ((STUDENT, 0), ("LSTM", 0), ("LSTM", 1)),
}
OVERLAPS: tuple[tuple[str, Member, Member], ...] = (
    ("two LSTMs", ("LSTM", 0), ("LSTM", 1)),
    ("two Transformers", ("Transformer", 0), ("Transformer", 1)),
    ("Transformer and LSTM", ("Transformer", 0), ("LSTM", 0)),
    (f"{STUDENT} and its teacher", (STUDENT, 0), ("LSTM", 0)),
    (f"{STUDENT} and another LSTM", (STUDENT, 0), ("LSTM", 1)),
    (f"{STUDENT} and Transformer", (STUDENT, 0), ("Transformer", 0)),
    ("Transformer → Transformer and its teacher", ("Transformer → Transformer", 0), ("Transformer", 0)),
)


def representations(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    plan = MapPlan("figure6b", "Figure 6 (b)", MAPPED, PAIRS, tuple(evidence.headline))
    return representations_section(evidence, gallery, plan)


def errors(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    figure10 = {next(iter(evidence.headline)): ("figure10", f"Figure 10. Errors on {evidence.micro_test}")}
    return errors_section(evidence, gallery, ErrorPlan(VENNS, OVERLAPS, figure10, "test sentences"))


SECTIONS = (classification, softness, padding, by_group, other_sets, calibration, representations, errors, train_split)


def make_page(study: Study, store: Store, data: Path | None, gallery: Gallery) -> Page:
    evidence = AgreementEvidence(study, store, data, CLASSIFICATION)
    return page(evidence, gallery, SECTIONS, ("micro", "D", "A"), paper().models)
