"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distillbias.cli import data as data_commands
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
    SkipBad,
    StoreAt,
    StudyName,
    Trials,
    Workers,
)
from distillbias.data.text import printable
from distillbias.errors import InputError, RunError

if TYPE_CHECKING:
    from rich.console import Console

    from distillbias.report.kept import Written
    from distillbias.studies.executor import Executor as Trains
    from distillbias.studies.store import Store
    from distillbias.studies.study import Study

app = typer.Typer(
    help="Does a teacher's inductive bias reach its student through distillation, or only its accuracy?\n\n"
    "Start with: distillbias demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(data_commands.app, name="data", no_args_is_help=True)

DEMO = ("vision", "agreement")


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
def pack(
    study: StudyName,
    out: Annotated[Path, typer.Option(help="Folder to write to; the runs go to its sub-folder `packed`.")],
    scale: Scale = "demo",
    trials: Trials = None,
    epochs: Epochs = None,
    store: StoreAt = STORE,
) -> None:
    """Finished runs made small enough to publish: records, predictions, some activations, no weights.

    Example: distillbias pack agreement --scale laptop --out results/agreement-laptop
    """
    from distillbias.studies.catalogue import find_study
    from distillbias.studies.packing import pack
    from distillbias.studies.store import open_store

    packed = pack(find_study(study, scale, trials, epochs), open_store(store), out)
    typer.echo(f"{len(packed)} runs are packed in {out}")


@app.command()
def unpack(
    folder: Annotated[Path, typer.Argument(help="A folder that `pack` wrote to.")], store: StoreAt = STORE
) -> None:
    """Take packed runs into the store: reports read them, studies go on from them.

    Example: distillbias unpack results/agreement-laptop
    """
    from distillbias.studies.packing import unpack
    from distillbias.studies.store import open_store

    copied, there = unpack(folder, open_store(store))
    typer.echo(f"{copied} runs unpacked, {there} were there")


@app.command()
def status(
    study: StudyName, scale: Scale = "demo", trials: Trials = None, epochs: Epochs = None, store: StoreAt = STORE
) -> None:
    """What is done, running and missing, with times; also from another terminal while it runs.

    Example: distillbias status vision --scale laptop
    """
    from rich.console import Console

    from distillbias.studies.catalogue import find_study
    from distillbias.studies.progress import status_table
    from distillbias.studies.store import open_store

    Console().print(status_table(find_study(study, scale, trials, epochs), open_store(store)))


@app.command()
def verify(
    study: StudyName, scale: Scale = "demo", trials: Trials = None, epochs: Epochs = None, store: StoreAt = STORE
) -> None:
    """Read every file of a study's finished runs and name those that are missing or damaged; `run` mends them.

    Example: distillbias verify vision --scale laptop
    """
    from distillbias.studies.catalogue import find_study
    from distillbias.studies.store import open_store
    from distillbias.studies.verify import verify

    declared = find_study(study, scale, trials, epochs)
    found = verify(declared, open_store(store))
    for note in found.notes:
        typer.echo(f"note: {note.file} {note.what}")
    for damage in found.damage:
        typer.echo(f"damaged: {damage.file} {damage.what}")
    sums = f"{found.runs} of {len(declared.runs)} runs are finished, {found.files} files"
    if found.damage:
        raise RunError(f"{sums}, {len(found.damage)} damaged or missing; `distillbias run {study}` mends them")
    typer.echo(f"{sums}, all as they were written")


@app.command(name="list")
def list_() -> None:
    """Studies, models and tasks.

    Example: distillbias list
    """
    from rich.console import Console

    from distillbias.report.catalogue import catalogue_tables

    for table in catalogue_tables():
        Console().print(table)


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="The run's name or its beginning; the report lists them.")],
    data: Annotated[Path, typer.Option(help="A file or folder of a format that the run's task reads (see below).")],
    skip_bad: SkipBad = False,
    store: StoreAt = STORE,
    device: Device = "cpu",
) -> None:
    """Score a trained run on other data, slice by slice.

    For a run on images DATA is a .npz file with `images` [n, 28, 28] and `labels` [n], every further array of length
    n a tag to slice by; or a folder with test_images.npy and test_labels.npy, in it or in each of its sub-folders (the
    layout of MNIST-C); or a folder with the idx files of a test set.

    For a run on agreement it is a file of any agreement format, or a folder of them (`distillbias data import --help`);
    where attractors or distances are known each has a slice of its own.

    Example: distillbias evaluate 3f2a --data mnist_c
    """
    from rich.console import Console

    from distillbias.studies.outside import score_outside, score_table
    from distillbias.studies.runner import check_device
    from distillbias.studies.store import open_store

    check_device(device)
    scored = score_outside(run, data, open_store(store), device, skip_bad)
    Console().print(score_table(scored))
    _list_skipped(scored.skipped)


def _list_skipped(lines: Sequence[str]) -> None:
    for line in lines:
        typer.echo(f"left out: {printable(line)}", err=True)


def main() -> None:
    """Run the command; what a user did wrong, or a disk refused, is one line and status 1."""
    try:
        with _led() as leads:
            if leads:
                app()
    except (InputError, RunError) as error:
        typer.echo(f"error: {printable(str(error))}", err=True)
        raise SystemExit(1) from None
    except SystemExit as ended:
        if ended.code == 130:  # what typer makes of Ctrl-C
            typer.echo("stopped; what is finished is kept, the same command goes on from there", err=True)
        if "WORLD_SIZE" in os.environ and isinstance(ended.code, int | None):
            _end_at_once(ended.code or 0)
        raise
    if "WORLD_SIZE" in os.environ:
        _end_at_once(0)


def _end_at_once(status: int) -> None:
    """Of processes that torchrun started: the threads of gloo may abort a Python that ends in its own time."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _led() -> AbstractContextManager[bool]:
    """Of the processes that torchrun started one runs the command, the others help it to train."""
    if "WORLD_SIZE" not in os.environ:  # what is below imports torch, which takes seconds
        return nullcontext(True)
    from distillbias.studies.torchrun import led

    return led()
