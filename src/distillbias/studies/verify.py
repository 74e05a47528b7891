"""Is everything that a study has on disk what was written?"""

from typing import NamedTuple

from distillbias.errors import InputError
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.studies.study import Study


class Finding(NamedTuple):
    file: str  # from the store's folder on
    what: str


class Verified(NamedTuple):
    """`damage` is what `run` mends, by training these runs again or asking a teacher again; `notes` are no damage."""

    runs: int  # finished ones
    files: int  # looked at
    damage: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def verify(study: Study, store: Store) -> Verified:
    """Read every file of the study's finished runs and their teachers' signals."""
    done = [run for run in study.runs if store.done(run)]
    damage = [
        Finding(f"runs/{run.name}/{file}", _state(store, run, file))
        for run in done
        for file in store.damaged(run, far=True)
    ]
    signals = [
        path for run in study.runs for path in sorted((store.root / "signals").glob(f"{run.name}-*.safetensors"))
    ]
    notes = [note for run in done for note in _other_teacher(run, store)]
    for path in signals:
        if not path.with_suffix(".sha256").exists():
            notes.append(Finding(f"signals/{path.name}", "has no checksum; the next student's teacher says it again"))
        elif not store.sound(path):
            damage.append(Finding(f"signals/{path.name}", "is not what was written"))
    files = len(signals) + sum(len(list(store.folder(run).iterdir())) for run in done)
    return Verified(len(done), files, tuple(damage), tuple(notes))


def _state(store: Store, run: Run, file: str) -> str:
    return "is not what was written" if store.has(run, file) else "is missing"


def _other_teacher(run: Run, store: Store) -> list[Finding]:
    """A teacher that was trained again elsewhere may differ in its last bits from the one that taught."""
    lesson = run.distillation
    if lesson is None or lesson.control == "untrained" or not store.done(lesson.teacher):
        return []
    try:
        taught_by = store.record(run).facts["teacher"]["weights"]
        now = store.record(lesson.teacher).facts["weights"]
    except (InputError, OSError, LookupError, TypeError):
        return []  # damaged, which is said already
    if taught_by == now:
        return []
    what = f"was taught by weights {taught_by[:12]} of {lesson.teacher.name}, which has {now[:12]} now"
    return [Finding(f"runs/{run.name}", what)]
