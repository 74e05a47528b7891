"""Loss on the line between two trained models, for all pairs of Figures 8 and 9. Kept on disk: it takes minutes.

θ(λ) = λ θ₁ + (1 - λ) θ₂, label cross-entropy on the test set; batch-norm statistics are recomputed on training
examples at every point (T23), and once more left as they were interpolated, to show what that does. The weights at
the end points are those of the trained models, bit for bit.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillbias.analysis.barrier import barrier_height, loss_path
from distillbias.analysis.permute import align
from distillbias.studies.execute import load_splits
from distillbias.studies.files import write_json
from distillbias.studies.lessons import load_model
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.tasks.task import Splits
from distillbias.training.batching import ResidentData

WEIGHTS = tuple(step / 20 for step in range(21))
REFRESH_ROWS = 5_000
BATCH = 500


@dataclass(frozen=True)
class Line:
    """Losses at each of `WEIGHTS`, and the heights of their barriers."""

    refreshed: list[float]
    interpolated: list[float]

    @property
    def heights(self) -> tuple[float, float]:
        """With statistics refreshed, and as interpolated; 0 means that the ends share a basin along this line."""
        return barrier_height(self.refreshed, WEIGHTS), barrier_height(self.interpolated, WEIGHTS)


def line(first: Run, second: Run, store: Store, data: Path | None) -> Line:
    """The losses between two finished runs: weight 1 is `first`, weight 0 is `second`."""
    path = _path(first, second, store)
    if not path.exists():
        write_json(path, _losses(first, second, store, data, ("refreshed", "interpolated")))
    return Line(**json.loads(path.read_text()))


def aligned_height(first: Run, second: Run, store: Store, data: Path | None) -> float:
    """Of the barrier, statistics refreshed, with the hidden units of `second` in the order that lies nearest to `first`
    (`analysis.permute`)."""
    path = _path(first, second, store, "hidden units aligned")
    if not path.exists():
        write_json(path, _losses(first, second, store, data, ("refreshed",), aligned=True))
    return barrier_height(json.loads(path.read_text())["refreshed"], WEIGHTS)


def _losses(
    first: Run, second: Run, store: Store, data: Path | None, kinds: tuple[str, ...], aligned: bool = False
) -> dict[str, list[float]]:
    model, other = load_model(first, store), load_model(second, store)
    splits = load_splits(first.task, data)
    ends = model.state_dict(), other.state_dict()
    if aligned:
        ends = ends[0], align(model, *ends, seed=0)
    loss, batches = _test_loss(splits, first), {"refreshed": refresh_batches(splits), "interpolated": None}
    return {kind: loss_path(load_model(first, store), *ends, list(WEIGHTS), loss, batches[kind]) for kind in kinds}


def _path(first: Run, second: Run, store: Store, *how: str) -> Path:
    folder = store.root / "analyses"
    folder.mkdir(exist_ok=True)
    weights = [store.record(run).facts["weights"] for run in (first, second)]
    key = json.dumps(["refreshed at every point", WEIGHTS, REFRESH_ROWS, *weights, *how])
    return folder / f"line-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def refresh_batches(splits: Splits) -> list[Tensor]:
    """The same seeded training examples for every pair and point."""
    count = min(REFRESH_ROWS, len(splits.train))
    rows = np.sort(np.random.default_rng(0).permutation(len(splits.train))[:count])
    data = ResidentData(splits.train)
    return [data.rows(part).inputs for part in torch.as_tensor(rows).split(BATCH)]


class _test_loss:
    """Mean label cross-entropy on the test set as it is, in evaluation mode."""

    def __init__(self, splits: Splits, run: Run):
        self.data = ResidentData(splits.tests[next(iter(run.task.headline.values()))])

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> float:
        model.eval()
        total = 0.0
        for rows in torch.arange(len(self.data)).split(BATCH):
            batch = self.data.rows(rows)
            total += F.cross_entropy(model(batch.inputs).logits, batch.labels, reduction="sum").item()
        return total / len(self.data)
