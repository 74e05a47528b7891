"""What a study would do, how long that takes and how much room, before it is done."""

import io
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from rich.table import Table

from distillbias.evaluation.predict import predict
from distillbias.models.output import parameter_count
from distillbias.studies.execute import SAMPLE, STAGES, fit, load_splits
from distillbias.studies.lessons import Lesson, build
from distillbias.studies.progress import Kind, duration, kind, step_work
from distillbias.studies.run import Run
from distillbias.studies.runner import damaged, missing
from distillbias.studies.store import CHECKPOINT, Store
from distillbias.studies.study import Study
from distillbias.tasks.task import Examples, Splits
from distillbias.training.objectives import from_labels

STEPS = 5  # that a kind of run is timed by, after one to warm up
ROW = 24  # bytes of an example's tags in the predictions, beside its logits


class Planned(NamedTuple):
    run: Run
    seconds: float  # on one worker, from where its checkpoint is
    megabytes: float
    known: bool  # from finished runs, else from a few steps


def plan(study: Study, store: Store, data: Path | None, device: str = "cpu") -> list[Planned]:
    """Every run that is to be trained. Kinds of which none is finished are timed: that takes some seconds each, and
    what they say is said once."""
    todo = {run.name: run for run in [*missing(study, store), *damaged(study, store)]}
    begun = _steps_done(study, store)
    paces = _paces(study, store)
    known, found, said = set(paces), [], io.StringIO()
    for run in todo.values():
        splits = load_splits(run.task, data)
        key = (kind(run), run.task, run.recipe.batch, run.recipe.precision)
        if key not in paces:
            with redirect_stdout(said):
                paces[key] = _timed(run, splits, device)
        epoch, evaluation = paces[key]
        left = 1 - begun.get(run, 0) / run.recipe.steps(len(splits.train))
        found.append(Planned(run, run.recipe.epochs * epoch * left + evaluation, _megabytes(run, splits), key in known))
    for line in dict.fromkeys(said.getvalue().splitlines()):
        print(line)
    return found


def _steps_done(study: Study, store: Store) -> dict[Run, int]:
    """{run that is not done: steps of its newest checkpoint, 0 without one}."""
    found = {}
    for run in study.runs:
        if not store.done(run):
            names = [path.name.removeprefix(CHECKPOINT) for path in store.folder(run).glob(f"{CHECKPOINT}*")]
            found[run] = max((int(name) for name in names if name.isdigit()), default=0)
    return found


Pace = tuple[float, float]  # seconds an epoch, seconds beside the training


def _paces(study: Study, store: Store) -> dict[tuple, Pace]:
    """Means over the study's finished runs, by what decides the time."""
    seen: dict[tuple, list[Pace]] = defaultdict(list)
    for run in study.runs:
        if store.done(run):
            took = store.record(run).facts["seconds"]
            beside = took["preparing"] + took["evaluating"]
            key = (kind(run), run.task, run.recipe.batch, run.recipe.precision)
            seen[key].append((took["training"] / run.recipe.epochs, beside))
    return {key: (_mean([a for a, _ in paces]), _mean([b for _, b in paces])) for key, paces in seen.items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _timed(run: Run, splits: Splits, device: str) -> Pace:
    """A few steps on labels and one batch of predictions, on one thread; a live teacher is added by arithmetic."""
    model = build(run, device)
    short = replace(run, recipe=replace(run.recipe, epochs=1), distillation=None)

    def learn(steps: int) -> None:
        few = _first(splits.train, steps * run.recipe.batch)
        fit(short, model, Lesson(from_labels()), few, lambda said: None)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _seconds(lambda: learn(1))
        step = _seconds(lambda: learn(STEPS)) / STEPS
        test = next(iter(splits.tests.values()))
        some = min(len(test), 500)
        forward = _seconds(lambda: predict(model, _first(test, some))) / some
    finally:
        torch.set_num_threads(threads)
    alone: Kind = (run.model, None)
    step *= step_work(kind(run), run.task.spec) / step_work(alone, run.task.spec)
    tested = sum(len(each) for each in (*splits.tests.values(), splits.validation))
    return step * (len(splits.train) // run.recipe.batch), forward * tested


def _seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def _first(examples: Examples, count: int) -> Examples:
    columns = {name: values[:count] for name, values in examples.columns.items()}
    return replace(
        examples,
        inputs=examples.inputs[:count],
        labels=examples.labels[:count],
        ids=examples.ids[:count],
        columns=columns,
    )


def _megabytes(run: Run, splits: Splits) -> float:
    """Weights, predictions and activations as they are before compression; checkpoints come and go."""
    model = build(run)
    width = predict(model, _first(splits.train, 1))[1].shape[1]
    tested = sum(len(each) for each in (*splits.tests.values(), splits.validation))
    classes = 2 if run.task.spec.vocabulary else run.task.spec.classes  # of an answer: singular and plural
    samples = len(run.task.headline) + (len(STAGES) if run.task.path else 0)
    values = parameter_count(model) + tested * classes + samples * SAMPLE * width
    return (4 * values + ROW * tested) / 1e6


def plan_table(study: Study, store: Store, planned: list[Planned], workers: int) -> tuple[Table, str]:
    """The table arm by arm, and the sum in one line."""
    todo = {each.run.name: each for each in planned}
    begun = _steps_done(study, store)
    table = Table(title=f"{study.title}: {len(todo)} of {len(study.runs)} runs to train")
    for column in ("arm", "done", "to train", "goes on", "time each", "disk each"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for arm, runs in study.arms.items():
        open_runs = [todo[run.name] for run in runs if run.name in todo]
        each = open_runs[0] if open_runs else None
        table.add_row(
            arm,
            str(len(runs) - len(open_runs)),
            str(len(open_runs)),
            str(sum(begun.get(one.run, 0) > 0 for one in open_runs)),
            f"{'' if each.known else 'about '}{duration(_mean([one.seconds for one in open_runs]))}" if each else "",
            f"{each.megabytes:.1f} MB" if each else "",
        )
    seconds = sum(each.seconds for each in planned) / max(1, min(workers, len(planned)))
    free = shutil.disk_usage(store.root).free / 1e9
    total = sum(each.megabytes for each in planned)
    timed = "" if all(each.known for each in planned) else "; 'about': timed by a few steps, now"
    return table, (
        f"about {duration(seconds)} on {workers} workers, at most {total:,.0f} MB of disk "
        f"({free:,.0f} GB are free){timed}; nothing was trained"
    )
