"""What an arm is given, and what it gives back. An arm is a script with one function, `train(given, watch)`."""

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.peers.workloads import GATE_BATCH, GATE_RATE, WORKLOADS, Workload, without_dropout
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from distillbias.models.cnn import Stage
from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMLayer, at
from distillbias.models.native import put_aside
from distillbias.models.output import Factored, ModelConfig, fresh
from distillbias.models.transformer import Block, Trunk
from distillbias.tasks.task import Spec

Precision = Literal["float32", "bfloat16"]
Item = tuple[Tensor, Tensor]  # (inputs, label), of one example or of a batch
DEVICES = ("cpu", "cuda")


@dataclass
class Watch:
    """Every arm calls it once a step, when the loss is there; what lies between two calls is one step.

    On a GPU that is when the GPU gets there: the program that calls may be many steps ahead.
    """

    clock: list[float] = field(default_factory=list)
    events: list[torch.cuda.Event] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)

    def __call__(self, loss: Tensor) -> None:
        if loss.is_cuda:
            self.events.append(torch.cuda.Event(enable_timing=True))
            self.events[-1].record()
        else:
            self.clock.append(time.perf_counter())
        self.losses.append(loss.detach())

    @property
    def times(self) -> list[float]:
        """In seconds, from whenever."""
        if not self.events:
            return self.clock
        torch.cuda.synchronize()
        return [self.events[0].elapsed_time(event) / 1e3 for event in self.events]


class Given:
    """The workload in `folder`, and how this arm is to train on it.

    `order` "random" or "buckets"; `precision` "float32" or "bfloat16"; `tuned`: the library's own logging is off, and
    padding is left out early; `gate`: no dropout, a small learning rate and small batches, so that losses can be
    compared; else as in the paper. `device` "cpu" or "cuda"; `warmup` of the `steps` are not timed, and have the same
    batches as those that are.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        order: str,
        precision: Precision,
        tuned: bool,
        gate: bool,
        workers: int,
        device: str = "cpu",
        warmup: int = 0,
    ):
        self.folder, self.warmup, self.steps, self.precision = folder, warmup, steps, precision
        self.tuned, self.gate, self.workers, self.device = tuned, gate, workers, device
        self.facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
        self.work: Workload = WORKLOADS[self.facts["name"]]
        self.temperature = self.work.temperature
        self.rate = GATE_RATE if gate else self.work.rate
        # steps of the whole training that this is the beginning of
        self.schedule = self.facts["epochs"] * (self.facts["train"] // self.facts["batch"])
        self.batch = GATE_BATCH if gate else self.facts["batch"]
        batches = np.load(folder / f"{order}.npy")[: steps - warmup, : self.batch]
        self.rows = torch.as_tensor(batches[(np.arange(steps) - warmup) % len(batches)])  # [steps, batch]
        self.train, self.test = (Rows(self.array(f"{part}_inputs"), self.array(f"{part}_labels")) for part in PARTS)

    def array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy")

    def student(self) -> "Answers":
        return Answers(as_usual(self.model(self.work.student, "student")), self.tuned)

    def teacher(self) -> "Answers":
        return Answers(as_usual(self.model(self.work.teacher, "teacher").eval().requires_grad_(False)), self.tuned)

    def model(self, config: ModelConfig, weights: str) -> nn.Module:
        """A model of this project with the exported weights."""
        spec = Spec(tuple(self.facts["shape"]), self.facts["classes"], self.facts["vocabulary"])
        model = fresh(without_dropout(config) if self.gate else config, spec)
        model.load_state_dict(load_file(self.folder / f"{weights}.safetensors"))
        model.to(self.device)
        give_stream(model, torch.Generator(self.device).manual_seed(0))
        return model

    def loader(self) -> DataLoader[Item]:
        """The training examples in the exported order, as torch's own tutorials load them."""
        return DataLoader(self.train, batch_sampler=self.rows.tolist(), collate_fn=collate)

    def words(self) -> list[int]:
        """Of each step, without padding; 0 where inputs are images."""
        if self.train.inputs.ndim > 2:
            return [0] * self.steps
        return (self.train.inputs[self.rows] != 0).sum((1, 2)).tolist()

    def timed_evaluation(self, evaluate: Callable[[], Any]) -> dict[str, float]:
        """Seconds of `evaluate`, which looks at the exported test examples once, by example. {} at the gate."""
        if self.gate:
            return {}
        for _ in range(1 + (self.device != "cpu")):  # what a GPU compiles and loads at the first time is no part of it
            began = time.perf_counter()
            evaluate()
        return {"evaluation": (time.perf_counter() - began) / len(self.test)}


PARTS = ("train", "test")


class Rows(Dataset[Item]):
    """One example at a time: an image as floats in [0, 1], or the words of a sentence."""

    def __init__(self, inputs: np.ndarray, labels: np.ndarray):
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> Item:
        one = self.inputs[row]
        if one.dtype == np.uint8:
            return torch.as_tensor(one).float() / 255, torch.tensor(self.labels[row])
        return torch.as_tensor(one[one != 0]).long(), torch.tensor(self.labels[row])


def collate(items: list[Item]) -> Item:
    """Sentences padded to the longest of the batch."""
    inputs = [one for one, _ in items]
    together = torch.stack(inputs) if inputs[0].ndim > 1 else nn.utils.rnn.pad_sequence(inputs, batch_first=True)
    return together, torch.stack([label for _, label in items])


class Answers(nn.Module):
    """A model of this project as other libraries want one: inputs -> logits [n, classes].

    Of a language model n counts the words that follow another; positions come flat: some losses soften over dimension
    1, whatever that is. A `thrifty` one leaves padding out before the product with the vocabulary; else the model makes
    the logits of all positions and those of padding are left out then, as published distillation of language models
    does (`masked_select` in the distiller.py of Hugging Face's DistilBERT).
    """

    def __init__(self, model: nn.Module, thrifty: bool):
        super().__init__()
        self.model, self.thrifty = model, thrifty

    def forward(self, inputs: Tensor) -> Tensor:
        with put_aside():
            logits = self.model(inputs).logits
        if not isinstance(logits, Factored):
            return logits
        states, words = logits.states[:, :-1], logits.matrix.to(logits.states.dtype).T
        follow = inputs[:, 1:] != 0
        return states[follow] @ words if self.thrifty else (states @ words)[follow]


def as_usual(model: nn.Module) -> nn.Module:
    """Same weights, but computed as everybody does: by torch's layers, attention and LSTM built in, every block for
    every word, images with their channel before rows and columns.

    Our attention is plain matrix products, our last block is computed only for the word that a classifier reads, our
    LSTM leaves out what recurrent dropout has emptied, our convolution a bias that batch norm takes away again. What is
    compiled for a CPU (`models/native.c`) or a GPU (`models/kernels/`) `Answers` puts aside.
    """
    for module in model.modules():
        if isinstance(module, Block):
            module.attend = MethodType(_builtin_attention, module)  # type: ignore[method-assign]
        if isinstance(module, Trunk):
            module.forward = MethodType(_for_every_word, module)  # type: ignore[method-assign]
        if isinstance(module, Stage):
            module.forward = MethodType(_usual_stage, module)  # type: ignore[method-assign]
        if isinstance(module, LSTMLayer):
            module.forward = MethodType(_builtin_lstm, module)  # type: ignore[method-assign]
    return model


def _for_every_word(trunk: Trunk, words: Tensor, seen: Tensor, read: Tensor | None = None) -> Tensor:
    states = Trunk.forward(trunk, words, seen)
    return states if read is None else at(states, read)


def _builtin_attention(block: Block, x: Tensor, hidden: Tensor) -> Tensor:
    batch, time_, width = x.shape
    query, key, value = block.qkv(x).view(batch, time_, 3, block.heads, -1).permute(2, 0, 3, 1, 4)
    dropout = block.attention_dropout.rate if block.training else 0.0
    looked = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
    return looked.transpose(1, 2).reshape(batch, time_, width)


def _usual_stage(stage: Stage, x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        x = x[:, 0].unsqueeze(1)
    x = stage.norm(stage.maxout(stage.convolution(x)))
    if stage.pool > 1:
        x = F.max_pool2d(x, stage.pool)
    return stage.dropout(F.relu(x))


def _builtin_lstm(layer: LSTMLayer, x: Tensor) -> Tensor:
    mask = layer.recurrent_mask()
    return layer.built_in(layer.input_dropout(x), mask)


Said = dict[str, Any]  # what an arm says beside losses and times: seconds an example of "cache" and "evaluation"


def peak_bytes() -> int:
    """Of the process; of its tensors on the GPU where it has some."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def finished(watch: Watch, said: Said) -> Said:
    losses = [float(loss) for loss in watch.losses]
    return {"losses": losses, "times": watch.times, "peak_bytes": peak_bytes()} | said


def main(train: Callable[[Given, Watch], Said | None], library: str = "torch") -> None:
    """Parse what the harness asks for, train, write what came of it to `--out`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--warmup", type=int, default=0)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--order", choices=("random", "buckets"), default="random")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--gate", action="store_true")
    asked = vars(parser.parse_args())
    out = asked.pop("out")
    watch = Watch()
    given = Given(**asked)
    said = train(given, watch) or {}
    told = {"words": given.words(), "versions": versions(library), "threads": torch.get_num_threads()}
    out.write_text(json.dumps(finished(watch, told | said)))


def versions(library: str) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in dict.fromkeys(("torch", library))}
