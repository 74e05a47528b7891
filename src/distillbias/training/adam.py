"""torch's fused Adam, without what it looks up anew at each step."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

KEPT = ("exp_avg", "exp_avg_sq", "step")  # as torch names them


class _Kept(NamedTuple):
    """Of a parameter group, in its order: what Adam adds to, and what it keeps of each."""

    group: dict[str, Any]
    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]


class Adam(torch.optim.Adam):
    """The same bits. `torch.optim.Adam` goes through the states of all parameters and sorts them by device and type at
    each step; of a small model's step that is time worth saving.
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
        """For all parameters."""
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
        if closure is not None or self._kept is None or not self._all_have_gradients():
            loss = super().step(closure)
            self._kept = self._found() if self._all_have_gradients() else None
            return loss
        for group, parameters, means, squares, steps in self._kept:
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                parameters,
                [parameter.grad for parameter in parameters],  # type: ignore[misc]
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

    def _all_have_gradients(self) -> bool:
        return all(parameter.grad is not None for group in self.param_groups for parameter in group["params"])

    def _found(self) -> list[_Kept]:
        return [
            _Kept(group, group["params"], *([self.state[one][name] for one in group["params"]] for name in KEPT))
            for group in self.param_groups
        ]
