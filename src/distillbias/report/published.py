"""The paper's numbers for the vision case: Abnar, Dehghani & Zuidema 2020 (arXiv 2006.00555), Tables 5 and 6.

Means and sample standard deviations over 4 trials. Some cells of Table 6b did not survive in the text: those found
in the authors' logs say so, the others are absent rather than guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

ARMS = ("CNN", "MLP", "CNN → CNN", "MLP → CNN", "CNN → MLP", "MLP → MLP")  # teacher → student
TEST_SETS = ("mnist", "scaled", "translated")


@dataclass(frozen=True)
class Published:
    """One number as printed: `digits` is how many decimals of the mean the source gives; sd None: it gives none."""

    mean: float
    sd: float | None
    source: str = "Table 6"  # or "Table 5", "logs"
    digits: int = 3

    def __str__(self) -> str:
        mean = f"{self.mean:.{self.digits}f}"
        return mean if self.sd is None else f"{mean} ± {self.sd:.4f}"


def _row(table: str, *numbers: tuple[float, float]) -> dict[str, Published]:
    """The cells of one model on the three test sets, in the order of the paper's columns."""
    cells = (Published(mean, sd, table) for mean, sd in numbers)
    return dict(zip(TEST_SETS, cells, strict=True))


_ACCURACY = {
    "CNN": _row("Table 5", (0.992, 0.0009), (0.962, 0.0021), (0.981, 0.0003)),
    "MLP": _row("Table 5", (0.985, 0.0011), (0.794, 0.0154), (0.373, 0.0151)),
    "CNN → CNN": _row("Table 6", (0.991, 0.0004), (0.951, 0.0046), (0.978, 0.0003)),
    "MLP → CNN": _row("Table 6", (0.990, 0.0007), (0.955, 0.0065), (0.976, 0.0012)),
    "CNN → MLP": _row("Table 6", (0.988, 0.0005), (0.904, 0.0073), (0.510, 0.0148)),
    "MLP → MLP": _row("Table 6", (0.985, 0.0015), (0.839, 0.0096), (0.395, 0.0069)),
}

# The paper's calibration error used a million bins: it is nearly mean |correct - confidence|, and comparable with
# nothing else. Hence "paper_ece", a metric of its own.
_PAPER_ECE = {
    "CNN": _row("Table 5", (0.011, 0.0006), (0.060, 0.0044), (0.028, 0.0016)),
    "MLP": _row("Table 5", (0.015, 0.0006), (0.175, 0.0081), (0.564, 0.0091)),
    "CNN → CNN": {"mnist": Published(0.014, 0.0004), "scaled": Published(0.0681, 0.0043, "logs", 4)},
    "MLP → CNN": {"mnist": Published(0.013, 0.0005), "scaled": Published(0.0539, 0.0063, "logs", 4)},
    "CNN → MLP": {"mnist": Published(0.013, 0.0004), "scaled": Published(0.1090, 0.0053, "logs", 4)},
    "MLP → MLP": {"scaled": Published(0.1546, 0.0079, "logs", 4)},
}

PUBLISHED: Mapping[tuple[str, str, str], Published] = {
    (arm, test_set, metric): number
    for metric, table in (("accuracy", _ACCURACY), ("paper_ece", _PAPER_ECE))
    for arm, row in table.items()
    for test_set, number in row.items()
}


def published(arm: str, test_set: str, metric: str) -> Published | None:
    """The paper's number, or None where the paper has none or it is lost."""
    return PUBLISHED.get((arm, test_set, metric))
