"""A report is not made again where nothing has changed: runs, code, versions, and what was written.

What it was made from is noted in STORE/analyses/, so that a folder of results holds results alone.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from distillbias.data.cache import home
from distillbias.data.records import read_json
from distillbias.errors import InputError
from distillbias.report.terminal import Headline
from distillbias.studies.files import checksum, write_json
from distillbias.studies.store import DONE, Store
from distillbias.studies.study import Study

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "matplotlib-venn", "pyarrow", "Jinja2")


class Written(NamedTuple):
    page: Path
    headlines: tuple[Headline, ...]


class Kept:
    """The note of the report of `studies` in `out`."""

    def __init__(self, studies: Sequence[Study], store: Store, data: Path | None, out: Path):
        self.out = out
        place = hashlib.sha256(str(out.absolute()).encode()).hexdigest()[:16]
        self.note = store.root / "analyses" / f"report-{place}.json"
        self.key = _digest(
            [source(), versions(), str(home(data).absolute()), [_runs(study, store) for study in studies]]
        )

    def found(self) -> Written | None:
        """The report as it was written; None if it is not what would be written now."""
        try:
            note = read_json(self.note.read_bytes(), str(self.note))
            same = note["key"] == self.key and all(
                checksum(self.out / name) == digest for name, digest in note["files"].items()
            )
            shown = tuple(
                Headline(title, remark, tuple(columns), tuple(tuple(row) for row in rows))
                for title, remark, columns, rows in note["headlines"]
            )
        except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return Written(self.out / "report.html", shown) if same else None

    def keep(self, written: Written, files: Sequence[Path]) -> None:
        """Note what was written: `files` are in `out`, or in folders of it."""
        self.note.parent.mkdir(exist_ok=True)
        sums = {str(path.relative_to(self.out)): checksum(path) for path in files}
        write_json(self.note, {"key": self.key, "files": sums, "headlines": written.headlines})


def _runs(study: Study, store: Store) -> list[Any]:
    """Each run of each arm, and the checksums of what it left: None if it is not done."""
    marks = {run.name: store.folder(run) / DONE for run in study.runs}
    done = {name: checksum(mark) if mark.exists() else None for name, mark in marks.items()}
    return [study.title, study.question, [[arm, [run.name for run in runs]] for arm, runs in study.arms.items()], done]


@cache
def source() -> str:
    """Changes with any file of the package."""
    package = Path(__file__).parents[1]
    files = sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return _digest([[str(path.relative_to(package)), checksum(path)] for path in files])


def versions() -> list[str]:
    return [version(name) for name in LIBRARIES]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
