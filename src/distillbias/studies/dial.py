"""What dials share: teachers with some ingredients of a bias and not others, and training sets of several sizes.

A dose is the set of ingredients that a teacher has. The student of every teacher is the same model, with none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from distillbias.studies.study import Arms
from distillbias.training.recipe import Recipe

SHARES = (0.01, 0.1, 1.0)  # of the training set

Dose = frozenset[str]


@dataclass(frozen=True)
class Dial:
    """How a report reads a dial: the student's arm from labels, the dose of each teacher's arm, and the teacher that
    has everything, which alone is tried on smaller training sets."""

    student: str
    doses: Mapping[str, Dose]
    full: str

    @property
    def ingredients(self) -> tuple[str, ...]:
        """Every ingredient that some teacher has, in the order in which they appear."""
        return tuple(dict.fromkeys(one for dose in self.doses.values() for one in sorted(dose)))

    def taught(self, teacher: str) -> str:
        """The arm of that teacher's student."""
        return f"{teacher} → {self.student}"

    @property
    def sized(self) -> tuple[str, str, str]:
        """The arms that exist at each share of the training set: student, teacher, taught."""
        return self.student, self.full, self.taught(self.full)


def at_share(arm: str, share: float) -> str:
    """The arm on that share of the training set; the whole set is the arm itself."""
    return arm if share == 1 else f"{arm}, {share:.0%} of the data".replace("%", " %")


def sized(recipe: Recipe, count: int, share: float) -> Recipe:
    """The recipe on that share of `count` examples: as many steps, in batches of at most half the examples."""
    few = round(count * share)
    batch = min(recipe.batch, few // 2)
    return replace(recipe, batch=batch, epochs=max(1, round(recipe.steps(count) / (few // batch))))


def whole_first(arms: Arms) -> Arms:
    """The arms on all data before those on less: they are what the first figure needs."""
    return dict(sorted(arms.items(), key=lambda arm: "of the data" in arm[0]))
