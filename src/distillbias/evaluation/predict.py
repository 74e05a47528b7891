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

    The model's mode is restored. No batch is dropped (paper-facts T21). Sentences of like length are
    computed together; which ones changes an answer only in the last bits of a float32 sum.
    """
    was_training = model.training
    model.eval()
    try:
        data = ResidentData(examples, next(model.parameters()).device)
        chosen = torch.arange(len(data)) if rows is None else torch.as_tensor(rows)
        places = data.by_length(chosen)
        logits, hidden = [], []
        for part in chosen[places].split(batch):  # keep no other activation: those of 60,000 images fill 10 GB
            output = model(data.rows(part).inputs)
            logits.append(output.logits.float().cpu())
            hidden.append(output.hidden["penultimate"].float().cpu())
    finally:
        model.train(was_training)
    back = places.argsort()
    return torch.cat(logits)[back].numpy(), torch.cat(hidden)[back].numpy()


def sample_rows(examples: Examples, count: int, seed: int) -> np.ndarray:
    """The fixed sample that representations are compared on: `count` rows (or all) without repeats, sorted."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.permutation(len(examples))[:count])
