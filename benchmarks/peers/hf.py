"""Trainer of Hugging Face's transformers with a `compute_loss` of one's own, as its guide to distillation has it.

https://huggingface.co/docs/transformers/tasks/knowledge_distillation_for_image_classification
Tuned: no progress bar, nothing logged.
"""

import tempfile
from typing import Any

import torch
from benchmarks.peers.work import Clock, Job, Logits, Rows, collate
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

VERSIONS = ("transformers", "accelerate", "torch")


class Ticks(TrainerCallback):
    def __init__(self, clock: Clock):
        self.clock = clock

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.clock.tick()


class DistillationTrainer(Trainer):
    def __init__(self, job: Job, **named: Any):
        super().__init__(model=Logits(job.student), train_dataset=Rows(job.train), **named)
        self.job, self.teacher, self.losses = job, Logits(job.teacher).eval(), []

    def compute_loss(self, model: nn.Module, inputs: dict, return_outputs: bool = False, **named: Any) -> Any:
        said = model(inputs["inputs"])
        with torch.no_grad(), self.job.autocast():
            heard = self.teacher(inputs["inputs"])
        loss = self.job.loss(said, heard)
        self.losses.append(loss.detach())
        return (loss, said) if return_outputs else loss

    def _get_train_sampler(self, *arguments: Any) -> list[int]:
        return self.job.order.flatten().tolist()


def _as_dictionary(rows: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    inputs, labels = collate(rows)
    return {"inputs": inputs, "labels": labels}


def train(job: Job, clock: Clock) -> list[float]:
    steps, batch = job.order.shape
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=job.workload.rate,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            remove_unused_columns=False,
            bf16=job.precision == "bfloat16",
            disable_tqdm=job.tuned,
            logging_strategy="no" if job.tuned else "steps",
        )
        trainer = DistillationTrainer(job, args=arguments, data_collator=_as_dictionary, callbacks=[Ticks(clock)])
        trainer.train()
    job.settings = {"optimizer": str(arguments.optim), "logging_steps": arguments.logging_steps, "tuned": job.tuned}
    return torch.stack(trainer.losses).tolist()
