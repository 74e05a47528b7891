"""What the sections on the vision case read: its columns, beside the paper's numbers where the data are the paper's."""

from distillbias.report.evidence import Evidence
from distillbias.report.published import published
from distillbias.report.tables import Cell


class VisionEvidence(Evidence):
    """The headline columns are mnist, scaled, translated."""

    @property
    def on_paper_data(self) -> bool:
        """Only then is a published number a thing to compare with."""
        return self.task.name == "mnist"

    def title(self, column: str) -> str:
        return {"mnist": "MNIST" if self.on_paper_data else "Digits"}.get(column, column.capitalize())

    def cell(self, arm: str, column: str, metric: str, digits: int = 4) -> Cell:
        """A quantity of an arm on a headline column, beside the published one where the data are the paper's."""
        found = self.values(arm, self.headline[column], metric)
        return self.cell_of(found, digits, published(arm, column, metric) if self.on_paper_data else None)
