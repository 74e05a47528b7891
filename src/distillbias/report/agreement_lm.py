"""The report of agreement as language modelling: Tables 1, 3 and 7, Figures 2, 4 and 6a, and what both cases share."""

from pathlib import Path

from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.agreement_groups import by_group, other_sets
from distillbias.report.agreement_page import page
from distillbias.report.agreement_scores import language_model, train_split
from distillbias.report.distances import MapPlan, representations_section
from distillbias.report.html import Page, Section
from distillbias.report.published_agreement import LANGUAGE_MODEL
from distillbias.report.writing import Gallery
from distillbias.studies.agreement_lm import paper
from distillbias.studies.store import Store
from distillbias.studies.study import Study


def representations(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """Figure 6a and claim C16: a Transformer taught by an LSTM is nearer to LSTMs than one from labels."""
    transformers = [family for family in evidence.families if family.endswith("Transformer")]
    lstms = [family for family in evidence.families if family.endswith("LSTM")]
    taught = [(teacher, student) for teacher in lstms for student in transformers]
    pairs = (
        *((family, family) for family in evidence.families),
        *((student, teacher) for teacher, student in taught),
        *((f"{teacher} → {student}", teacher) for teacher, student in taught),
        *((f"{teacher} → {student}", student) for teacher, student in taught),
    )
    students = [f"{teacher} → {student}" for teacher, student in taught]
    arms = [arm for arm in (*evidence.families, *students) if arm in evidence.study.arms]
    plan = MapPlan("figure6a", "Figure 6 (a)", arms, pairs, tuple(evidence.headline))
    return representations_section(evidence, gallery, plan)


SECTIONS = (language_model, by_group, other_sets, representations, train_split)


def make_page(study: Study, store: Store, data: Path | None, gallery: Gallery) -> Page:
    evidence = AgreementEvidence(study, store, data, LANGUAGE_MODEL)
    return page(evidence, gallery, SECTIONS, ("perplexity", "micro", "D", "A"), paper().models)
