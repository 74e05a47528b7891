"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

import typer

from distillbias.cli import data, results, train
from distillbias.data.text import printable
from distillbias.errors import InputError, RunError

app = typer.Typer(
    help="Does a teacher's inductive bias reach its student through distillation, or only its accuracy?\n\n"
    "Start with: distillbias demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(data.app, name="data", no_args_is_help=True)
for command in (train.demo, train.run, train.report, results.pack, results.unpack, results.status, results.verify):
    app.command()(command)
app.command(name="list")(results.list_)
app.command()(results.evaluate)


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
