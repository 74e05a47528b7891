"""Types are checked at each call, at less cost: tests spent a third of their time on jaxtyping's reading of arguments.

`--jaxtyping-packages` decorates every function by `jaxtyping.jaxtyped`, which binds arguments to names, as `inspect`
does, so that their shapes can be compared. Where no annotation has a shape there is nothing to compare: beartype alone
makes the same checks.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import jaxtyping

jaxtyped = jaxtyping.jaxtyped


def checked(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """In place of `jaxtyped(typechecker=beartype)`."""

    def decorate(function: Any) -> Any:
        if inspect.isfunction(function) and not any(map(has_shape, function.__annotations__.values())):
            return typechecker(function)
        return jaxtyped(function, typechecker=typechecker)

    return decorate


def has_shape(annotation: Any) -> bool:
    """Of a type that is given by its name alone this is not known: then it may."""
    if isinstance(annotation, str):
        return True
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    if get_origin(annotation) is Literal:
        return False
    return any(map(has_shape, annotation if isinstance(annotation, list) else get_args(annotation)))  # of a Callable


def install() -> None:
    """Before anything of the package is imported."""
    jaxtyping.jaxtyped = checked
