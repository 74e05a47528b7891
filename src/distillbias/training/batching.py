"""Resident data: the whole set in memory or on the device, batches by index, no DataLoader, no host sync."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from distillbias.models.output import Factored
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Examples
from distillbias.training.objectives import Batch
from distillbias.training.parallel import ALONE, Ranks

Signal = Callable[[Int[Tensor, " batch"], Tensor], Tensor | Factored]  # (rows, inputs) -> teacher's logits
Order = Callable[[int], torch.Generator]  # epoch -> the stream that orders it

BUCKETS = 64  # batches that are sorted by length together
MOST_WORDS = 2**14  # that are evaluated together: 500 sentences of up to 32 words
CPU_WORDS = 2**11  # on a CPU: what they become stays in its caches, which is faster
AHEAD = 64  # batches of images that are put together at once on a GPU: 26 MB of 128, a few launches for all


def to_float(pixels: UInt8[Tensor, "batch row col"]) -> Tensor:
    """0..255 to [0, 1], as the paper (no mean, no standard deviation)."""
    return pixels.float().div_(255)


class ResidentData:
    """Examples as tensors on a device; images stay bytes until they are used, words are cut to the longest row."""

    def __init__(self, examples: Examples, device: str | torch.device = "cpu"):
        self.inputs = torch.as_tensor(examples.inputs, device=device)
        self.labels = torch.as_tensor(examples.labels, device=device)
        words = not self.inputs.dtype == torch.uint8
        # on the CPU, where batches are put together: a length is needed before the batch is made
        self.lengths = torch.as_tensor((examples.inputs != 0).sum(1)) if words else None
        # what a loss is the mean over: the words that follow another, or the examples themselves
        next_words = self.lengths - 1 if isinstance(examples, NextWordExamples) and self.lengths is not None else None
        self.counts = torch.ones(len(self), dtype=torch.int64) if next_words is None else next_words

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: Int[Tensor, " batch"], signal: Signal | None = None) -> Batch:
        """The examples at `rows` (on the CPU)."""
        here = rows.to(self.inputs.device)
        if self.lengths is None:
            inputs = to_float(self.inputs.index_select(0, here))  # faster than indexing
        else:
            inputs = self.inputs[here, : int(self.lengths[rows].max())].long()
        return Batch(inputs, self.labels.index_select(0, here), signal(here, inputs) if signal else None)

    def batches(
        self,
        epochs: int,
        batch: int,
        order: Order,
        signal: Signal | None = None,
        start: int = 0,
        ranks: Ranks = ALONE,
    ) -> Iterator[Batch]:
        """Every epoch in a fresh full shuffle (T27) from its own stream, so that the number of epochs changes
        no earlier one; what a last full batch leaves over is left out of that epoch, other rows each time.

        The first `start` batches are left out, and their teacher is not asked. Of each batch this rank's part.
        """
        first, skipped = divmod(start, max(1, len(self) // batch))
        for epoch in range(first, epochs):
            generator = order(epoch)
            rows = torch.randperm(len(self), generator=generator)
            rows = rows[: len(self) // batch * batch]
            parts = rows.view(-1, batch) if self.lengths is None else self._bucketed(rows, batch, generator)
            parts = parts[skipped if epoch == first else 0 :]
            if ranks.world == 1:
                yield from self.each(parts, signal)
                continue
            for part in parts:
                own = ranks.part(part)
                share = int(self.counts[own].sum()) / int(self.counts[part].sum())
                yield self.rows(own, signal)._replace(share=share)

    def each(self, parts: Int[Tensor, "batches batch"], signal: Signal | None) -> Iterator[Batch]:
        """`rows` of one part after another."""
        if self.lengths is not None or self.inputs.device.type == "cpu":
            yield from (self.rows(part, signal) for part in parts)
            return
        for some in parts.split(AHEAD):
            here = some.pin_memory().to(self.inputs.device, non_blocking=True)
            inputs = to_float(self.inputs.index_select(0, here.flatten())).unflatten(0, here.shape)
            labels = self.labels[here]
            for rows, images, answers in zip(here, inputs, labels, strict=True):
                yield Batch(images, answers, signal(rows, images) if signal else None)

    def _bucketed(self, rows: Tensor, batch: int, generator: torch.Generator) -> Tensor:
        """[batches, batch]: rows of like length together, so that little padding is computed; batches shuffled."""
        assert self.lengths is not None
        pools = [pool[self.lengths[pool].argsort(stable=True)] for pool in rows.split(BUCKETS * batch)]
        batches = torch.cat(pools).view(-1, batch)
        return batches[torch.randperm(len(batches), generator=generator)]

    def by_length(self, rows: Int[Tensor, " n"], batch: int) -> Iterator[Int[Tensor, " part"]]:
        """Places in `rows`, at most `batch` at a time: like lengths together, in order where there are no lengths.

        With the padding no more than MOST_WORDS, on a CPU CPU_WORDS: what a Transformer holds at once grows with them
        and with their length.
        """
        if self.lengths is None:
            yield from torch.arange(len(rows)).split(batch)
            return
        lengths, order = self.lengths[rows].sort(stable=True)
        most = CPU_WORDS if self.inputs.device.type == "cpu" else MOST_WORDS
        start = 0
        while start < len(order):
            padded = lengths[start : start + batch] * torch.arange(1, len(lengths[start : start + batch]) + 1)
            count = max(1, int((padded <= most).sum()))
            yield order[start : start + count]
            start += count
