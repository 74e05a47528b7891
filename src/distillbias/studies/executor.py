"""Where runs are trained is an executor's matter; which, and when, is the runner's."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from distillbias.studies.run import Run

Kind = Literal["started", "epoch", "done", "failed", "lost", "leaving", "left", "stop"]


@dataclass(frozen=True)
class Event:
    """What a run said.

    started                                it was given to a worker
    epoch     epoch, epochs, loss, seconds
    done
    failed    why                          it cannot finish
    lost      why                          its worker died; it can be given to another
    leaving                                it is asked to leave
    left                                   it was asked to leave and wrote a checkpoint
    stop      why                          nothing can go on: a full disk, say
    """

    run: Run
    kind: Kind
    said: dict[str, Any] = field(default_factory=dict)


Watch = Callable[[Event], None]


@runtime_checkable
class Executor(Protocol):
    """Trains the runs it is given. One that it was given ends with done, failed, lost, left or stop, once."""

    @property
    def slots(self) -> int:
        """How many runs it can train at once, as of the last events: on a cluster nodes come and go."""
        ...

    def submit(self, run: Run) -> None: ...

    def events(self, seconds: float) -> list[Event]:
        """What runs said since the last call; waits for it, at most `seconds`."""
        ...

    def leave(self) -> None:
        """Ask all runs in training to write a checkpoint and leave."""
        ...

    def close(self) -> None:
        """End whatever still runs, at once."""
        ...
