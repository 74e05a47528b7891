"""Lightning: a LightningModule with teacher and student, and the Trainer with what it does by itself.

https://lightning.ai/docs/pytorch/stable/common/lightning_module.html
Tuned: no progress bar, no logger, no checkpoint.
"""

import tempfile
from typing import Any

import lightning
import torch
from benchmarks.peers.work import Clock, Job, Logits, Rows, collate
from torch import Tensor
from torch.utils.data import DataLoader

VERSIONS = ("lightning", "torch")


class Distillation(lightning.LightningModule):
    def __init__(self, job: Job):
        super().__init__()
        self.job, self.losses = job, []
        self.student, self.teacher = Logits(job.student), Logits(job.teacher).eval().requires_grad_(False)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, _ = batch
        with torch.no_grad():
            heard = self.teacher(inputs)
        loss = self.job.loss(self.student(inputs), heard)
        if not self.job.tuned:
            self.log("train_loss", loss, prog_bar=True)
        self.losses.append(loss.detach())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.student.parameters(), lr=self.job.workload.rate)


class Ticks(lightning.Callback):
    def __init__(self, clock: Clock):
        self.clock = clock

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.clock.tick()


def train(job: Job, clock: Clock) -> list[float]:
    batch = job.order.shape[1]
    loader = DataLoader(Rows(job.train), batch_size=batch, sampler=job.order.flatten().tolist(), collate_fn=collate)
    module = Distillation(job)
    quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False} if job.tuned else {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            devices=1,
            precision="bf16-mixed" if job.precision == "bfloat16" else "32-true",
            default_root_dir=folder,
            callbacks=[Ticks(clock)],
            **quiet,
        )
        trainer.fit(module, loader)
    job.settings = {"optimizer": "torch.optim.Adam", "loader": "DataLoader, num_workers 0", "tuned": job.tuned}
    return torch.stack(module.losses).tolist()
