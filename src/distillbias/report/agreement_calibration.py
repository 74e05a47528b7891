"""Section on calibration of agreement: Figures 3 and 5, and the tables behind them."""

from distillbias.report import figures
from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.agreement_scores import LABELS, beside, matrix
from distillbias.report.curves import draw_reliabilities
from distillbias.report.html import Picture, Section
from distillbias.report.writing import Gallery

FINE = (
    "1,000,000 bins make it nearly the mean distance of confidence from being right; compare it with nothing else. "
    "Published numbers are from the authors' logs, on their validation sentences."
)
USUAL = "20 bins of equal width, closed on the right. Published numbers are from the authors' logs, on validation."
NLL = "Mean over examples of the negative log-likelihood of the label, in nats; lower is better."
FIGURE5 = ("Transformer", "LSTM → Transformer", "LSTM")


def calibration(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """Figure 3 (scores by student and teacher), ECE in both readings, NLL, Figure 5."""
    text = f"All of this section is on the test set {evidence.micro_test}. {beside(evidence)}"
    tables = (
        matrix(evidence, "ece20", "ECE with 20 bins", "ece20", USUAL),
        matrix(evidence, "paper-ece", "ECE with 1,000,000 bins", "paper_ece", FINE),
        matrix(evidence, "nll", "Negative log-likelihood", "nll", NLL),
    )
    pictures = (
        _by_student(evidence, gallery, "figure3a", "Figure 3 (a). Accuracy by student and teacher", ACCURACIES),
        _by_student(evidence, gallery, "figure3b", "Figure 3 (b). Calibration error by student and teacher", ERRORS),
        draw_reliabilities(
            evidence,
            gallery,
            [arm for arm in FIGURE5 if arm in evidence.study.arms],
            "figure5",
            "Figure 5. Reliability",
            by_student=False,
            lowest=0.5,
        ),
    )
    return Section("Calibration", (text,), tables, pictures)


ACCURACIES = {"µ-accuracy": "micro", "A-accuracy": "A"}
ERRORS = {"ECE, 20 bins": "ece20", "ECE, 1,000,000 bins": "paper_ece"}


def _by_student(
    evidence: AgreementEvidence, gallery: Gallery, name: str, title: str, metrics: dict[str, str]
) -> Picture:
    panels = {
        panel: {arm: list(trials.values()) for arm, trials in evidence.metric(metric).items()}
        for panel, metric in metrics.items()
    }
    caption = f"The shape of a marker is the teacher, its place and colour the student; black is {LABELS}."
    return gallery.add(
        figures.draw_students(panels, evidence.families), name, title, f"{caption} Faint markers are single trials."
    )
