"""An ordinary PyTorch loop, as tutorials have it: DataLoader, teacher asked each step, the loss read each step."""

import torch
from benchmarks.peers.work import Clock, Job, Logits, Rows, collate
from torch.utils.data import DataLoader

VERSIONS = ("torch",)


def train(job: Job, clock: Clock) -> list[float]:
    teacher, student = Logits(job.teacher), Logits(job.student)
    batch = job.order.shape[1]
    loader = DataLoader(Rows(job.train), batch_size=batch, sampler=job.order.flatten().tolist(), collate_fn=collate)
    optimizer = torch.optim.Adam(student.parameters(), lr=job.workload.rate)
    job.settings = {"optimizer": "torch.optim.Adam", "loader": "DataLoader, num_workers 0"}
    losses = []
    student.train()
    for inputs, _ in loader:
        optimizer.zero_grad()
        with torch.no_grad(), job.autocast():
            heard = teacher(inputs)
        with job.autocast():
            said = student(inputs)
        loss = job.loss(said, heard)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        clock.tick()
    return losses
