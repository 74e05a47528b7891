"""Run arms as processes: the gate, then timed repeats, a-b-c-a-b-c."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.peers.arms import ARMS, BASE, Arm
from benchmarks.peers.environments import ROOT, python_of
from benchmarks.peers.gate import judge

from distillbias.studies.processes import ALLOCATOR

Say = Callable[[str], None]
Result = dict[str, Any]

PATIENCE = {"cpu": 3600, "cuda": 120}  # seconds for an arm: one on a GPU that takes longer hangs
GATED_AT_ONCE = {"cpu": 1, "cuda": 4}  # arms; memory is short on a CPU, and time on a GPU


class Broken(Exception):
    """An arm ended with an error; its last line."""


def run_arm(
    arm: Arm, folder: Path, environments: Path | None, warmup: int, steps: int, gate: bool, device: str = "cpu"
) -> Result:
    """One process of it: `steps` steps on the workload in `folder`, `warmup` of them not timed. Raises Broken."""
    order = "buckets" if arm.buckets and not gate else "random"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "result.json"
        command = [str(python_of(arm.environment, environments)), "-m", f"benchmarks.peers.arms.{arm.script}"]
        command += [str(folder.resolve()), "--out", str(out), "--warmup", str(warmup), "--steps", str(steps)]
        command += ["--order", order, "--device", device, *arm.options]
        try:
            done = subprocess.run(
                command + ["--gate"] * gate,
                env=_environment(arm),
                cwd=ROOT,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE[device],
            )
        except subprocess.TimeoutExpired:
            raise Broken(f"it did not end within {PATIENCE[device]} s") from None
        if done.returncode:
            raise Broken((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        return json.loads(out.read_text())


def _environment(arm: Arm) -> dict[str, str]:
    threads = {name: str(arm.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    paths = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = os.environ | threads | {"PYTHONPATH": os.pathsep.join(paths), "TOKENIZERS_PARALLELISM": "false"}
    # what the worker processes of this project's studies run with
    return found | ALLOCATOR if arm.script == "ours" else found


def gated(
    names: list[str], folder: Path, environments: Path | None, steps: int, say: Say, device: str = "cpu"
) -> dict[str, Result]:
    """{arm: {"passed", "worst", "why"}}: losses of `steps` steps beside those of the plain loop."""
    expected: list[float] = []

    def losses(name: str) -> list[float] | Broken:
        try:
            return run_arm(ARMS[name], folder, environments, 0, steps, gate=True, device=device)["losses"]
        except Broken as error:
            return error

    found: dict[str, Result] = {}
    names = [BASE, *(name for name in names if name != BASE)]
    with ThreadPoolExecutor(GATED_AT_ONCE[device]) as pool:  # nothing is timed here
        for name, said in zip(names, pool.map(losses, names), strict=True):
            if isinstance(said, Broken):
                found[name] = {"passed": False, "worst": None, "why": f"it cannot run: {said}"}
            else:
                expected = expected or said
                found[name] = judge(said, expected, ARMS[name].precision)._asdict()
            say(f"gate   {name}: {found[name]['why'] or 'passed, ' + format(found[name]['worst'], '.0e') + ' apart'}")
    return found


def timed(
    names: list[str],
    folder: Path,
    environments: Path | None,
    warmup: int,
    steps: int,
    repeats: int,
    say: Say,
    device: str = "cpu",
) -> Iterator[dict[str, list[Result]]]:
    """{arm: its summary at each repeat}; all arms once, then all again. After each repeat that which is there."""
    found: dict[str, list[Result]] = {name: [] for name in names}
    for repeat in range(repeats):
        for name in names:
            try:
                result = run_arm(ARMS[name], folder, environments, warmup, warmup + steps, False, device)
            except Broken as error:
                say(f"repeat {repeat + 1} {name}: it cannot run: {error}")
                continue
            found[name].append(summary(result, warmup, ARMS[name].at_once))
            say(f"repeat {repeat + 1} {name}: {1e3 * found[name][-1]['seconds']:.2f} ms a step and trial")
        yield found


def summary(result: Mapping[str, Any], warmup: int, at_once: int) -> Result:
    """What is kept of an arm's result: `seconds` and `words` of a step of one trial, `peak_bytes`, `versions`, and
    where it has them `cache` and `evaluation` in seconds an example. Of trials at once each step counts for all of
    them, and memory adds up."""
    workers = result.get("workers", [result])
    each = [(times[-1] - times[warmup - 1]) / (len(times) - warmup) for times in (one["times"] for one in workers)]
    shared = {key: result[key] / at_once for key in ("cache", "evaluation") if key in result}
    return shared | {
        "seconds": sum(each) / len(each) / at_once,
        "words": mean(result["words"][warmup:]),
        "peak_bytes": sum(one["peak_bytes"] for one in workers),
        "versions": result["versions"],
    }
