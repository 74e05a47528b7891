"""What a study says of itself: times in words, the table of a half-done study, time left by hand."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests import language, tiny

from distillbias.studies.executor import Event
from distillbias.studies.files import write_json
from distillbias.studies.progress import WORDS, Watcher, duration, status_table, work
from distillbias.studies.run import Distillation
from distillbias.studies.store import Store
from distillbias.studies.study import Study

LONG = replace(tiny.RECIPE, epochs=4)
FIRST, OTHER, THIRD = (replace(tiny.ALONE, recipe=LONG, trial=trial) for trial in (0, 1, 2))
CONV = replace(FIRST, model=tiny.CNN)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (42, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599, "59 min 59 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(float(seconds)) == text


def shown(table) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(table)
    lines = [line for line in console.export_text().splitlines() if "│" in line]
    return [[cell.strip() for cell in line.strip("│ ").split("│")] for line in lines]


def test_status_of_a_half_done_study(tmp_path: Path) -> None:
    store = tiny.trained(tmp_path, tiny.ALONE)
    pair = (tiny.STUDENT, replace(tiny.STUDENT, trial=1, distillation=Distillation(replace(tiny.ALONE, trial=1))))
    study = Study("half", "tiny", "?", {"MLP": (tiny.ALONE,), "MLP → MLP": pair})
    store.start(tiny.STUDENT)
    write_json(store.folder(tiny.STUDENT) / "progress.json", {"epoch": 3, "epochs": 40})
    killed = status_table(study, store)
    assert shown(killed)[1] == ["MLP → MLP", "0", "0", "2"]  # a progress file that nobody goes on with
    with store.alone():
        table = status_table(study, store)
    assert table.title == "half-tiny: 1 of 4 runs done"
    spent = duration(sum(store.record(tiny.ALONE).facts["seconds"].values()))
    assert shown(table) == [
        ["MLP", "1", "0", "0", spent],
        ["MLP → MLP", "0", "trial 0: epoch 3 of 40", "1"],
    ]


class Screen:
    """A watcher whose console is no terminal, and what it said."""

    def __init__(self, store: Store, workers: int, *runs):
        self.out = io.StringIO()
        study = Study("study", "tiny", "?", {"arm": runs})
        self.watcher = Watcher(study, store, lambda: workers, Console(file=self.out, width=200))

    def say(self, run, kind: str, **said) -> None:
        self.watcher(Event(run, kind, said))

    def epoch(self, run, epoch: int, seconds: float) -> None:
        self.say(run, "epoch", epoch=epoch, epochs=4, loss=1.0, seconds=seconds)

    @property
    def note(self) -> str:
        return self.watcher.display.tasks[0].fields["note"]


def test_time_left_by_hand(tmp_path: Path) -> None:
    screen = Screen(Store(tmp_path), 2, FIRST, OTHER, THIRD)
    assert screen.note == ""  # nothing is known yet
    screen.say(FIRST, "started")
    screen.say(OTHER, "started")
    screen.epoch(FIRST, 1, seconds=10.0)
    assert screen.note == "about 55 s left"  # (3 + 4 + 4) epochs of 10 s, by 2 workers
    screen.epoch(FIRST, 2, seconds=20.0)
    assert screen.note == "about 50 s left"  # (2 + 4 + 4) x 10 s / 2
    screen.say(FIRST, "done")
    screen.epoch(OTHER, 2, seconds=20.0)
    assert screen.note == "about 40 s left"  # (2 + 4) x 10 s by 2 workers, but one of them has 4 x 10 s to do
    screen.say(OTHER, "done")
    assert screen.note == "about 40 s left"  # one run is left: a second worker does not help
    screen.say(THIRD, "started")
    screen.epoch(THIRD, 3, seconds=30.0)
    assert screen.note == "about 10 s left"
    screen.say(THIRD, "done")
    assert screen.note == "about 0 s left"


def test_a_student_waits_for_its_teacher(tmp_path: Path) -> None:
    taught = replace(OTHER, distillation=Distillation(FIRST))
    screen = Screen(Store(tmp_path), 2, FIRST, taught, THIRD)
    screen.say(FIRST, "started")
    screen.epoch(FIRST, 1, seconds=10.0)
    assert screen.note == "about 1 min 10 s left"  # 3 and then 4 epochs of 10 s, longer than 11 of them by 2 workers


def test_what_runs_take_beside_their_training_is_counted(tmp_path: Path) -> None:
    store = tiny.trained(tmp_path, tiny.ALONE)
    took = store.record(tiny.ALONE).facts["seconds"]
    screen = Screen(store, 1, replace(tiny.ALONE, trial=1))
    screen.say(tiny.ALONE, "started")
    screen.epoch(tiny.ALONE, 4, seconds=400.0)
    assert screen.note == "about 1 min 40 s left"
    took |= {"preparing": 20.0, "evaluating": 30.0}
    write_json(store.folder(tiny.ALONE) / "record.json", store.record(tiny.ALONE).facts | {"seconds": took})
    screen.say(tiny.ALONE, "done")
    assert screen.note == "about 2 min 30 s left"


def test_each_model_has_its_own_pace(tmp_path: Path) -> None:
    screen = Screen(Store(tmp_path), 1, FIRST, CONV)
    for run, seconds in ((FIRST, 1.0), (CONV, 100.0)):
        screen.say(run, "started")
        screen.epoch(run, 1, seconds)
    assert screen.note == "about 5 min 03 s left"  # 3 x 1 s + 3 x 100 s


def test_a_model_not_seen_yet_is_guessed_from_its_arithmetic(tmp_path: Path) -> None:
    dense = 2 * (784 * 16 + 16 * 8 + 8 * 10)
    convolved = 2 * (26**2 * 9 * 4 + 24**2 * 9 * 4 * 4 + 10**2 * 9 * 4 * 8 + 4 * 10)  # multiplications and additions
    assert (work(tiny.MLP, tiny.SPEC), work(tiny.CNN, tiny.SPEC)) == (dense, convolved)
    screen = Screen(Store(tmp_path), 1, FIRST, CONV)
    screen.say(FIRST, "started")
    screen.epoch(FIRST, 1, seconds=1.0)
    assert screen.note == f"about {round(3 + 4 * convolved / dense)} s left"


def test_without_a_terminal_each_run_is_a_line(tmp_path: Path) -> None:
    screen = Screen(Store(tmp_path), 2, FIRST, OTHER, THIRD)
    with screen.watcher:
        screen.say(FIRST, "started")
        screen.epoch(FIRST, 4, seconds=4.0)
        screen.say(FIRST, "done")
        screen.say(OTHER, "started")
        screen.say(OTHER, "failed", why="the loss became nan at step 3")
    first, other = screen.out.getvalue().strip().splitlines()
    assert first.startswith("1/3 runs  MLP · trial 0  ") and first.endswith("about 4 s left")  # 8 x 1 s / 2
    assert other == "failed MLP · trial 1: the loss became nan at step 3"


def test_what_is_done_already_is_not_counted_as_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.start(FIRST)
    store.finish(FIRST)
    screen = Screen(store, 2, FIRST, OTHER)
    assert set(screen.watcher.left) == {OTHER.name}
    assert screen.watcher.display.tasks[0].completed == 1


def test_a_language_models_output_matrix_counts_as_work() -> None:
    small, large = (replace(language.SPEC, vocabulary=size) for size in (100, 1_100))
    for model in language.MODELS.values():
        assert work(model, large) - work(model, small) == 2 * WORDS * 1_000 * model.width


def test_a_finished_run_that_is_trained_again_is_followed_like_any_other(tmp_path: Path) -> None:
    """A teacher that came without its weights is known before; one whose files are damaged only when it starts."""
    store = Store(tmp_path)
    store.start(FIRST)
    store.finish(FIRST)
    taught = replace(OTHER, distillation=Distillation(FIRST))
    screen = Screen(store, 1, FIRST, taught)
    assert set(screen.watcher.left) == {FIRST.name, taught.name}
    screen.say(FIRST, "started")
    screen.epoch(FIRST, 1, seconds=10.0)
    assert screen.note == "about 1 min 10 s left"  # (3 + 4) epochs of 10 s
    (store.folder(FIRST) / "weights.safetensors").touch()
    screen = Screen(store, 1, FIRST, taught)
    assert set(screen.watcher.left) == {taught.name}
    screen.say(FIRST, "started")
    screen.epoch(FIRST, 1, seconds=10.0)
    assert screen.note == "about 1 min 10 s left"
    screen.say(FIRST, "done")
    assert screen.watcher.display.tasks[0].completed == 1
