"""What there is to run, and of what."""

import re
from collections.abc import Iterator

from rich.table import Table

from distillbias.models.registry import MODELS
from distillbias.studies.catalogue import SCALES, STUDIES
from distillbias.studies.run import PARTS


def listing() -> Iterator[Table]:
    """What `distillbias list` shows."""
    studies = Table("study", "question", "scales", title="studies")
    for name, entry in STUDIES.items():
        studies.add_row(name, entry.question, ", ".join(SCALES))
    models = Table("model", "what it is", title="models")
    for name, config in MODELS.items():
        models.add_row(name, (config.__doc__ or "").splitlines()[0])
    tasks = Table("task", "what it is", title="tasks")
    for part in PARTS.values():
        if hasattr(part, "load"):  # of all that a run is made of, only tasks load data
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", part.__name__).lower()
            tasks.add_row(name, (part.__doc__ or "").splitlines()[0])
    yield from (studies, models, tasks)
