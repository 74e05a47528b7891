"""Training as a textbook has it: autograd for everything, one tensor at a time, nothing fused."""

from math import cos, pi

import torch


def cross_entropy(logits, labels):
    return -torch.stack([row.log_softmax(0)[label] for row, label in zip(logits, labels, strict=True)])


def soft_cross_entropy(logits, teacher, temperature):
    """The paper's equation 2, -sum_c p log q of the softened answers: KL's gradient, another value."""
    p = torch.softmax(teacher / temperature, dim=1)
    return -(p * torch.log(torch.softmax(logits / temperature, dim=1))).sum(dim=1)


def taught_loss(temperature, weight, factor):
    times = {"tau2": temperature * temperature, "one": 1.0, "inv_tau2": 1.0 / (temperature * temperature)}[factor]

    def loss(logits, labels, teacher):
        soft, hard = soft_cross_entropy(logits, teacher, temperature), cross_entropy(logits, labels)
        return weight * times * soft + (1.0 - weight) * hard

    return loss


def label_loss(logits, labels, teacher):
    return cross_entropy(logits, labels)


def warmup_cosine(step, total, share):
    """Up in a straight line over the first `share` of the steps, then down half a cosine."""
    up = round(share * total)
    return (step + 1) / up if step < up else 0.5 * (1 + cos(pi * (step - up) / (total - up)))


def exponential(step, period, decay):
    return decay ** (step / period)


def train(model, batches, loss, rates, l1, l2, clip, optimizer):
    """`batches` of (inputs, labels, teacher's logits); `rates`: the learning rate of each step."""
    optimizer = optimizer(model.parameters(), lr=1.0, betas=(0.9, 0.999), eps=1e-8, foreach=False)
    for (inputs, labels, teacher), rate in zip(batches, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        penalty = sum(l1 * w.abs().sum() + l2 * (w**2).sum() for w in matrices)
        (loss(model(inputs).logits, labels, teacher).mean() + penalty).backward()
        for parameter in model.parameters():
            torch.nn.utils.clip_grad_norm_([parameter], clip)
        optimizer.step()
