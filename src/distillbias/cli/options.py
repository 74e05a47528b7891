"""What several commands ask for."""

from pathlib import Path
from typing import Annotated

import typer

StudyName = Annotated[str, typer.Argument(help="The study; `distillbias list` names them.")]
Scale = Annotated[str, typer.Option(help="demo (minutes, embedded data), laptop (hours) or paper (one GPU).")]
Trials = Annotated[int | None, typer.Option(help="Repetitions, each with its own seeds and teachers.")]
Epochs = Annotated[int | None, typer.Option(help="Another length for every run: a quick look, not a result.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--arm", help="Train this arm alone, and its teachers; may be given several times."),
]
Data = Annotated[Path | None, typer.Option(help="Where data sets live [default: $DISTILLBIAS_DATA or the cache].")]
StoreAt = Annotated[
    str,
    typer.Option(
        envvar="DISTILLBIAS_STORE",
        help="Where runs and reports are kept: a folder, or a URL that fsspec knows, such as s3://bucket/prefix.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or cuda:1.")]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Runs at once [default: one a core, if there are 4 GB of memory for each, 9 GB for language models; "
        "on a GPU 4 or 2; with ray all that the nodes can take]."
    ),
]
Executor = Annotated[
    str,
    typer.Option(help="Where runs are trained: processes (of this machine) or ray (all nodes of a Ray cluster)."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of the Ray cluster: HOST:PORT of its head [default: $RAY_ADDRESS, or the one this machine is a node of]. "
        "--store must be a path that all nodes see, or a URL, and --data a path that all see."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the report [default: STORE/reports/STUDY-SCALE; reports/STUDY-SCALE if STORE is a URL]."
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and list them, instead of stopping.")]
STORE = "store"
