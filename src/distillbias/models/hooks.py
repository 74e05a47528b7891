"""Hooks of modules, which a pass over several at once would not call: pruning and weight norm make weights by them."""

from collections.abc import Callable

from torch import nn

KINDS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def hooked(*modules: nn.Module) -> bool:
    """Whether a call of one of these calls something else, too, so that it must be called itself.

    Hooks that torch has for all modules at once do not count: counters of products have them, and should find what is
    computed.
    """
    return any(hooks_of(*modules))


def hooks_of(*modules: nn.Module) -> list[dict[int, Callable]]:
    """The hooks of each kind of each module; what is registered later is in them, too."""
    return [getattr(module, kind) for module in modules for kind in KINDS]
