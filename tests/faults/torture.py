"""Kill, interrupt and damage whole studies at random moments, then look whether anything was lost.

    make torture
    python -m tests.faults.torture --kills 200 --seed 0 --out results/reliability/

A study of two teachers and three students with two workers is started, hit, and started again, until it is done; then
another begins. After each hit no process may be left, no finished run may have been written again (but those whose
files were damaged on purpose), and at the end of a study every result must equal, bit by bit, those of a study that was
left in peace.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests import tiny
from tests.faults.injected import STUDY, Running, differences, done_at, gone, litter

from distillbias.studies.provenance import commit
from distillbias.studies.store import Store

HITS = {"kill a worker": 6, "kill the command": 2, "Ctrl-C": 1, "SIGTERM": 1, "SIGHUP": 1}  # and how often, relatively
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}
KILLS = ("kill a worker", "kill the command")
MOST = 4  # hits of one command
LONGEST = 2.5  # seconds from one hit to the next
EARLY = 0.2  # share of hits that do not wait for the workers to be there
DAMAGE = 0.5  # share of pauses between two commands in which a file is damaged


class Torture:
    """Counts what was done to the studies, and what was wrong afterwards."""

    def __init__(self, root: Path, seed: int):
        self.random, self.root = random.Random(seed), root
        self.reference = tiny.trained(root / "undisturbed", *STUDY.runs)
        self.injected: Counter[str] = Counter()
        self.compared = self.kept = self.studies = 0
        self.wrong: list[str] = []

    @property
    def kills(self) -> int:
        return sum(self.injected[hit] for hit in KILLS)

    def study(self, kills: int) -> None:
        """One study from an empty store to its end."""
        self.studies += 1
        place = self.root / f"study-{self.studies}"
        store = Store(place)
        hurt: set[str] = set()  # runs damaged on purpose, by us, until they were trained again
        self.history: list[str] = []
        while not all(map(store.done, STUDY.runs)) or any(store.damaged(run) for run in STUDY.runs):
            before = done_at(store)
            if before and self.random.random() < DAMAGE:
                hurt |= self._damage(store)
            self._command(place, hit=self.kills < kills)
            after = done_at(store)
            self.kept += len(before)
            again = {name for name, mark in before.items() if after.get(name) != mark}
            told = f"was done and was done again, after {', '.join(self.history)}"
            self.wrong += [f"study {self.studies}: {name} {told}" for name in sorted(again - hurt)]
            hurt -= again
        self.compared += len(STUDY.runs)
        self.wrong += [f"study {self.studies}: {each}" for each in differences(store, self.reference)]
        self.wrong += [f"study {self.studies}: litter {each}" for each in litter(place)]
        shutil.rmtree(place)

    def _command(self, place: Path, hit: bool) -> None:
        """Start it, hit it up to `MOST` times, wait for its end."""
        running = Running(place)
        for _ in range(MOST if hit else 0):
            time.sleep(self.random.uniform(0.0, LONGEST))
            early = self.random.random() < EARLY
            while not early and not running.workers and running.process.poll() is None:
                time.sleep(0.05)
            workers = running.workers
            if running.process.poll() is not None or not self._hit(running, workers):
                break
        try:
            _, out = running.ended(300)
        except subprocess.TimeoutExpired:
            self.wrong.append(f"study {self.studies}: it did not end in 5 minutes")
            for pid in running.left:
                running.kill(pid)
            _, out = running.ended()
        if not gone(lambda: running.left):
            self.wrong.append(f"study {self.studies}: orphans")
        if "Traceback" in out or "error:" in out:
            self.wrong.append(f"study {self.studies}: {out[-300:]!r}")

    def _hit(self, running: Running, workers: list[int]) -> bool:
        """Whether the command goes on after it."""
        names = list(HITS) if workers else ["kill the command"]
        how = self.random.choices(names, [HITS[name] for name in names])[0]
        self._note(how)
        if how == "kill a worker":
            running.kill(self.random.choice(workers))
            return True
        number = SIGNALS.get(how, signal.SIGKILL)
        os.kill(running.process.pid, number)
        return False

    def _note(self, what: str, where: str = "") -> None:
        self.injected[what] += 1
        self.history.append(f"{what} {where}".strip())

    def _damage(self, store: Store) -> set[str]:
        """Cut or change a file of a run, or a signal; the name of the run, none for a signal."""
        files = [path for path in sorted(store.root.glob("*/**/*")) if path.is_file() and path.suffix != ".txt"]
        path = self.random.choice([path for path in files if path.stat().st_size])
        content = bytearray(path.read_bytes())
        at = self.random.randrange(len(content))
        content[at] ^= 1 << self.random.randrange(8)
        cut = self.random.random() < 0.5
        path.write_bytes(content[:at] if cut else content)
        self._note("cut a file" if cut else "flip a bit of a file", str(path.relative_to(store.root)))
        return {path.parent.name} if path.parent.parent.name == "runs" else set()

    def summary(self, seconds: float, seed: int) -> dict:
        return {
            "seed": seed,
            "injected": dict(sorted(self.injected.items())),
            "kills": self.kills,
            "studies": self.studies,
            "runs compared, bit by bit": self.compared,
            "finished runs that a later command met": self.kept,
            "wrong": self.wrong,
            "minutes": round(seconds / 60, 1),
            "commit": commit(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        }


def page(found: dict) -> str:
    rows = [*found["injected"].items(), *((name, found[name]) for name in list(found)[2:5])]
    rows += [("wrong", len(found["wrong"])), ("minutes", found["minutes"]), ("seed", found["seed"])]
    lines = [
        "# Torture",
        "",
        "A study of five runs on two workers, hit at random moments and started again, until it is done, many times.",
        "Wrong would be: a result that is not bit-equal to that of an undisturbed study, a finished run that was",
        "trained again, a process or a file left behind. `make torture` does it again.",
        "",
        "| what | how many |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        *(f"- {each}" for each in found["wrong"]),
        f"Commit {found['commit']}; {found['machine']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        torture = Torture(Path(root), given.seed)
        while torture.kills < given.kills:
            torture.study(given.kills)
            done = f"{torture.kills} of {given.kills} kills, {torture.studies} studies, {len(torture.wrong)} wrong"
            print(f"{done}, {(time.monotonic() - began) / 60:.1f} min", flush=True)
    found = torture.summary(time.monotonic() - began, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "torture.json").write_text(json.dumps(found, indent=1) + "\n")
    (given.out / "torture.md").write_text(page(found))
    print(page(found))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
