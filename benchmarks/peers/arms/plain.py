"""A loop as the tutorials of torch show it: DataLoader, the teacher asked each step, `loss.item()` each step."""

import torch
import torch.nn.functional as F
from benchmarks.peers.given import Given, Said, Watch, collate, main
from torch import Tensor


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    soft = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(soft, F.softmax(teacher / temperature, dim=1), reduction="batchmean")


def train(given: Given, watch: Watch) -> Said:
    student, teacher = given.student(), given.teacher()
    optimizer = torch.optim.Adam(student.parameters(), lr=given.rate)
    running = 0.0
    student.train()
    for inputs, _ in given.loader():
        inputs = inputs.to(given.device)
        optimizer.zero_grad()
        with torch.no_grad():
            answers = teacher(inputs)
        loss = distillation_loss(student(inputs), answers, given.temperature)
        watch(loss)
        loss.backward()
        optimizer.step()
        running += loss.item()
    return given.timed_evaluation(lambda: evaluate(student, given))


@torch.no_grad()
def evaluate(student: torch.nn.Module, given: Given) -> float:
    """Sum of the largest logits: what accuracy and perplexity cost, whatever the task."""
    student.eval()
    loader = torch.utils.data.DataLoader(given.test, batch_size=given.batch, collate_fn=collate)
    return sum(student(inputs.to(given.device)).max(1).values.sum().item() for inputs, _ in loader)


if __name__ == "__main__":
    main(train)
