"""Section on errors (Figures 11 and 12)."""

from distillbias.report.errors import ErrorPlan, Member, errors_section
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.writing import Gallery

# The panels of Figures 11 and 12; "#2" is the next trial's model.
PANELS: dict[str, tuple[Member, Member, Member]] = {
    "(a) two CNNs and an MLP": (("CNN", 0), ("CNN", 1), ("MLP", 0)),
    "(b) two MLPs and a CNN": (("MLP", 0), ("MLP", 1), ("CNN", 0)),
    "(c) student, teacher, independent MLP": (("CNN → MLP", 0), ("CNN", 0), ("MLP", 0)),
    "(d) student, teacher, independent CNN": (("CNN → MLP", 0), ("CNN", 0), ("CNN", 1)),
}
PAIRS: tuple[tuple[str, Member, Member], ...] = (
    ("two CNNs", ("CNN", 0), ("CNN", 1)),
    ("two MLPs", ("MLP", 0), ("MLP", 1)),
    ("MLP and CNN", ("MLP", 0), ("CNN", 0)),
    ("CNN → MLP and its teacher", ("CNN → MLP", 0), ("CNN", 0)),
    ("CNN → MLP and another CNN", ("CNN → MLP", 0), ("CNN", 1)),
    ("CNN → MLP and MLP", ("CNN → MLP", 0), ("MLP", 0)),
    ("MLP → MLP and its teacher", ("MLP → MLP", 0), ("MLP", 0)),
)
FIGURES = {
    "scaled": ("figure11", "Figure 11. Errors on Scaled"),
    "translated": ("figure12", "Figure 12. Errors on Translated"),
}


def errors(evidence: Evidence, gallery: Gallery) -> Section:
    return errors_section(evidence, gallery, ErrorPlan(PANELS, PAIRS, FIGURES, "test images"))
