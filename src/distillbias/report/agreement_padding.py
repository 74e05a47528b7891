"""Section on the mask that the authors' Transformer did not have (T10): what it costs, alone and taught."""

from distillbias.report.agreement_evidence import TITLES, AgreementEvidence
from distillbias.report.gains import columns, minus
from distillbias.report.html import Section
from distillbias.report.tables import Table
from distillbias.report.writing import Gallery
from distillbias.studies.agreement import LONGEST, PADDED, PADDED_STUDENT

METRICS = ("micro", "D", "A")
ARMS = ("Transformer", PADDED, "LSTM → Transformer", PADDED_STUDENT)
PAIRS = ((PADDED, "Transformer"), (PADDED_STUDENT, "LSTM → Transformer"), (PADDED_STUDENT, PADDED))
TEXT = (
    "The authors' Transformer has a mask on padding that has no effect: its words look at the padding behind a "
    f"sentence as they look at words. Here a sentence is filled up to {LONGEST} words, the longest of 64 at the mean, "
    "which is the authors' batch; theirs had other lengths from batch to batch. Recipe, first weights and order are "
    "those of the Transformer with a mask."
)


def padding(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """The Transformer with and without a mask, from labels and taught by the LSTM."""
    return Section("Padding that is seen", (TEXT,), (_scores(evidence), _differences(evidence)), ())


def _scores(evidence: AgreementEvidence) -> Table:
    cells = tuple(tuple(evidence.cell_of(evidence.metric(metric)[arm]) for metric in METRICS) for arm in ARMS)
    titles = tuple(TITLES[metric] for metric in METRICS)
    return Table("padding", "With and without a mask on padding", "Accuracy.", titles, ARMS, cells, "arm")


def _differences(evidence: AgreementEvidence) -> Table:
    scores = {TITLES[metric]: evidence.metric(metric) for metric in METRICS}
    rows = tuple(f"{ours} minus {theirs}" for ours, theirs in PAIRS)
    cells = tuple(minus(evidence, ours, theirs, scores) for ours, theirs in PAIRS)
    caption = "Trial by trial; t-interval over trials, p from the exact sign-flip test."
    return Table("padding-differences", "What the mask changes", caption, columns(scores), rows, cells, "pair")
