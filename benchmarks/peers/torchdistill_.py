"""torchdistill: its DistillationBox, driven as its example `examples/torchvision/image_classification.py` does.

Its KDLoss without a label term has no factor tau**2; the weight of the term gives it.
Tuned: the loss is not read in each step and there is no MetricLogger.
"""

from typing import Any

import torch
from benchmarks.peers.work import Clock, Job, Logits, Rows, collate

try:
    import torchvision  # noqa: F401  torchdistill reads its lists of data sets and models
except RuntimeError:
    # beside a CPU build of torch the registry's torchvision finds none of its operators; nothing here uses them
    import sys

    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    OPERATORS = torch.library.Library("torchvision", "DEF")
    OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

import torchvision.datasets  # noqa: E402, F401
import torchvision.models  # noqa: E402, F401
from torchdistill.core.distillation import get_distillation_box  # noqa: E402
from torchdistill.datasets.registry import register_collate_func  # noqa: E402
from torchdistill.misc.log import MetricLogger, SmoothedValue  # noqa: E402

VERSIONS = ("torchdistill", "torchvision", "torch")


@register_collate_func
def padded(rows: list[tuple[Any, Any, dict]]) -> tuple[Any, Any, dict]:
    return *collate([(inputs, label) for inputs, label, _ in rows]), {}


def configuration(job: Job) -> dict[str, Any]:
    module = {"forward_proc": "forward_batch_only", "sequential": [], "forward_hook": {"input": [], "output": []}}
    knowledge = {f"{who}_module_path": "." for who in ("student", "teacher")}
    knowledge |= {f"{who}_module_io": "output" for who in ("student", "teacher")}
    criterion = {"key": "KDLoss", "kwargs": knowledge | {"temperature": job.workload.temperature, "beta": 1.0}}
    weight = job.workload.temperature**2
    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": lambda rows: job.order.flatten().tolist()},
            "collate_fn": "padded",
            "kwargs": {"batch_size": job.order.shape[1], "num_workers": 0},
        },
        "teacher": module | {"requires_grad": False},
        "student": module | {"requires_grad": True},
        "optimizer": {"key": "Adam", "kwargs": {"lr": job.workload.rate}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": criterion, "weight": weight}}},
        },
    }


def train(job: Job, clock: Clock) -> list[float]:
    device = torch.device("cpu")
    teacher, student = Logits(job.teacher).eval(), Logits(job.student)
    box = get_distillation_box(teacher, student, {"train": Rows(job.train)}, configuration(job), device, None, False, 1)
    job.settings = {"optimizer": "Adam", "loader": "DataLoader, num_workers 0", "tuned": job.tuned}
    box.pre_epoch_process(epoch=0)
    losses = _tuned(box, job, clock) if job.tuned else _as_shipped(box, job, clock)
    box.post_epoch_process()
    box.clean_modules()
    return losses


def _as_shipped(box: Any, job: Job, clock: Clock) -> list[float]:
    logger, losses = MetricLogger(delimiter="  "), []
    logger.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
    for inputs, targets, extra in logger.log_every(box.train_data_loader, 1000, "Epoch: [0]"):
        with job.autocast():
            loss = box.forward_process(inputs, targets, extra)
        box.post_forward_process(loss=loss)
        logger.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
        if torch.isnan(loss) or torch.isinf(loss):
            raise ValueError(f"the loss became {loss}")
        losses.append(logger.meters["loss"].value)
        clock.tick()
    return losses


def _tuned(box: Any, job: Job, clock: Clock) -> list[float]:
    losses = []
    for inputs, targets, extra in box.train_data_loader:
        with job.autocast():
            loss = box.forward_process(inputs, targets, extra)
        box.post_forward_process(loss=loss)
        losses.append(loss.detach())
        clock.tick()
    return torch.stack(losses).tolist()


