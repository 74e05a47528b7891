"""A store at a URL, against a server of the kind of S3 on this machine: nothing lost, nothing half-written is done.

A machine is a folder for its copies; another folder is another machine.
"""

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from tests import tiny
from tests.faults import far
from tests.faults.injected import RESULT, gone
from tests.here import Here

from distillbias import cli
from distillbias.errors import InputError
from distillbias.report.vision_evidence import VisionEvidence
from distillbias.report.vision_scores import headline_table
from distillbias.studies import claim, objects
from distillbias.studies.catalogue import STUDIES, Entry
from distillbias.studies.claim import RUNNING, Claim
from distillbias.studies.execute import Left, execute
from distillbias.studies.objects import Objects
from distillbias.studies.packing import pack, unpack
from distillbias.studies.processes import ALLOCATOR
from distillbias.studies.remote import RemoteStore, copies
from distillbias.studies.run import Distillation, Run
from distillbias.studies.runner import run_study
from distillbias.studies.store import CHECKPOINT, DONE, Store, open_store
from distillbias.studies.study import Study
from distillbias.studies.verify import verify

OTHER = replace(tiny.ALONE, trial=1)
TAUGHT = replace(tiny.STUDENT, trial=1, distillation=Distillation(OTHER))
STUDY = Study("vision", "tiny", "?", {"MLP": (tiny.ALONE, OTHER), "MLP → MLP": (tiny.STUDENT, TAUGHT)})
FIRST = tiny.ALONE
BUCKET = "bucket"


class Server:
    """Of the kind of S3, at one port of this machine; it can go down and come back with what it holds."""

    def __init__(self) -> None:
        self.port = 0
        self.up()

    def up(self) -> None:
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]

    def down(self) -> None:
        self.server.stop()


@pytest.fixture(scope="module")
def server():
    """With credentials that are made up, and in nobody's files. No thread or connection outlives it."""
    import fsspec.asyn
    from s3fs import S3FileSystem

    threads = set(threading.enumerate())
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
            patch.delenv(name)
        patch.setattr(logging.getLogger("werkzeug"), "level", logging.ERROR)
        server = Server()
        told = {"ACCESS_KEY_ID": "made", "SECRET_ACCESS_KEY": "up", "DEFAULT_REGION": "us-east-1", "MAX_ATTEMPTS": "1"}
        told |= {"ENDPOINT_URL": f"http://127.0.0.1:{server.port}", "CONFIG_FILE": os.devnull}
        for name, value in (told | {"SHARED_CREDENTIALS_FILE": os.devnull}).items():
            patch.setenv(f"AWS_{name}", value)
        patch.setattr(claim, "BEAT", far.BEAT)
        patch.setattr(objects, "PAUSES", (0.05, 0.05))
        Objects(f"s3://{BUCKET}").files.mkdir(BUCKET)
        yield server
    S3FileSystem.clear_instance_cache()
    gc.collect()
    server.down()
    loop, thread = fsspec.asyn.loop[0], fsspec.asyn.iothread[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    fsspec.asyn.loop[0] = fsspec.asyn.iothread[0] = None
    assert gone(lambda: [each.ident for each in set(threading.enumerate()) - threads])


@pytest.fixture
def machine(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The store at a URL as a machine sees it that opens it now."""

    def opened(url: str, name: str = "one") -> RemoteStore:
        monkeypatch.setenv("DISTILLBIAS_CACHE", str(tmp_path / name))
        store = open_store(url)
        assert isinstance(store, RemoteStore) and store.root == copies(url) and store.root.is_relative_to(tmp_path)
        return store

    return opened


def train(store: Store) -> dict[str, list[str]]:
    """Run the study; {kind of event: runs}."""
    seen: dict[str, list[str]] = {}
    assert (
        run_study(
            STUDY, store, None, watch=lambda e: seen.setdefault(e.kind, []).append(e.run.name), executor=Here(store)
        )
        == []
    )
    return seen


def same(store: Store, reference: Store) -> None:
    """Every run is done and has the bits of the reference."""
    for run in STUDY.runs:
        ours, theirs = store.record(run), reference.record(run)
        for file in RESULT:
            assert (ours.folder / file).read_bytes() == (theirs.folder / file).read_bytes(), (run.label, file)
        for fact in ("losses", "scores", "weights", "teacher"):
            assert ours.facts[fact] == theirs.facts[fact], (run.label, fact)


def spoil(url: str, name: str, how: str) -> None:
    far_away = Objects(url)
    content = far_away.get(name)
    if how == "remove":
        far_away.remove(name)
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 4])
        far_away.put(name, flipped if how == "flip" else content[: len(content) // 2])


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny.trained(tmp_path_factory.mktemp("local"), *STUDY.runs)


@pytest.fixture(scope="module")
def trained(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The study, trained to a URL by two worker processes; and where that machine has its copies. Read only."""
    url, cache = f"s3://{BUCKET}/deep/trained", tmp_path_factory.mktemp("machine")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ALLOCATOR.items():
            patch.setenv(name, os.environ.get(name, value))
        patch.setenv("DISTILLBIAS_CACHE", str(cache))
        assert run_study(STUDY, open_store(url), None, workers=2, every=0.0) == []
    return url, cache


@pytest.fixture
def copied(trained, machine, tmp_path: Path):
    """Another URL that holds the same, and machine "one" that has a copy of it all."""
    (there, cache), url = trained, f"s3://{BUCKET}/{tmp_path.name}"
    store = machine(url)
    for name in Objects(there).sizes("runs"):
        store.objects.files.copy(f"{there}/{name}", f"{url}/{name}")
    shutil.rmtree(store.root / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISTILLBIAS_CACHE", str(cache))
        shutil.copytree(copies(there) / "runs", store.root / "runs")
    assert [store.damaged(run) for run in STUDY.runs] == [[]] * 4 and store.read == set()  # nothing was fetched
    return url


def test_workers_train_into_a_url_what_a_folder_would_hold(trained, machine, reference: Store) -> None:
    url, _ = trained
    same(machine(url, "another"), reference)
    there = sorted(Objects(url).sizes(""))
    files = (*RESULT, "record.json", DONE)
    assert there == sorted(f"runs/{run.name}/{file}" for run in STUDY.runs for file in files)  # nothing else is left


def test_another_machine_sees_all_of_it_done_and_asks_once(trained, machine, monkeypatch) -> None:
    store, asked = machine(trained[0]), []
    real = Objects._ask
    monkeypatch.setattr(Objects, "_ask", lambda *rest: asked.append(1) or real(*rest))
    for _ in range(100):
        assert all(store.done(run) and store.has_weights(run) for run in STUDY.runs)
    assert len(asked) == 2 and list((store.root / "runs").iterdir()) == []  # a listing, and the marks
    assert train(store) == {}
    assert store.find(FIRST.name[:6]).run == FIRST


def test_a_report_from_another_machine(trained, machine, reference: Store, monkeypatch, capsys) -> None:
    machine(trained[0])
    monkeypatch.setitem(STUDIES, "vision", Entry("?", lambda scale, trials, epochs: STUDY))
    for command in ("status", "verify"):
        monkeypatch.setattr(sys, "argv", ["distillbias", command, "vision", "--store", trained[0]])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
    said = capsys.readouterr().out
    assert "4 of 4 runs done" in said and "4 of 4 runs are finished, 20 files, all as they were written" in said
    every_arm = tiny.vision_study(trials=2)
    assert set(STUDY.runs) < set(every_arm.runs)  # the others are holes
    tables = [headline_table(VisionEvidence(every_arm, each, None)) for each in (machine(trained[0]), reference)]
    assert tables[0] == tables[1] and {"MLP", "MLP → MLP"} <= set(tables[0].rows)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_killed_before_the_mark_it_is_not_done(
    machine, reference: Store, tmp_path: Path, monkeypatch, elsewhere
) -> None:
    """The next command puts there what is finished here; one on another machine trains it again."""
    url = f"s3://{BUCKET}/killed-{elsewhere}"
    store, real = machine(url), Objects.put

    def killed(self, name: str, *rest, **named) -> None:
        if name.endswith(f"/{DONE}"):
            raise KeyboardInterrupt
        real(self, name, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            execute(FIRST, store, None)
    assert Store(store.root).done(FIRST)
    assert f"runs/{FIRST.name}/weights.safetensors" in Objects(url).sizes("runs")
    for name in ("one", "two"):
        assert not machine(url, name).done(FIRST)
    events = train(machine(url, "two" if elsewhere else "one"))
    assert (FIRST.name in events["started"]) == elsewhere and len(events["done"]) == 4
    same(machine(url, "three"), reference)


@pytest.mark.parametrize("how", ["flip", "remove"])
def test_a_damaged_object_is_named_and_trained_again(copied: str, machine, reference: Store, how: str) -> None:
    file = f"runs/{FIRST.name}/weights.safetensors"
    spoil(copied, file, how)
    store = machine(copied, "two")
    with pytest.raises(InputError, match=rf"weights.safetensors in {copied}/runs/{FIRST.name} is not what was written"):
        store.record(FIRST)
    found = verify(STUDY, machine(copied, "two"))
    assert [tuple(each) for each in found.damage] == [
        (file, "is missing" if how == "remove" else "is not what was written")
    ]
    assert train(machine(copied, "two"))["started"] == [FIRST.name]
    assert verify(STUDY, machine(copied, "three")).damage == ()
    same(machine(copied, "three"), reference)


@pytest.mark.parametrize("how", ["flip", "cut"])
def test_what_one_machine_has_whole_mends_what_is_damaged_there(copied: str, machine, how: str) -> None:
    spoil(copied, f"runs/{FIRST.name}/record.json", how)
    if how == "cut":  # another size is seen by each command
        assert machine(copied).damaged(FIRST) == ["record.json"]
    assert len(verify(STUDY, machine(copied)).damage) == 1  # reads all of it there, although it is here
    assert train(machine(copied)) == {"done": [FIRST.name]}  # nothing was started
    assert verify(STUDY, machine(copied)).damage == verify(STUDY, machine(copied, "two")).damage == ()
    assert train(machine(copied)) == {}


def test_a_damaged_copy_is_fetched_again(copied: str, machine) -> None:
    store = machine(copied)
    (store.folder(FIRST) / "record.json").write_text("{}")
    assert machine(copied).damaged(FIRST) == [] and machine(copied).record(FIRST).run == FIRST


def test_a_mark_that_is_cut_is_none(copied: str, machine) -> None:
    for content in (b"", b'{"record.json": "a', b'{"../record.json": "a"}', b"[" * 10**5):
        Objects(copied).put(f"runs/{FIRST.name}/{DONE}", content)
        assert [machine(copied, "two").done(run) for run in STUDY.runs] == [run != FIRST for run in STUDY.runs]


def test_a_run_trained_again_elsewhere_replaces_the_copy(copied: str, machine, tmp_path: Path) -> None:
    there = machine(copied, "two")
    there.reopen(FIRST)
    folder = there.start(FIRST)
    shutil.copytree(machine(copied).folder(FIRST), folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DONE))
    facts = json.loads((folder / "record.json").read_text()) | {"trained": "again"}
    (folder / "record.json").write_text(json.dumps(facts))
    there.finish(FIRST)
    assert machine(copied).record(FIRST).facts["trained"] == "again"


def test_the_server_goes_down_and_nothing_is_lost(server: Server, machine, reference: Store, monkeypatch) -> None:
    """One clear line. What is finished is put there by the next command, which trains only the rest."""
    url, real = f"s3://{BUCKET}/down", RemoteStore.finish

    def finish(self, run: Run) -> None:
        if run == OTHER:
            server.down()
        real(self, run)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteStore, "finish", finish)
        try:
            for _ in range(2):  # the second command meets no server at all
                with pytest.raises(InputError, match=f"cannot reach {url}: Could not connect.* is kept") as said:
                    train(machine(url))
                assert "\n" not in str(said.value)
        finally:
            server.up()
    assert machine(url, "two").finished() == [FIRST.name] and Store(machine(url).root).done(OTHER)
    events = train(machine(url))
    assert set(events["started"]) == {run.name for run in STUDY.arms["MLP → MLP"]}
    assert set(events["done"]) == {run.name for run in STUDY.runs if run != FIRST}
    same(machine(url, "two"), reference)


def test_a_run_goes_on_on_another_machine_where_it_was(machine, tmp_path: Path) -> None:
    url, long = f"s3://{BUCKET}/left", replace(FIRST, recipe=replace(FIRST.recipe, epochs=3))
    whole, steps = tiny.trained(tmp_path / "whole", long), count()
    for at in (4, 9):
        with pytest.raises(Left):
            execute(long, machine(url), None, leave=lambda at=at: next(steps) == at)
    there = [Path(name).name for name in Objects(url).sizes("runs")]
    assert len(there) == 2 and all(name.startswith(CHECKPOINT) for name in there)
    rest, store = count(), machine(url, "two")
    execute(long, store, None, leave=lambda: next(rest) < 0)
    total = long.recipe.steps(len(long.task.load(None).train))
    assert next(rest) == total - int(max(there).removeprefix(CHECKPOINT)) < total
    for file in RESULT:
        assert (store.folder(long) / file).read_bytes() == (whole.folder(long) / file).read_bytes()
    assert not any(CHECKPOINT in name for name in Objects(url).sizes("runs"))


def test_a_checkpoint_that_cannot_be_put_there_stops_nothing(machine, monkeypatch, capsys) -> None:
    store, real = machine(f"s3://{BUCKET}/no-checkpoints"), Objects.put

    def refuse(self, name: str, *rest, **named) -> None:
        if CHECKPOINT in name:
            raise InputError("nobody answers")
        real(self, name, *rest, **named)

    monkeypatch.setattr(Objects, "put", refuse)
    execute(FIRST, store, None, every=0.0)
    assert store.done(FIRST) and "a checkpoint stays on this machine: nobody answers" in capsys.readouterr().out


def test_two_commands_at_once(machine, tmp_path: Path) -> None:
    """The second is refused, until the first is killed."""
    url = f"s3://{BUCKET}/two"
    store = machine(url, "two")
    env = os.environ | {"DISTILLBIAS_CACHE": str(tmp_path / "one"), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.far", url], stdout=subprocess.PIPE, text=True, env=env
    )
    try:
        assert first.stdout.readline() == "alone\n"
        with pytest.raises(InputError, match=rf"process {first.pid} on .* already trains in {url}; wait, or choose"):
            with store.alone():
                pass
    finally:
        first.kill()
        first.communicate()
    assert RUNNING in Objects(url).sizes("")
    with store.alone(), pytest.raises(InputError, match=f"process {os.getpid()} already trains in {url}"):
        with machine(url, "two").alone():  # on one machine it is known at once
            pass
    assert Objects(url).sizes("") == {}


def waited(monkeypatch) -> list[float]:
    slept: list[float] = []
    real = time.sleep
    monkeypatch.setattr(claim.time, "sleep", lambda seconds: slept.append(seconds) or real(seconds))
    return slept


def test_a_dead_command_of_this_machine_is_not_waited_for(server: Server, tmp_path: Path, monkeypatch) -> None:
    there = Objects(f"s3://{BUCKET}/dead")
    dead = Claim(there, tmp_path / "kept")
    with monkeypatch.context() as patch:
        patch.setattr(dead, "_leave", lambda: None)
        with dead.held():
            pass
    slept = waited(monkeypatch)
    with Claim(there, tmp_path / "kept").held():
        assert slept == []
    monkeypatch.setattr(Claim, "_leave", lambda self: None)
    with Claim(there, tmp_path / "kept").held():
        pass
    with Claim(there, tmp_path / "other").held():
        assert len(slept) == claim.PATIENCE + 1


def test_of_two_who_take_over_at_once_one_is_left(server: Server, tmp_path: Path) -> None:
    there = Objects(f"s3://{BUCKET}/race")
    there.put(RUNNING, b'{"token": "dead", "who": "nobody"}')
    held, refused, both = [], [], threading.Barrier(4)

    def newcomer(number: int) -> None:
        both.wait()
        try:
            with Claim(Objects(there.url), tmp_path / str(number)).held():
                held.append(number)
                time.sleep(far.BEAT * claim.PATIENCE)
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=newcomer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1 and len(refused) == 3 and all("already trains in" in each for each in refused)
    assert there.sizes("") == {}


def test_who_was_taken_for_dead_stops(machine, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/taken"
    store = machine(url)
    with store.alone():
        assert store.arrived(FIRST) is False
        Objects(url).put(RUNNING, b'{"token": "another", "who": "process 7 on there"}')
        assert gone(lambda: [] if store.claim.taken else [1])
        with pytest.raises(InputError, match=f"process 7 on there took over {url}"):
            store.arrived(FIRST)
    assert RUNNING in Objects(url).sizes("")  # it is not ours to remove


def test_packed_runs_go_to_a_url(copied: str, machine, tmp_path: Path) -> None:
    pack(STUDY, machine(copied), tmp_path / "out")
    url = f"s3://{BUCKET}/unpacked"
    assert unpack(tmp_path / "out", machine(url)) == (4, 0)
    there = machine(url, "two")
    assert there.done(FIRST) and not there.has_weights(FIRST) and there.record(FIRST).run == FIRST


def test_any_filesystem_of_fsspec_will_do(machine, reference: Store, tmp_path: Path) -> None:
    """Plain files may be cut: such a mark is none."""
    url = f"file://{tmp_path}/far"
    train(machine(url))
    same(machine(url, "two"), reference)
    mark = tmp_path / "far" / "runs" / FIRST.name / DONE
    whole = mark.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 2):
        mark.write_bytes(whole[:length])
        assert not machine(url, "three").done(FIRST)
    mark.write_bytes(whole)
    assert machine(url, "three").done(FIRST)
    with machine(url, "three").alone(), pytest.raises(InputError, match=f"already trains in {url}"):
        with machine(url, "two").alone():
            pass
    assert not (tmp_path / "far" / RUNNING).exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s4://bucket", "cannot open a store at 's4://bucket': Protocol not known: s4"),
        ("s3://", "a store at 's3://' has no name; an example is s3://bucket/prefix"),
    ],
)
def test_a_url_that_is_none_is_one_line(machine, url: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        machine(url)


def test_a_bucket_that_is_not_there_is_said_before_anything_is_trained(machine) -> None:
    with pytest.raises(InputError, match="cannot write to s3://none/store: The specified bucket does not exist"):
        train(machine("s3://none/store"))


def test_who_has_no_key_is_told_at_once(machine, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(objects, "PAUSES", (600.0,))
    store = machine("s3://bucket/x")
    store.objects.files = type(store.objects.files)(skip_instance_cache=True)  # that others opened has its key
    with pytest.raises(InputError, match="cannot reach s3://bucket/x: Unable to locate credentials"):
        store.done(FIRST)


def test_without_fsspec_it_says_how_to_get_it(machine, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match=r"a store at a URL needs fsspec; pip install 'distillbias\[remote\]'"):
        machine("s3://bucket/x")
