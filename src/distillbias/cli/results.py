"""What there is, and what can be done with what is done: `distillbias pack`, `unpack`, `status`, `verify`, `evaluate`,
`list`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from distillbias.cli.options import STORE, Device, Epochs, Scale, SkipBad, StoreAt, StudyName, Trials
from distillbias.data.text import printable
from distillbias.errors import RunError


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


def list_() -> None:
    """Studies, models and tasks.

    Example: distillbias list
    """
    from rich.console import Console

    from distillbias.studies.listing import listing

    for table in listing():
        Console().print(table)
