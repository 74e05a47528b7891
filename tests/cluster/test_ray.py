"""A study on a real Ray cluster of several nodes: the bits of an undisturbed one, whatever node dies in the middle."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from tests import tiny
from tests.faults import small
from tests.faults.injected import (
    STUDY,
    alive,
    children,
    command,
    differences,
    done_at,
    gone,
    has_checkpoint,
    litter,
    processes,
)

from distillbias.errors import InputError
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import Shares
from distillbias.studies import ray_connection
from distillbias.studies.executor import Event, Executor
from distillbias.studies.processes import HANG
from distillbias.studies.ray_cluster import RayCluster, shares
from distillbias.studies.run import Run
from distillbias.studies.runner import run_study
from distillbias.studies.store import CHECKPOINT, LOG, Store
from distillbias.studies.study import Study
from distillbias.studies.worker import Place
from distillbias.tasks.vision import Vision

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
MARK = ("DISTILLBIAS_TEST_CLUSTER", uuid4().hex)  # every process of the cluster inherits it
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
# workers that are warm stay, others are not begun ahead: each costs seconds of a busy machine
WARM = {"prestart_worker_first_driver": False, "enable_worker_prestart": False}
WARM |= {"idle_worker_killing_time_threshold_ms": 600_000}
HEAD = {"num_cpus": 0, "_system_config": WARM}


class Nodes:
    """A head that trains nothing, so that no node is lost with the command, and nodes with room for one run each."""

    def __init__(self, count: int):
        os.environ[MARK[0]] = MARK[1]
        self.cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE | HEAD)
        self.trains = [self.cluster.add_node(**NODE) for _ in range(count)]

    @property
    def address(self) -> str:
        return self.cluster.address

    def workers(self, node) -> list[int]:
        """Processes of a node that train now."""
        raylet = node.all_processes["raylet"][0].process.pid
        return [pid for pid in children(raylet) if command(pid).startswith(b"ray::train")]

    def lose(self, node) -> None:
        self.trains.remove(node)
        self.cluster.remove_node(node)

    def join(self):
        self.trains.append(self.cluster.add_node(**NODE))
        return self.trains[-1]


def of_cluster() -> list[int]:
    """Every process that was started by the cluster, or by a command on it, and still runs."""
    mark = "=".join(MARK).encode()
    found = []
    for pid in processes():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            found.append(pid)
    return alive(found)


def training() -> list[int]:
    return [pid for pid in of_cluster() if command(pid).startswith(b"ray::train")]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    made = Nodes(2)
    try:
        yield made
    finally:
        ray.shutdown()
        made.cluster.shutdown()
        os.environ.pop(MARK[0])
        assert ended(of_cluster), [command(pid) for pid in of_cluster()]


@pytest.fixture(scope="module")
def connected(nodes: Nodes) -> Iterator[Nodes]:
    """One connection of this process for all its studies, so that they share warm workers."""
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with ray_connection.connected(nodes.address):
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers  # Ray would end at once
        yield nodes


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny.trained(tmp_path_factory.mktemp("undisturbed"), *STUDY.runs)


def place(root: Path) -> Place:
    return Place(Store(root).where, None, every=small.EVERY)


def wait_for(what, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)


def ended(running) -> bool:
    return gone(running, seconds=60)


def who(store: Store) -> dict[int, Run]:
    """{process: the run that it trained last}, by the runs' logs."""
    logs = {run: store.folder(run) / LOG for run in STUDY.runs}
    begun = {run: re.findall(r"process (\d+)", log.read_text()) for run, log in logs.items() if log.exists()}
    return {int(pids[-1]): run for run, pids in begun.items() if pids}


def test_no_orphan_survives_a_killed_command(nodes: Nodes, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.small", Store(tmp_path).where, nodes.address]
    ) as running:
        try:
            wait_for(lambda: has_checkpoint(tmp_path))
        finally:
            running.kill()
    assert ended(training)


@contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """A shell that starts the tests in the background lets them ignore it."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def in_the_middle(store: Store, run: Run) -> bool:
    log = store.folder(run) / LOG
    return log.exists() and "epoch 2 of" in log.read_text() and not store.done(run)


def test_a_study_is_stopped_and_goes_on_loses_a_node_and_gets_another(
    connected: Nodes, reference: Store, tmp_path: Path
) -> None:
    store, seen = Store(tmp_path), []
    left: list[Run] = []

    class Stopped(RayCluster):
        """Ctrl-C once a run is in the middle; the other node may be slower, or through with its own."""

        def events(self, seconds: float) -> list[Event]:
            """By the logs, for a run may be over before anything of it is heard."""
            if not left:
                left.extend(run for run in {each.run for each in self.tries.values()} if in_the_middle(store, run))
                if left:
                    os.kill(os.getpid(), signal.SIGINT)
            return super().events(min(seconds, 0.05))

    executor = Stopped(place(tmp_path), STUDY.runs, connected.address)
    with hearing_ctrl_c(), pytest.raises(KeyboardInterrupt):
        run_study(STUDY, store, None, watch=seen.append, executor=executor)
    assert ended(training), "orphans train on"
    ends = {event.run: event.kind for event in seen}  # a run that was nearly through may be done
    assert {ends[run] for run in left} <= {"left", "done"} and all(
        store.done(run) == (ends[run] == "done") for run in ends
    )
    left = [run for run in left if ends[run] == "left"]
    assert left and all("left, with a checkpoint" in (store.folder(run) / LOG).read_text() for run in left)

    seen.clear()
    lost: list[Run] = []
    before: dict[str, tuple[int, int]] = {}
    slots: list[int] = []
    joined: list[int] = []

    class Losing(RayCluster):
        """Loses a node that trains once another run is done, and gets another once that is noticed. Until that trains
        the old one is held, for its worker is warm: it would be through with all runs before another has started."""

        asleep: tuple[int, ...] = ()

        def events(self, seconds: float) -> list[Event]:
            if lost and not joined:
                joined.extend(pid for pid in connected.workers(connected.trains[-1]) if pid in who(store))
                self.hold(connected.workers(connected.trains[0]) if not joined else [])
            if not lost and done_at(store):
                for node in list(connected.trains):
                    runs = [who(store)[pid] for pid in connected.workers(node) if pid in who(store)]
                    if runs and not store.done(runs[0]) and any(store.folder(runs[0]).glob(f"{CHECKPOINT}*")):
                        return self.lose(node, runs[0])
            return super().events(seconds)

        def lose(self, node, run: Run) -> list[Event]:
            slots.append(self.slots)
            before.update(done_at(store))
            lost.append(run)
            connected.lose(node)
            found = self.until_slots(1)
            connected.join()
            return found + self.until_slots(2)

        def hold(self, workers: list[int]) -> None:
            for pid in set(self.asleep) ^ set(workers):
                os.kill(pid, signal.SIGSTOP if pid in workers else signal.SIGCONT)
            self.asleep = tuple(workers)

        def until_slots(self, count: int) -> list[Event]:
            found: list[Event] = []
            wait_for(lambda: found.extend(super(Losing, self).events(0.1)) or self.slots == count)
            slots.append(self.slots)
            return found

    executor = Losing(place(tmp_path), STUDY.runs, connected.address)
    assert run_study(STUDY, store, None, watch=seen.append, executor=executor) == []
    assert slots == [2, 1, 2]
    assert [(e.run, e.said["why"]) for e in seen if e.kind == "lost"] == [(lost[0], "its node died")]
    begun = Counter(event.run for event in seen if event.kind == "started")
    assert begun == Counter(run for run in STUDY.runs if ends.get(run) != "done") + Counter(lost)
    assert 1 <= len(before) and before.items() <= done_at(store).items()
    epochs = {run: [e.said["epoch"] for e in seen if e.kind == "epoch" and e.run == run] for run in STUDY.runs}
    assert all(epochs[run][0] > 1 for run in left) and epochs[lost[0]].count(1) <= 1, "one began anew"
    assert joined, "the new node was not used"
    assert differences(store, reference) == [] and litter(tmp_path) == []


def until_ended(executor: Executor, run: Run) -> Event:
    executor.submit(run)
    found: list[Event] = []
    wait_for(lambda: found.extend(e for e in executor.events(0.1) if e.kind != "epoch") or found)
    executor.close()
    return found[0]


def test_a_node_that_does_not_see_what_it_needs_says_so(connected: Nodes, tmp_path: Path) -> None:
    elsewhere = Place(str(tmp_path / "elsewhere"), None)
    blind = RayCluster(place(tmp_path / "store"), STUDY.runs, connected.address)
    assert blind.events(0.0) == [] and blind.slots == len(connected.trains)
    blind.place = elsewhere
    event = until_ended(blind, STUDY.runs[0])
    assert event.kind == "stop" and re.match(r"on node \S+: \S+/elsewhere is not the store", event.said["why"])
    run = replace(STUDY.runs[0], task=Vision("mnist"))
    executor = RayCluster(Place(Store(tmp_path).where, tmp_path / "nothing"), [run], connected.address)
    event = until_ended(executor, run)
    assert event.kind == "stop" and re.match(r"on node \S+: .*nothing", event.said["why"])


def test_a_worker_that_hangs_is_replaced(connected: Nodes, reference: Store, tmp_path: Path) -> None:
    store, seen, stopped, run = Store(tmp_path), [], [], STUDY.runs[0]

    class Stopping(RayCluster):
        def events(self, seconds: float) -> list[Event]:
            if not stopped and has_checkpoint(tmp_path) and (trains := who(store).keys() & set(training())):
                stopped.append(trains.pop())
                os.kill(stopped[0], signal.SIGSTOP)
                self.hang = 2.0  # until it is found: on a busy machine others could seem to hang, too
            found = super().events(seconds)
            if any(event.kind == "lost" for event in found):
                self.hang = HANG
            return found

    executor = Stopping(place(tmp_path), STUDY.runs, connected.address)
    study = Study("one", "tiny", "?", {"MLP": (run,)})
    assert run_study(study, store, None, watch=seen.append, executor=executor) == []
    assert [e.said["why"] for e in seen if e.kind == "lost"] == ["its worker did nothing for 2 s"]
    assert ended(lambda: alive(stopped))
    assert [each for each in differences(store, reference) if each.startswith(run.name)] == []


def test_closing_ends_what_runs(connected: Nodes, tmp_path: Path) -> None:
    executor = RayCluster(place(tmp_path), STUDY.runs, connected.address)
    executor.submit(STUDY.runs[0])
    wait_for(training)
    executor.close()
    assert ended(training) and ray.is_initialized()


def test_a_run_that_fits_nowhere_is_one_line(connected: Nodes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(MLPConfig, "shares", Shares(cpus=64), raising=False)
    executor = RayCluster(place(tmp_path), STUDY.runs, connected.address)
    with pytest.raises(InputError, match=r"^no node .* has room for MLP.*64 CPUs and 0 GPUs; the nodes have .*1 and 0"):
        run_study(STUDY, Store(tmp_path), None, executor=executor)
    monkeypatch.undo()
    executor = RayCluster(replace(place(tmp_path), device="cuda"), STUDY.runs, connected.address)
    with pytest.raises(InputError, match=r"needs 1 CPUs and 0.083 GPUs"):
        run_study(STUDY, Store(tmp_path), None, executor=executor)
    assert not (tmp_path / "runs" / STUDY.runs[0].name).exists()


def test_another_cluster_than_the_connected_one_is_one_line(connected: Nodes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is connected to the Ray cluster at"):
        RayCluster(place(tmp_path), STUDY.runs, "127.0.0.1:1").events(0.0)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1: Connection refused"),
        ("nonsense", "address 'nonsense'; that of a Ray cluster is HOST:PORT"),
        ("ray://127.0.0.1:10001", "address 'ray://127.0.0.1:10001'; that of a Ray cluster is HOST:PORT"),
    ],
)
def test_a_wrong_address_is_one_line(tmp_path: Path, monkeypatch, address: str, why: str) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(InputError, match=f"^{re.escape(why)}"):
        RayCluster(place(tmp_path), STUDY.runs, address).events(0.0)


def test_without_ray_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"^Ray is not installed here; pip install 'distillbias\[ray\]'"):
        RayCluster(place(tmp_path), STUDY.runs).events(0.0)


def test_shares_are_declared_per_model_and_are_no_part_of_names(tmp_path: Path, monkeypatch) -> None:
    run, here = STUDY.runs[0], place(tmp_path)
    name = run.name
    assert shares(run, here) == (1.0, 0.0) and shares(run, replace(here, device="cuda")) == (1.0, 1 / 12)
    monkeypatch.setattr(MLPConfig, "shares", Shares(0.5, 1.0), raising=False)
    assert shares(run, replace(here, device="cuda", threads=2)) == (1.0, 1.0)
    assert replace(run).name == name
    monkeypatch.setattr(MLPConfig, "shares", Shares(1.0, 1.5), raising=False)
    with pytest.raises(InputError, match="1.5 GPUs"):
        shares(run, here)
