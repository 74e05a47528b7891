"""Resident data: the whole set in memory or on the device, batches by index, no DataLoader, no host sync."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from distillbias.tasks.task import Examples
from distillbias.training.objectives import Batch

Signal = Callable[[Int[Tensor, " batch"], Tensor], Tensor]  # (rows, inputs) -> teacher's logits
Order = Callable[[int], torch.Generator]  # epoch -> the stream that orders it


def to_float(pixels: UInt8[Tensor, "batch row col"]) -> Tensor:
    """0..255 to [0, 1], as the paper (no mean, no standard deviation)."""
    return pixels.float().div_(255)


class ResidentData:
    """Examples as tensors on a device; images stay bytes until they are used."""

    def __init__(self, examples: Examples, device: str | torch.device = "cpu"):
        self.inputs = torch.as_tensor(examples.inputs, device=device)
        self.labels = torch.as_tensor(examples.labels, device=device)

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: Tensor, signal: Signal | None = None) -> Batch:
        inputs = to_float(self.inputs[rows])
        return Batch(inputs, self.labels[rows], signal(rows, inputs) if signal else None)

    def batches(self, epochs: int, batch: int, order: Order, signal: Signal | None = None) -> Iterator[Batch]:
        """Every epoch in a fresh full shuffle (T27) from its own stream, so that the number of epochs changes
        no earlier one; what a last full batch leaves over is left out of that epoch, other rows each time."""
        for epoch in range(epochs):
            rows = torch.randperm(len(self), generator=order(epoch)).to(self.inputs.device)
            for start in range(0, len(self) - batch + 1, batch):
                yield self.rows(rows[start : start + batch], signal)
