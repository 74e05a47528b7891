"""Hugging Face Trainer: `compute_loss` is overridden, as its documentation shows for distillation.

As shipped: what TrainingArguments log and save by default. Tuned: no logs, no progress bar, no checkpoints.
"""

import tempfile
from typing import Any

import torch
from benchmarks.peers.arms.plain import distillation_loss
from benchmarks.peers.given import Given, Item, Watch, collate, main
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments


class DistillationTrainer(Trainer):
    def __init__(self, given: Given, watch: Watch, **others: Any):
        super().__init__(**others)
        self.given, self.watch, self.teacher = given, watch, given.teacher()

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], **others: Any) -> Tensor:
        with torch.no_grad():
            answers = self.teacher(inputs["inputs"])
        loss = distillation_loss(model(inputs["inputs"]), answers, self.given.temperature)
        self.watch(loss)
        return loss

    def get_train_dataloader(self) -> DataLoader[Any]:
        rows = self.given.rows.tolist()
        return self.accelerator.prepare(DataLoader(self.train_dataset, batch_sampler=rows, collate_fn=named))


def named(items: list[Item]) -> dict[str, Tensor]:
    inputs, labels = collate(items)
    return {"inputs": inputs, "labels": labels}


def train(given: Given, watch: Watch) -> None:
    quiet = {"logging_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=given.steps,
            per_device_train_batch_size=given.batch,
            learning_rate=given.rate,
            lr_scheduler_type="constant",
            weight_decay=0.0,  # AdamW without decay is Adam
            max_grad_norm=0.0,  # no arm clips
            bf16=given.precision == "bfloat16",
            use_cpu=given.device == "cpu",
            remove_unused_columns=False,
            **quiet if given.tuned else {},
        )
        DistillationTrainer(
            given, watch, model=given.student(), args=arguments, train_dataset=given.train, data_collator=named
        ).train()


if __name__ == "__main__":
    main(train, "transformers")
