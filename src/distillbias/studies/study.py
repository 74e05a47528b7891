"""A study is a question and its runs, by arm; an ordinary Python value."""

from dataclasses import dataclass

from distillbias.studies.run import Run

Arms = dict[str, tuple[Run, ...]]  # arm -> its runs, one a trial


@dataclass(frozen=True)
class Study:
    name: str
    scale: str
    question: str
    arms: Arms

    @property
    def title(self) -> str:
        return f"{self.name}-{self.scale}"

    @property
    def runs(self) -> list[Run]:
        """Every run once, a teacher before its students, and otherwise in the order of the arms."""
        ordered: dict[str, Run] = {}
        for runs in self.arms.values():
            for run in runs:
                for link in [run.teacher, run] if run.teacher else [run]:
                    ordered.setdefault(link.name, link)
        return list(ordered.values())

    @property
    def trials(self) -> int:
        return max(len(runs) for runs in self.arms.values())
