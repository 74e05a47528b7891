"""Model + examples -> predictions, one row per example. Always in evaluation mode, float32, every row."""

import numpy as np
import torch
from torch import nn

from distillbias.tasks.task import Examples
from distillbias.training.batching import ResidentData


@torch.no_grad()
def predict(
    model: nn.Module, examples: Examples, rows: np.ndarray | None = None, batch: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, classes] and penultimate activations [n, width], float32, in the order of `examples` (or `rows`).

    The model's mode is restored. No batch is dropped (paper-facts T21).
    """
    was_training = model.training
    model.eval()
    try:
        data = ResidentData(examples, next(model.parameters()).device)
        chosen = torch.arange(len(data)) if rows is None else torch.as_tensor(rows)
        outputs = [model(data.rows(part.to(data.inputs.device)).inputs) for part in chosen.split(batch)]
    finally:
        model.train(was_training)
    logits = torch.cat([output.logits for output in outputs]).float().cpu().numpy()
    return logits, torch.cat([output.hidden["penultimate"] for output in outputs]).float().cpu().numpy()


def sample_rows(examples: Examples, count: int, seed: int) -> np.ndarray:
    """The fixed sample that representations are compared on: `count` rows (or all) without repeats, sorted."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.permutation(len(examples))[:count])
