"""Runs trained in this process, so that a test that is about something else starts no worker."""

from distillbias.studies.executor import Event
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.studies.worker import Place, work


class Here:
    """An `Executor` in this process."""

    slots = 1

    def __init__(self, store: Store):
        self.place, self.given = Place(store.where, None), []

    def submit(self, run: Run) -> None:
        self.given.append(run)

    def events(self, seconds: float) -> list[Event]:
        return [work(self.given.pop(), self.place, lambda event: None)] if self.given else []

    def leave(self) -> None: ...

    def close(self) -> None: ...
