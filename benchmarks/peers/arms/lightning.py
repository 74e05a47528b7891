"""Lightning: a module with a `training_step`, and its Trainer.

As shipped: progress bar, logger and checkpoints are on. Tuned: they are off.
"""

import tempfile
import warnings

import lightning
import torch
from benchmarks.peers.arms.plain import distillation_loss
from benchmarks.peers.given import Given, Item, Watch, main
from torch import Tensor


class Distillation(lightning.LightningModule):
    def __init__(self, given: Given, watch: Watch):
        super().__init__()
        self.student, self.teacher = given.student(), given.teacher()
        self.temperature, self.rate, self.tuned, self.watch = given.temperature, given.rate, given.tuned, watch

    def training_step(self, batch: Item, index: int) -> Tensor:
        inputs, _ = batch
        with torch.no_grad():
            answers = self.teacher(inputs)
        loss = distillation_loss(self.student(inputs), answers, self.temperature)
        if not self.tuned:
            self.log("loss", loss, prog_bar=True)
        self.watch(loss)
        return loss

    def on_train_start(self) -> None:
        self.teacher.eval()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.student.parameters(), lr=self.rate)


def train(given: Given, watch: Watch) -> None:
    warnings.simplefilter("ignore")  # advice on the number of loader processes
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator=given.device,
            max_steps=given.steps,
            max_epochs=1,
            precision="bf16-mixed" if given.precision == "bfloat16" else "32-true",
            default_root_dir=folder,
            **quiet if given.tuned else {},
        )
        trainer.fit(Distillation(given, watch), given.loader())


if __name__ == "__main__":
    main(train, "lightning")
