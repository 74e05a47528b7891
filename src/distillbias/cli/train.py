"""`distillbias demo`, `run` and `report`: from a declared study to its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distillbias.cli.options import (
    STORE,
    Address,
    Data,
    Device,
    Epochs,
    Executor,
    Only,
    Out,
    Scale,
    StoreAt,
    StudyName,
    Trials,
    Workers,
)
from distillbias.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from distillbias.report.kept import Written
    from distillbias.studies.executor import Executor as Trains
    from distillbias.studies.store import Store
    from distillbias.studies.study import Study

DEMO = ("vision", "agreement")


def demo(
    trials: Trials = None, epochs: Epochs = None, workers: Workers = None, store: StoreAt = STORE, out: Out = None
) -> None:
    """Both cases on embedded data, digits and generated sentences: train, distil, test, one report. Minutes.

    Example: distillbias demo
    """
    from rich.console import Console

    from distillbias.report.catalogue import report_of

    found = [_find(study, "demo", trials, epochs, store) for study in DEMO]
    failed = []
    for declared, kept in found:
        failed += _train(declared, kept, None, "cpu", _executor("processes", declared, kept, None, "cpu", workers))
    kept, studies, console = found[0][1], [declared for declared, _ in found], Console()
    with console.status("analysing and drawing"):
        written = report_of(studies, kept, None, out or kept.reports / studies[0].scale)
    _print_report(written, console)
    _check_failed(failed)


def run(
    study: StudyName,
    scale: Scale = "demo",
    trials: Trials = None,
    epochs: Epochs = None,
    arm: Only = None,
    data: Data = None,
    device: Device = "cpu",
    workers: Workers = None,
    executor: Executor = "processes",
    address: Address = None,
    store: StoreAt = STORE,
    out: Out = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is to do, how long and how big.")
    ] = False,
) -> None:
    """Train what is missing or damaged of a study, then report. Starting again goes on where it stopped, in the middle
    of a run, too: Ctrl-C once lets runs write a checkpoint, twice ends them at once.

    Example: distillbias run vision --scale laptop --data ~/data

    Some of it first: distillbias run vision --arm MLP --arm "CNN → MLP"

    On a Ray cluster, from one of its nodes: distillbias run vision --scale laptop --executor ray --store /shared/store
    --data /shared/data
    """
    from distillbias.studies.study import only

    declared, kept = _find(study, scale, trials, epochs, store)
    chosen = only(declared, arm or ())
    trains = _executor(executor, chosen, kept, data, device, workers, address)
    if dry_run:
        _plan(chosen, kept, data, device, trains)
        return
    failed = _train(chosen, kept, data, device, trains)
    report(study, scale, trials, epochs, data, store, out)
    _check_failed(failed)


def _find(study: str, scale: str, trials: int | None, epochs: int | None, store: str) -> tuple["Study", "Store"]:
    """What is declared and where it is kept, for commands that train."""
    from distillbias.studies.catalogue import find_study
    from distillbias.studies.store import open_store

    return find_study(study, scale, trials, epochs), open_store(store)


def _executor(
    name: str,
    declared: "Study",
    kept: "Store",
    data: Path | None,
    device: str,
    workers: int | None,
    address: str | None = None,
) -> "Trains":
    from distillbias.data.cache import home
    from distillbias.studies.executors import make_executor
    from distillbias.studies.worker import Place

    place = Place(kept.where, home(data).absolute(), device)  # a worker may run in another folder
    return make_executor(name, place, declared.runs, workers, address)


def _train(declared: "Study", kept: "Store", data: Path | None, device: str, trains: "Trains") -> list[str]:
    """Train what is missing; return a line if some runs failed."""
    from rich.console import Console

    from distillbias.studies.progress import Watcher
    from distillbias.studies.runner import run_study

    with Watcher(declared, kept, lambda: trains.slots, Console()) as watcher:
        failures = run_study(declared, kept, data, device, watch=watcher, executor=trains)
    return [f"{len(failures)} of {len(declared.runs)} runs failed"] if failures else []


def _plan(declared: "Study", kept: "Store", data: Path | None, device: str, trains: "Trains") -> None:
    """Say what there is to train; train nothing."""
    from rich.console import Console

    from distillbias.studies.plan import plan, plan_table

    console = Console()
    try:
        trains.events(0.0)  # a cluster counts its nodes
        slots = trains.slots
    finally:
        trains.close()
    with console.status("timing a few steps of what has not been trained here yet"):
        planned = plan(declared, kept, data, device)
    table, summary = plan_table(declared, kept, planned, slots)
    console.print(table)
    console.print(summary, soft_wrap=True, highlight=False)


def _check_failed(failed: list[str]) -> None:
    if failed:
        raise RunError(f"{', '.join(failed)}; the report shows the holes")


def report(
    study: StudyName,
    scale: Scale = "demo",
    trials: Trials = None,
    epochs: Epochs = None,
    data: Data = None,
    store: StoreAt = STORE,
    out: Out = None,
) -> None:
    """Tables, figures and one HTML page from what is done; what is missing is shown as missing. What is there already,
    of the same runs by the same code, is not made again.

    Example: distillbias report vision --scale laptop --out results/vision-laptop
    """
    from rich.console import Console

    from distillbias.report.catalogue import report_of
    from distillbias.studies.catalogue import find_study
    from distillbias.studies.store import open_store

    kept, declared, console = open_store(store), find_study(study, scale, trials, epochs), Console()
    with console.status("analysing and drawing; the loss basins take minutes the first time"):
        written = report_of([declared], kept, data, out or kept.reports / declared.title)
    _print_report(written, console)


def _print_report(written: "Written", console: "Console") -> None:
    from distillbias.report.terminal import rich_table

    for headline in written.headlines:
        console.print(rich_table(headline))
    console.print(f"report: {written.page}", soft_wrap=True, highlight=False, markup=False)
