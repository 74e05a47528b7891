"""All that a training needs to go on as if it had never stopped: weights, optimiser, random streams, how far it came.

    32 bytes    SHA-256 of the rest
    the rest    safetensors; what are no tensors is JSON in its metadata. Nothing in it is ever executed.

On the CPU a training that goes on from such bytes ends with the same bits as one that was never interrupted.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

Weights = dict[str, Tensor]
Streams = dict[str, torch.Generator]
DIGEST = 32


@dataclass
class Course:
    """How far a training has come."""

    done: int = 0  # steps
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # mean of each whole epoch
    pending: list[Tensor] = field(default_factory=list)  # of each step of the epoch that is not whole yet
    stages: list[Weights] = field(default_factory=list)


def freeze(
    facts: dict[str, Any], course: Course, model: nn.Module, optimizer: torch.optim.Optimizer, streams: Streams
) -> bytes:
    """The state as bytes. `facts` are plain JSON values that say whose it is; `thaw` wants the same."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for index, kept in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in kept.items()}
    tensors |= {f"stream/{name}": stream.get_state() for name, stream in streams.items()}
    first = [next(place for place, each in enumerate(course.stages) if each is one) for one in course.stages]
    for place in set(first):  # in a short run several stages are one
        tensors |= {f"stage/{place}/{name}": tensor for name, tensor in course.stages[place].items()}
    if course.pending:
        tensors["pending"] = torch.stack(course.pending)
    told = facts | {"done": course.done, "seconds": course.seconds, "losses": course.losses, "stages": first}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(plain, {"facts": json.dumps(told)})
    return hashlib.sha256(content).digest() + content


def thaw(
    data: bytes, facts: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer, streams: Streams
) -> Course | None:
    """Put the state back where it came from, in place; None if `data` is damaged or of other `facts`.

    Nothing is touched then. `optimizer` must be new and of the same parameters.
    """
    told = told_of(data, facts)
    if told is None:
        return None
    tensors = load(data[DIGEST:])
    device = next(model.parameters()).device
    model.load_state_dict(_under(tensors, "model/"))
    _put_back(optimizer, _under(tensors, "optimizer/"))
    for name, stream in streams.items():
        stream.set_state(tensors[f"stream/{name}"])
    stages = {place: _under(tensors, f"stage/{place}/") for place in set(told["stages"])}
    stages = {place: {name: tensor.to(device) for name, tensor in each.items()} for place, each in stages.items()}
    pending = list(tensors["pending"].to(device).unbind()) if "pending" in tensors else []
    return Course(told["done"], told["seconds"], told["losses"], pending, [stages[place] for place in told["stages"]])


def told_of(data: bytes, facts: dict[str, Any]) -> dict[str, Any] | None:
    """What is no tensor of a state; None if `data` is damaged or of other `facts`."""
    content = data[DIGEST:]
    if hashlib.sha256(content).digest() != data[:DIGEST]:
        return None
    told = _told(content)
    if told is None or any(told.get(name) != value for name, value in facts.items()):
        return None
    return told


def _told(content: bytes) -> dict[str, Any] | None:
    try:
        # the header is a length in 8 bytes and that much JSON; `load` gives the tensors alone
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return json.loads(header["__metadata__"]["facts"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _under(tensors: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _put_back(optimizer: torch.optim.Optimizer, tensors: Weights) -> None:
    state: dict[int, Weights] = {}
    for name, tensor in tensors.items():
        index, what = name.split("/")
        state.setdefault(int(index), {})[what] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, kept in optimizer.state.items():
        for what, value in kept.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                kept[what] = torch.empty_like(parameter).copy_(value)  # a fused step reads both in memory's order
