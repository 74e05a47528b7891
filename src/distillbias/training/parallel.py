"""One training over several processes, its ranks: the batches of a single process, of each of which a rank has a part.

    batch of 5 rows, 2 ranks      rank 0: rows 0, 2, 4      rank 1: rows 1, 3

The loss of a step is the mean over the whole batch. So a rank's mean counts as its share of the batch's examples (or of
its target words), gradients and losses are summed over the ranks before penalties and clipping, and batch norm has the
statistics of the whole batch: up to the order of sums, a step is that of one process. Dropout is not: a rank draws from
streams of its own, rank 0 from those of a single process.
"""

import platform
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from distillbias.errors import InputError, RunError
from distillbias.training.checkpoint import Streams

LOOK = 20  # steps from one question to rank 0, whether to leave or to write a checkpoint, to the next
PATIENCE = timedelta(days=1)  # with rank 0, which evaluates and reports while the others wait

Value = TypeVar("Value")


@dataclass
class Ranks:
    """This process's place among those that train a run together.

    All methods but `part` and `own` are meetings: every rank calls them, in the same order. Of one process alone they
    give back what they are given.
    """

    rank: int = 0
    world: int = 1
    words: Any = None  # the group in which is said what is not summed
    in_step: bool = True  # whether the others, too, are through with what they were told last

    @property
    def look(self) -> int:
        """Steps between two looks up from the work; one process alone looks up after each."""
        return 1 if self.world == 1 else LOOK

    def part(self, rows: Tensor) -> Tensor:
        """This rank's rows of a batch: rows of like length, which stand together, go to different ranks."""
        if len(rows) < self.world:
            raise InputError(f"a batch of {len(rows)} for {self.world} processes; each needs at least one example")
        return rows[self.rank :: self.world]

    def own(self, name: str) -> str:
        """The name of a random stream of this rank; of rank 0 the one it has without other ranks."""
        return name if self.rank == 0 else f"{name} of rank {self.rank}"

    def over(self, device: str) -> str:
        """`cpu`, or over three ranks `3 x cpu`: sums over another number of ranks differ in their last bits."""
        return device if self.world == 1 else f"{self.world} x {device}"

    def sum(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Sum the gradients over all ranks, in place; the sum of the losses."""
        if self.world == 1:
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([loss.flatten(), *(gradient.flatten() for gradient in gradients)])
        dist.all_reduce(flat)
        total, *parts = flat.split([1, *(gradient.numel() for gradient in gradients)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))
        return total[0].to(loss.dtype, copy=True)  # a view would keep all gradients of the step

    def from_first(self, what: Callable[[], Value]) -> Value:
        """What `what` gives on rank 0, which alone calls it."""
        if self.world == 1:
            return what()
        said = [what() if self.rank == 0 else None]
        dist.broadcast_object_list(said, src=0, group=self.words)
        return said[0]  # type: ignore[return-value]

    def gather(self, streams: Streams) -> Streams:
        """The random streams of all ranks, in their present states."""
        if self.world == 1:
            return streams
        found = {}
        for states in self._all({name: stream.get_state() for name, stream in streams.items()}):
            for name, state in states.items():
                found[name] = torch.Generator(next(iter(streams.values())).device)
                found[name].set_state(state)
        return found

    def agree(self, what: Callable[[], str]) -> bool:
        """Whether `what` gives the same on every rank."""
        return self.world == 1 or len(set(self._all(what()))) == 1

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Rank 0 does what is inside, then the others do. If it fails on one it fails on all.

        Raises:
            InputError, RunError: on all ranks, with the words of the first that failed; any other error is raised where
                it happened, and is a RunError elsewhere.
        """
        if self.world == 1:
            yield
            return
        if self.rank > 0:
            _raise([self.from_first(lambda: None)])
        problem = None
        try:
            yield
        except Exception as error:
            problem = self._told(error)
            if self.rank == 0:
                self.from_first(lambda: problem)
                raise
            if not isinstance(error, InputError | RunError):
                traceback.print_exc()
        if self.rank == 0:
            self.from_first(lambda: None)
        _raise(self._all(problem))

    def assemble(self, timeout: timedelta = PATIENCE) -> None:
        """Wait for all. Raises RuntimeError on rank 0 if one does not come, or is gone."""
        if self.world > 1:
            dist.monitored_barrier(group=self.words, timeout=timeout)

    def _all(self, value: Value) -> list[Value]:
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.words)
        return values

    def _told(self, error: Exception) -> Exception:
        """An error as the other ranks are told of it."""
        kind, what = (type(error), "") if isinstance(error, InputError | RunError) else (RunError, type(error).__name__)
        where = f"process {self.rank} on {platform.node()}" if self.rank else ""
        return kind(": ".join(part for part in (where, what, str(error)) if part))


ALONE = Ranks()


def meet() -> Ranks:
    """Meet the other processes that torchrun started; its environment says where and which they are."""
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=PATIENCE))


def disband() -> None:
    """End the groups of `meet`, when all ranks are through.

    gloo's threads let go of what was last said a moment later than those who heard it; a Python that ends then aborts
    ("terminate called without an active exception"). What else holds a group keeps its threads: see `cli.main`.
    """
    dist.destroy_process_group()


def share_batch_norm(model: nn.Module, ranks: Ranks) -> None:
    """Let each batch norm of `model` normalise by the whole batch in training. Nothing else of it changes."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and ranks.world > 1:
            module.forward = partial(whole_batch_norm, module)  # type: ignore[method-assign]


def whole_batch_norm(norm: _BatchNorm, x: Tensor) -> Tensor:
    """What `norm` makes of the rows of all ranks; [rows, channels, ...], those of this rank.

    PyTorch's own, SyncBatchNorm, needs a GPU. Statistics are float32 at least; the variance that is kept is unbiased.
    """
    if not norm.training:
        return type(norm).forward(norm, x)
    axes, column = [0, *range(2, x.ndim)], (-1, *[1] * (x.ndim - 2))
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    here = precise.new_full((1,), x.numel() // x.shape[1])
    *_, count = sums = _Sum.apply(torch.cat([precise.sum(axes), here]))
    mean = sums[:-1] / count
    centred = precise - mean.view(column)  # before squaring: the mean of squares less a square loses digits
    variance = _Sum.apply(centred.square().sum(axes)) / count
    _keep(norm, mean.detach(), variance.detach() * count / (count - 1))
    scale = (variance + norm.eps).rsqrt()
    if norm.affine:
        return (centred * (scale * norm.weight).view(column) + norm.bias.view(column)).to(x.dtype)
    return (centred * scale.view(column)).to(x.dtype)


@torch.no_grad()
def _keep(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Let the running statistics go on; with momentum None they are means over all batches."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked += 1
    step = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    norm.running_mean.mul_(1 - step).add_(step * mean)
    norm.running_var.mul_(1 - step).add_(step * variance)


class _Sum(torch.autograd.Function):
    """The sum over all ranks. So is its gradient, because the loss of every rank depends on it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        total = upstream[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def _raise(problems: Sequence[Exception | None]) -> None:
    for problem in problems:
        if problem is not None:
            raise problem
