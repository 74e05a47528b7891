"""torch's Adam and RAdam, as steps that are replayed need them; Adam without what it looks up anew at each step.

Torch wraps methods of its optimisers for `torch.compile`, whose import takes as long as that of torch itself: here
they are called as they are inside.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distillbias.errors import InputError
from distillbias.training import fused_step

KEPT = ("exp_avg", "exp_avg_sq", "step")  # as torch names them


class _Kept(NamedTuple):
    """Of a parameter group, in its order: what Adam adds to, and what it keeps of each."""

    group: dict[str, Any]
    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    counts: Tensor  # of steps; what `state` has of each parameter is a view of it
    steps: list[Tensor]


def _inside(method: Callable[..., Any]) -> Callable[..., Any]:
    return getattr(method, "__wrapped__", method)


class _NotCompiled(torch.optim.Optimizer):
    add_param_group = _inside(torch.optim.Optimizer.add_param_group)
    zero_grad = _inside(torch.optim.Optimizer.zero_grad)
    state_dict = _inside(torch.optim.Optimizer.state_dict)
    load_state_dict = _inside(torch.optim.Optimizer.load_state_dict)


class Adam(_NotCompiled, torch.optim.Adam):
    """The same bits; once the rate is held, to rounding, in fewer passes. `torch.optim.Adam` goes through the states of
    all parameters and sorts them by device and type at each step; of a small model's step that is time worth saving.
    """

    _kept: list[_Kept] | None
    _rate: Tensor | None = None

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, eps: float = 1e-8):
        super().__init__(parameters, lr=lr, eps=eps, fused=True)

    def hold_rate(self) -> None:
        """From now on read the rate from memory: a recorded step would keep the number that it was recorded with."""
        device = self.param_groups[0]["params"][0].device
        precise = torch.float64 if device.type == "cpu" else torch.float32  # what its kernels read
        self._rate = torch.zeros((), dtype=precise, device=device)

    def set_rate(self, rate: float) -> None:
        """For all parameters, from the next step on."""
        for group in self.param_groups:
            group["lr"] = rate
        if self._rate is not None:
            self._rate.fill_(rate)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self._kept = None
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._kept = None  # `load_state_dict` ends here
        super().__setstate__(state)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        if closure is not None or not self._has_states():
            loss = _inside(torch.optim.Adam.step)(self, closure)
            self._kept = [self._found_in(group) for group in self.param_groups]
            return loss
        if self._kept is None or not self._learn_as_kept():
            self._kept = [self._found_in(group) for group in self.param_groups]
        for group, parameters, means, squares, counts, steps in self._kept:
            if not parameters:
                continue
            counts.add_(1)
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            rate = None if group["weight_decay"] else self._rate
            state = parameters, gradients, means, squares
            if rate is not None and _adapted(*state, rate, counts, group["betas"], group["eps"]):
                continue
            torch._fused_adam_(
                parameters,
                gradients,
                means,
                squares,
                [],
                steps,
                lr=group["lr"] if self._rate is None else self._rate,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
        return None

    step.hooked = True  # type: ignore[attr-defined] # or torch wraps it, for hooks that nobody here has

    def _has_states(self) -> bool:
        """Whether torch need not make any: what goes on from a checkpoint then goes the way that it would have gone."""
        return all(self.state.get(parameter) for group in self.param_groups for parameter in _learning(group))

    def _learn_as_kept(self) -> bool:
        """Whether the same parameters have gradients."""
        assert self._kept is not None
        return all(
            list(map(id, _learning(group))) == list(map(id, kept.parameters))
            for group, kept in zip(self.param_groups, self._kept, strict=True)
        )

    def _found_in(self, group: dict[str, Any]) -> _Kept:
        parameters = _learning(group)
        states = [self.state[parameter] for parameter in parameters]
        counts = torch.stack([state["step"] for state in states]) if states else torch.zeros(0)
        for state, step in zip(states, counts.unbind(), strict=True):
            state["step"] = step
        means, squares = ([state[name] for state in states] for name in KEPT[:2])
        return _Kept(group, parameters, means, squares, counts, [*counts])


def _adapted(
    parameters: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    numbers: Tensor,
    counts: Tensor | None,
    betas: tuple[float, float],
    eps: float,
) -> bool:
    """The step in as few passes as can be; False, and none, where torch's operators are the way."""
    if fused_step.usable(parameters, gradients, means, squares):
        fused_step.adapt(parameters, gradients, means, squares, numbers, counts, betas, eps)
    elif functions := fused_step.natives(parameters, gradients, means, squares):
        done = [None] * len(parameters) if counts is None else counts
        for *tensors, count in zip(parameters, gradients, means, squares, done, strict=True):
            size = tensors[0].numel()
            functions("adapt", *tensors, size, numbers, count, 1 - betas[0], 1 - betas[1], eps)
    else:
        return False
    return True


def _learning(group: dict[str, Any]) -> list[Tensor]:
    return [parameter for parameter in group["params"] if parameter.grad is not None]


class RAdam(_NotCompiled, torch.optim.RAdam):
    """The same steps; once the rate is held, from two numbers in memory that the host computes in double precision.

    torch's own that can be recorded (`capturable`) computes them for each parameter anew, in float32, in launches that
    take longer than the rest of a small model's step. With m and v the means of gradients and of their squares, a step
    is -m (adaptive / (sqrt(v) + eps) + plain). Then `set_rate` must come before each step: it counts them.
    """

    _factors: Tensor | None = None  # adaptive, plain

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, eps: float = 1e-8):
        super().__init__(parameters, lr=lr, eps=eps, foreach=True)

    def hold_rate(self) -> None:
        device = self._parameters()[0].device
        self._factors = torch.zeros(2, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
        for parameter in self._parameters():
            if not self.state[parameter]:
                zeros = [torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2)]
                self.state[parameter] = dict(zip(KEPT, [*zeros, torch.tensor(0.0)], strict=True))

    def set_rate(self, rate: float) -> None:
        for group in self.param_groups:
            group["lr"] = rate
        if self._factors is None:
            return
        steps = [self.state[parameter]["step"] for parameter in self._parameters() if parameter.requires_grad]
        for step in steps:  # on the CPU
            step += 1
        if len(counts := sorted({int(step) for step in steps})) > 1:
            raise InputError(f"RAdam: parameters are at their steps {counts}; those that learn must begin together")
        adaptive, plain = rectified(int(steps[0]), rate, *self.param_groups[0]["betas"])
        self._factors[0].fill_(adaptive)
        self._factors[1].fill_(plain)

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        if self._factors is None:
            return _inside(torch.optim.RAdam.step)(self, closure)
        (first, second), eps = (self.param_groups[0][name] for name in ("betas", "eps"))
        parameters = [parameter for group in self.param_groups for parameter in _learning(group)]
        gradients: list[Tensor] = [parameter.grad for parameter in parameters if parameter.grad is not None]
        means, squares = ([self.state[parameter][name] for parameter in parameters] for name in KEPT[:2])
        if _adapted(parameters, gradients, means, squares, self._factors, None, (first, second), eps):
            return None
        adaptive, plain = self._factors.unbind()
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        scales = torch._foreach_sqrt(squares)
        torch._foreach_add_(scales, eps)
        torch._foreach_div_(scales, adaptive)
        torch._foreach_reciprocal_(scales)
        torch._foreach_add_(scales, plain, alpha=1)  # without alpha torch reads the tensor as a number
        torch._foreach_addcmul_(parameters, means, scales, -1)
        return None


Held = Adam | RAdam  # optimisers whose steps can be recorded


def rectified(step: int, rate: float, first: float, second: float) -> tuple[float, float]:
    """The (adaptive, plain) step sizes of RAdam at `step`, from 1, with betas `first` and `second`; one of them is 0.

    Liu et al. 2020, algorithm 2: adaptive once the variance of the adaptive rate is finite, rho > 5.
    """
    size = rate / (1 - first**step)
    longest = 2 / (1 - second) - 1
    rho = longest - 2 * step * second**step / (1 - second**step)
    if rho <= 5:
        return 0.0, size
    rectification = ((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho)) ** 0.5
    return size * rectification * (1 - second**step) ** 0.5, 0.0
