"""The study that faults are injected into: two teachers and three students, a few seconds in all, many checkpoints.

python -m tests.faults.small STORE [WORKERS]      run it; exit status 0 done, 1 failures or an error, 130 stopped
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests import tiny

from distillbias.errors import InputError
from distillbias.models.mlp import MLPConfig
from distillbias.studies.executor import Event
from distillbias.studies.run import Distillation, Run, register
from distillbias.studies.runner import run_study
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.training.recipe import WarmupCosine


@register
@dataclass(frozen=True)
class Unhurried(WarmupCosine):
    """A millisecond a step is slept through, so that no machine has a run over before it can be disturbed."""

    def factor(self, step: int, total: int) -> float:
        time.sleep(1e-3)
        return super().factor(step, total)


MODEL = MLPConfig(widths=(64, 32))
RECIPE = replace(tiny.RECIPE, epochs=30, batch=64, schedule=Unhurried())
EVERY = 0.2  # seconds between checkpoints


def study() -> Study:
    alone = tuple(Run(tiny.TASK, MODEL, RECIPE, trial) for trial in range(2))
    taught = tuple(replace(run, distillation=Distillation(run)) for run in alone)
    live = replace(alone[0], distillation=Distillation(alone[0], teacher_mode="train"))
    return Study("small", "tiny", "?", {"MLP": alone, "MLP → MLP": taught, "left on": (live,)})


def say(event: Event) -> None:
    if event.kind != "epoch":
        print(event.kind, event.run.name, event.said.get("why", ""), flush=True)


def main() -> int:
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    try:
        return 1 if run_study(study(), Store(Path(sys.argv[1])), None, workers=workers, watch=say, every=EVERY) else 0
    except InputError as error:
        print(f"error: {error}", flush=True)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
