"""How a study shows itself: a live display on a terminal, a line for each finished run elsewhere, and `status`."""

import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from types import TracebackType

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from distillbias.data.text import printable
from distillbias.models.output import Factored, ModelConfig, fresh
from distillbias.studies.executor import Event
from distillbias.studies.record import RECORD
from distillbias.studies.run import Run
from distillbias.studies.runner import missing
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.tasks.task import Spec

WORDS = 10  # of a typical example
Kind = tuple[ModelConfig, ModelConfig | None]
Seconds = defaultdict[Kind, list[float]]


def lstm_work(x: torch.Size, of_input: torch.Size, of_state: torch.Size, *rest: object, **named: object) -> int:
    """Operations of a layer from the shapes of its input, [batch, time, width], and of its two weight matrices."""
    return 2 * x[0] * x[1] * (of_input.numel() + of_state.numel())


LSTM_WORK = {torch.ops.aten.mkldnn_rnn_layer: lstm_work}  # the counter knows no built-in LSTM


class Watcher:
    """Follows a study while it runs: trials done, epochs of what is running, time left.

    Time left = the epochs still to do, each at the mean seconds an epoch of its kind took so far, and what runs of its
    kind took beside their training, over the workers, `slots()` of them; but never less than a run and the teacher that
    it waits for. A kind that has not been seen yet is guessed from the others by its arithmetic.
    """

    def __init__(self, study: Study, store: Store, slots: Callable[[], int], console: Console):
        self.console, self.slots, self.store = console, slots, store
        self.left = {run.name: run for run in missing(study, store)}
        self.total = len(study.runs)
        self.epochs_left = {name: run.recipe.epochs for name, run in self.left.items()}
        self.pace: Seconds = defaultdict(list)  # of an epoch, at each epoch so far
        self.beside: Seconds = defaultdict(list)  # of what is no training, of each run so far
        self.bars: dict[str, TaskID] = {}
        self.began = time.monotonic()
        self.display = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=28),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.overall = self.display.add_task(study.title, total=self.total, unit="runs", note="")
        self.display.update(self.overall, completed=self.total - len(self.left))

    def __enter__(self) -> "Watcher":
        if self.left:
            self.display.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.display.stop()

    def __call__(self, event: Event) -> None:
        heard = {"started": self._started, "epoch": self._epoch, "done": self._ended, "failed": self._ended}
        heard |= {"lost": self._left, "left": self._left, "leaving": self._leaving}
        heard[event.kind](event)

    def _started(self, event: Event) -> None:
        run = event.run
        if run.name not in self.left:  # it was done, and is damaged
            self.left[run.name], self.epochs_left[run.name] = run, run.recipe.epochs
        self.bars[run.name] = self.display.add_task(run.label, total=run.recipe.epochs, unit="epochs", note="")

    def _epoch(self, event: Event) -> None:
        said = event.said
        self.epochs_left[event.run.name] = said["epochs"] - said["epoch"]
        self.pace[kind(event.run)].append(said["seconds"] / said["epoch"])
        self.display.update(self.bars[event.run.name], completed=said["epoch"], note=f"loss {said['loss']:.4f}")
        self.display.update(self.overall, note=self._time_left())

    def _ended(self, event: Event) -> None:
        self.left.pop(event.run.name, None)
        self.epochs_left.pop(event.run.name, None)
        if event.kind == "done" and self.store.has(event.run, RECORD):
            took = self.store.record(event.run).facts["seconds"]
            self.beside[kind(event.run)].append(took["preparing"] + took["evaluating"])
        if event.run.name in self.bars:
            self.display.remove_task(self.bars.pop(event.run.name))
        done = self.total - len(self.left)
        self.display.update(self.overall, completed=done, note=self._time_left())
        if event.kind == "failed":
            self._say(printable(f"failed {event.run.label}: {event.said['why']}"), "red")
        elif not self.console.is_terminal:
            elapsed = time.monotonic() - self.began
            told = f"{done}/{self.total} runs  {event.run.label}  {duration(elapsed)}  {self._time_left()}"
            self._say(told)

    def _left(self, event: Event) -> None:
        """Lost with its worker, or asked to leave: either way it is to be gone on with."""
        if event.run.name in self.bars:
            self.display.remove_task(self.bars.pop(event.run.name))
        if event.kind == "lost":
            self._say(f"lost {event.run.label}: {event.said['why']}; it goes on from its last checkpoint", "yellow")

    def _leaving(self, event: Event) -> None:
        self._say(f"stopping {event.run.label}: it writes a checkpoint; Ctrl-C again ends it at once")

    def _say(self, line: str, style: str = "") -> None:
        self.console.print(line, style=style, soft_wrap=True, highlight=False, markup=False)

    def _time_left(self) -> str:
        if not self.pace:
            return ""
        epoch, beside = self._known(self.pace), self._known(self.beside)
        seconds = {name: self.epochs_left[name] * epoch(run) + beside(run) for name, run in self.left.items()}

        def chain(run: Run | None) -> float:
            return seconds[run.name] + chain(run.teacher) if run and run.name in seconds else 0.0

        longest = max(map(chain, self.left.values()), default=0.0)
        return f"about {duration(max(longest, sum(seconds.values()) / max(1, self.slots())))} left"

    @staticmethod
    def _known(seen: Seconds) -> Callable[[Run], float]:
        """The mean seconds of a run's kind, or what its arithmetic takes at the mean rate of the kinds seen; else 0."""
        means = {each: sum(values) / len(values) for each, values in seen.items()}

        def seconds(run: Run) -> float:
            if kind(run) in means or not means:
                return means.get(kind(run), 0.0)
            rate = sum(means.values()) / sum(step_work(each, run.task.spec) for each in means)
            return rate * step_work(kind(run), run.task.spec)

        return seconds


def kind(run: Run) -> Kind:
    """What decides how long a step takes: the model, and the teacher if it is asked at every step."""
    lesson = run.distillation
    return run.model, lesson.teacher.model if lesson and lesson.teacher_mode == "train" else None


def step_work(each: Kind, spec: Spec) -> int:
    """Operations of one example in training: forward once, backward twice that, and a live teacher's forward."""
    model, teacher = each
    return 3 * work(model, spec) + (work(teacher, spec) if teacher else 0)


@cache
def work(model: ModelConfig, spec: Spec) -> int:
    """Floating-point operations of one example's forward pass."""
    example = torch.ones(1, WORDS, dtype=torch.int64) if spec.vocabulary else torch.zeros(1, *spec.shape)
    with FlopCounterMode(display=False, custom_mapping=LSTM_WORK) as counter, torch.no_grad():
        logits = fresh(model, spec).eval()(example).logits
    # the product with the output matrix is left to the loss, which takes it piece by piece
    output = 2 * WORDS * logits.matrix.numel() if isinstance(logits, Factored) else 0
    return counter.get_total_flops() + output


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def status_table(study: Study, store: Store) -> Table:
    """What is done, running and missing, arm by arm, with times."""
    table = Table(title=f"{study.title}: {sum(map(store.done, study.runs))} of {len(study.runs)} runs done")
    for column in ("arm", "done", "running", "missing"):
        table.add_column(column)
    table.add_column("training time", justify="right")
    busy = store.busy()  # a progress file alone may be what a killed command left
    for arm, runs in study.arms.items():
        done = [run for run in runs if store.done(run)]
        open_runs = [run for run in runs if not store.done(run)]
        running = [(run, said) for run in open_runs if busy and (said := store.progress(run))]
        seconds = sum(sum(store.record(run).facts["seconds"].values()) for run in done)
        table.add_row(
            arm,
            str(len(done)),
            ", ".join(f"trial {run.trial}: epoch {said['epoch']} of {said['epochs']}" for run, said in running) or "0",
            str(len(open_runs) - len(running)),
            duration(seconds) if done else "",
        )
    return table
