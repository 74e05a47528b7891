"""A report whose figures are drawn, but not saved: what takes time is the saving."""

from pathlib import Path

import pytest

from distillbias.report import writing
from distillbias.report.catalogue import write_report
from distillbias.report.figures_style import Saved
from distillbias.studies.store import Store
from distillbias.studies.study import Study

PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(8) + bytes([0, 0, 0, 3, 0, 0, 0, 3])


def report(study: Study, store: Store, out: Path) -> Path:
    """`out`, with the names of all figures in its file `drawn`."""
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        path = out / "figures" / "one.png"
        patch.setattr(writing, "save", lambda figure, folder, name: drawn.append(name) or Saved(PIXEL, path, path))
        write_report(study, store, None, out)
    (out / "drawn").write_text("\n".join(drawn))
    return out
