"""`distillbias data`: data sets, where they are and how to get them."""

from pathlib import Path
from typing import Annotated

import typer

from distillbias.cli.options import Data, SkipBad

app = typer.Typer(help="Data sets: where they are, how to get them.\n\nExample: distillbias data list")


@app.command("list")
def data_list(data: Data = None) -> None:
    """The data sets, and which of them are here.

    Example: distillbias data list
    """
    from distillbias.data import agreement
    from distillbias.data.cache import available, home

    place = home(data)
    typer.echo(f"data sets in {place}")
    for entry in available(place):
        state = (
            "complete" if entry.complete else (f"partial: {', '.join(entry.present)}" if entry.present else "not here")
        )
        typer.echo(f"  {entry.data_set.name}: {entry.data_set.description} [{state}]")
    sets = ", ".join(agreement.available(place)) or "not here"
    typer.echo(f"  agreement: English sentences for subject-verb agreement [{sets}]")


@app.command("get")
def data_get(name: Annotated[str, typer.Argument(help="mnist or mnist_c")], data: Data = None) -> None:
    """Download a data set from its public mirrors and verify it.

    Example: distillbias data get mnist
    """
    from distillbias.data.cache import download, home

    def progress(file: str, read: int, total: int) -> None:
        typer.echo(f"\r{file}: {read / 1e6:.1f} of {total / 1e6:.1f} MB", nl=read == total)

    place = home(data)
    download(name, place, progress=progress)
    typer.echo(f"{name} is in {place}")


@app.command("import")
def data_import(
    name: Annotated[str, typer.Argument(help="mnist, mnist_c or agreement")],
    folder: Annotated[Path, typer.Argument(help="Where the files are.")],
    data: Data = None,
    skip_bad: SkipBad = False,
) -> None:
    """Verify files you have and copy them to where data sets live.

    Agreement data are recognised by their content, plain or as .xz or .gz: the authors' whole table
    (agr_50_mostcommon_10K.tsv), the simple release (numpred.*), tables of sentences with subject and verb positions,
    X.text with X.gold, tables from treebanks, BLiMP, Marvin & Linzen, Lakretz.

    Example: distillbias data import mnist ~/Downloads/mnist
    """
    from distillbias.data.cache import home, import_folder

    for path in import_folder(name, folder, home(data), skip_bad):
        typer.echo(path)


@app.command("verify")
def data_verify(name: Annotated[str, typer.Argument(help="mnist, mnist_c or agreement")], data: Data = None) -> None:
    """Check every file of a data set against what it must hold.

    Example: distillbias data verify mnist
    """
    from distillbias.data.cache import home, verify

    states = verify(name, home(data))
    for status in states:
        typer.echo(f"{status.state:8} {status.file}: {status.reason}")
    if any(status.state != "ok" for status in states):
        raise typer.Exit(1)
