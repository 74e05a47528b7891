"""The best plain loop that a user writes without this project: data resident in memory, the teacher asked once for
each example, Adam fused, nothing that waits for the device in a step, bf16 by autocast if asked for."""

import time

import torch
import torch.nn.functional as F
from benchmarks.peers.arms.plain import distillation_loss
from benchmarks.peers.given import Given, Said, Watch, main
from torch import Tensor, nn

from distillbias.models.output import Factored


def train(given: Given, watch: Watch) -> Said:
    student = given.student().train()
    inputs, lengths = resident(given.train.inputs, given.device)
    began = time.perf_counter()
    signal = Signal(given, inputs, lengths)
    cached = (time.perf_counter() - began) / len(inputs)
    optimizer = torch.optim.Adam(student.parameters(), lr=given.rate, fused=True)
    for rows in given.rows:
        batch = cut(inputs, lengths, rows)
        with torch.autocast(given.device, torch.bfloat16, enabled=given.precision == "bfloat16"):
            answers, logits = signal(rows, batch), student(batch)
        loss = distillation_loss(logits.float(), answers.float(), given.temperature)
        watch(loss)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return {"cache": cached} | given.timed_evaluation(lambda: evaluate(student, given))


def resident(array: object, device: str) -> tuple[Tensor, Tensor | None]:
    """All inputs as one tensor on the device, and how many words each has."""
    inputs = torch.as_tensor(array)
    lengths = None if inputs.dtype == torch.uint8 else (inputs != 0).sum(1)
    return inputs.to(device), lengths


def cut(inputs: Tensor, lengths: Tensor | None, rows: Tensor) -> Tensor:
    if lengths is None:
        return inputs[rows].float().div_(255)
    return inputs[rows, : int(lengths[rows].max())].long()


class Signal:
    """The teacher's logits by row. Of a language model its states, of which a product makes the logits: logits of
    10,000 words at each of a million positions would fill 40 GB."""

    @torch.no_grad()
    def __init__(self, given: Given, inputs: Tensor, lengths: Tensor | None):
        self.matrix, teacher = None, given.teacher().model
        order = torch.arange(len(inputs)) if lengths is None else lengths.argsort()
        found = []
        for rows in order.split(500):
            said = teacher(cut(inputs, lengths, rows)).logits
            if isinstance(said, Factored):
                self.matrix, said = said.matrix, said.states
                said = F.pad(said, (0, 0, 0, inputs.shape[1] - said.shape[1]))
            found.append(said)
        self.kept = torch.cat(found)[order.argsort()]

    def __call__(self, rows: Tensor, batch: Tensor) -> Tensor:
        if self.matrix is None:
            return self.kept[rows]
        return self.kept[rows, : batch.shape[1] - 1][batch[:, 1:] != 0] @ self.matrix.T


@torch.no_grad()
def evaluate(student: nn.Module, given: Given) -> float:
    """As `plain` does, from memory, sentences of like length together."""
    student.eval()
    inputs, lengths = resident(given.test.inputs, given.device)
    order = torch.arange(len(inputs)) if lengths is None else lengths.argsort()
    return float(sum(student(cut(inputs, lengths, rows)).max(1).values.sum() for rows in order.split(given.batch)))


if __name__ == "__main__":
    main(train)
