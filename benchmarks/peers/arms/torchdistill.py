"""torchdistill: a DistillationBox made from a configuration, and the loop of its examples.

As shipped: its MetricLogger reads the loss each step, as in the loop of its examples. Tuned: without it. Its KDLoss
multiplies by temperature squared only if alpha is above 0, which pure distillation is not; so the weight does.
"""

import torch
from benchmarks.peers.arms.without_torchvision import stand_in

stand_in()

from benchmarks.peers.given import Given, Watch, main  # noqa: E402
from torchdistill.core.distillation import DistillationBox  # noqa: E402
from torchdistill.misc.log import MetricLogger, SmoothedValue  # noqa: E402


def configuration(given: Given) -> dict:
    asked = {"forward_proc": "forward_batch_only"}
    loss = {
        "key": "KDLoss",
        "kwargs": {
            "student_module_path": ".",
            "student_module_io": "output",
            "teacher_module_path": ".",
            "teacher_module_io": "output",
            "temperature": given.temperature,
            "alpha": None,
            "beta": 1.0,
            "reduction": "batchmean",
        },
    }
    return {
        "num_epochs": 1,
        "teacher": asked | {"requires_grad": False},
        "student": asked,
        "optimizer": {"key": "Adam", "kwargs": {"lr": given.rate}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": loss, "weight": given.temperature**2}}},
        },
    }


def train(given: Given, watch: Watch) -> None:
    box = DistillationBox(
        given.teacher(), given.student(), {}, configuration(given), torch.device(given.device), None, False, 1.0
    )
    box.train_data_loader = given.loader()
    metrics = MetricLogger(delimiter="  ")
    metrics.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
    box.pre_epoch_process(epoch=0)
    batches = box.train_data_loader if given.tuned else metrics.log_every(box.train_data_loader, 1000, "Epoch: [0]")
    for inputs, targets in batches:
        box.pre_forward_process()
        loss = box.forward_process(inputs.to(given.device), targets.to(given.device), supp_dict=None)
        watch(loss)
        box.post_forward_process(loss=loss)
        if not given.tuned:
            metrics.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])


if __name__ == "__main__":
    main(train, "torchdistill")
