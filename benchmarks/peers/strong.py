"""A PyTorch loop by someone who knows: data resident, the teacher asked once, fused Adam, no loss read before the end.

Of a language model the teacher's states are kept, which are small, and its logits made again in each step.
"""

import torch
from benchmarks.peers.work import Clock, Job, Logits, whole_logits
from torch import Tensor

from distillbias.models.output import Factored

VERSIONS = ("torch",)


def train(job: Job, clock: Clock) -> list[float]:
    inputs = torch.as_tensor(job.train.inputs)
    lengths = None if inputs.dtype == torch.uint8 else (inputs != 0).sum(1)
    student = Logits(job.student)
    optimizer = torch.optim.Adam(student.parameters(), lr=job.workload.rate, fused=True)
    job.settings = {"optimizer": "torch.optim.Adam, fused", "loader": "index of resident tensors"}

    def batch(rows: Tensor) -> Tensor:
        if lengths is None:
            return inputs[rows].float().div_(255)
        return inputs[rows, : int(lengths[rows].max())].long()

    kept, matrix = _asked_once(job, batch)
    losses = []
    student.train()
    for rows in job.order:
        seen = batch(rows)
        heard = kept[rows] if matrix is None else whole_logits(Factored(kept[rows, : seen.shape[1]], matrix), seen)
        optimizer.zero_grad()
        with job.autocast():
            said = student(seen)
        loss = job.loss(said, heard)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        clock.tick()
    return torch.stack(losses).tolist()


@torch.no_grad()
def _asked_once(job: Job, batch) -> tuple[Tensor, Tensor | None]:
    """The teacher's logits of all rows, or its states, [rows, longest, width], and what makes logits of them."""
    parts, matrix = [], None
    for rows in torch.arange(len(job.train)).split(256):
        seen = batch(rows)
        logits = job.teacher(seen).logits
        if isinstance(logits, Factored):
            matrix = logits.matrix
            logits = torch.nn.functional.pad(logits.states, (0, 0, 0, job.train.inputs.shape[1] - seen.shape[1]))
        parts.append(logits)
    return torch.cat(parts), matrix
