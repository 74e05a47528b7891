"""Measure the engine beside its peers: python -m benchmarks.peers --out results/benchmarks/ (docs/benchmarks.md)."""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers import environments
from benchmarks.peers.arms import ARMS, BASE, QUICK, USUAL
from benchmarks.peers.export import export
from benchmarks.peers.measure import gated, timed
from benchmarks.peers.table import BUSY, table, write_tables
from benchmarks.peers.workloads import GATED, WORKLOADS

from distillbias.errors import InputError
from distillbias.studies.provenance import provenance
from distillbias.studies.runner import check_device
from distillbias.training.precision import has_bfloat16

CORES = 2
PATIENCE = 180  # seconds that a load average above BUSY a core is waited for


def main(given: Sequence[str] | None = None) -> int:
    asked = parse(given)
    try:
        return 0 if measure_all(asked) else 1
    except InputError as error:
        print(f"error: {error}")
        return 2


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--out", type=Path, help="where JSON and table go (default: the table is printed, nothing kept)"
    )
    parser.add_argument("--data", type=Path, help="where data sets live (default: as for distillbias)")
    parser.add_argument("--envs", type=Path, default=Path("build/benchmarks"), help="the peers' environments")
    parser.add_argument(
        "--here",
        action="store_true",
        help="no such environments: the versions that this one has, which the table names",
    )
    parser.add_argument("--workloads", help=f"some of {','.join(WORKLOADS)} (default: all; with --quick V)")
    parser.add_argument("--arms", help='some of "' + '";"'.join(ARMS) + '", parted by ";" (default: all)')
    parser.add_argument("--repeats", type=int, help="of the timed steps of each arm (default: 5; with --quick 2)")
    parser.add_argument("--device", choices=sorted(USUAL), default="cpu", help="two cores, or one GPU (default: cpu)")
    parser.add_argument("--quick", action="store_true", help="a minute: few steps, one workload, no peer is installed")
    parser.add_argument("--gate", action="store_true", help="compare losses only, time and keep nothing")
    return parser.parse_args(given)


def measure_all(asked: argparse.Namespace) -> bool:
    """Whether every arm passed the gate of every workload."""
    names = chosen(asked.workloads, ",", WORKLOADS, ["V"] if asked.quick else list(WORKLOADS), "workload")
    arms = chosen(asked.arms, ";", ARMS, usual(list(QUICK) if asked.quick else USUAL[asked.device], asked), "arm")
    arms = [BASE] + [arm for arm in arms if arm != BASE]
    if asked.repeats is not None and asked.repeats < 1:
        raise InputError(f"{asked.repeats} repeats; at least 1 is needed")
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
    if not asked.here:
        make_environments(arms, asked.envs)
    if asked.device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    load = quiet_load() if asked.device == "cpu" else os.getloadavg()[0]  # a GPU's time is dear
    if load > BUSY * cores():
        print(f"this machine is busy (load {load:.2f}): what is measured now is not to be trusted")
    passed = True
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(name, arms, Path(folder), asked, load)
        passed &= all(verdict["passed"] for verdict in measured["gate"].values())
        if asked.gate:
            continue
        print("\n" + table(measured), flush=True)
    return passed


def usual(arms: list[str], asked: argparse.Namespace) -> list[str]:
    """Those of `arms` that a device does not emulate; ours would be trained in float32 under another name."""
    check_device(asked.device)
    if has_bfloat16(torch.device(asked.device)):
        return arms
    if not asked.arms:
        print("no arm in bf16: this device multiplies none, and takes several times as long to emulate it", flush=True)
    return [arm for arm in arms if ARMS[arm].precision == "float32"]


def keep(measured: dict[str, Any], folder: Path | None) -> None:
    if folder:
        part = folder / f".peers-{measured['facts']['name']}.json"
        part.write_text(json.dumps(measured, indent=1))
        part.replace(folder / part.name[1:])
        write_tables(folder)


def quiet_load() -> float:
    """The load average, once what ran a moment ago no longer counts in it; after PATIENCE as it is."""
    began = time.monotonic()
    while (load := os.getloadavg()[0]) > BUSY * cores() and time.monotonic() - began < PATIENCE:
        time.sleep(5)
    return load


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen(text: str | None, between: str, known: dict[str, Any], default: list[str], what: str) -> list[str]:
    names = [part.strip() for part in text.split(between)] if text else default
    for name in names:
        if name not in known:
            raise InputError(f"unknown {what} {name!r}; it is one of {f'{between} '.join(known)}")
    return names


def make_environments(arms: list[str], folder: Path) -> None:
    for name in sorted({ARMS[arm].environment for arm in arms}):
        if not environments.ready(name, folder):
            print(f"making the environment of {name} in {folder / name}: some minutes", flush=True)
            try:
                environments.make(name, folder)
            except subprocess.CalledProcessError as error:
                raise InputError(f"the environment of {name} cannot be made: {error.stderr.strip()}") from None


def measure(name: str, arms: list[str], folder: Path, asked: argparse.Namespace, load: float) -> dict[str, Any]:
    work = WORKLOADS[name]
    compared, repeats = (10, 2) if asked.quick else (GATED, 5)
    warmup, steps = work.protocol(longer=asked.device != "cpu")
    steps = steps // 5 if asked.quick else steps
    where = None if asked.here else asked.envs
    repeats = 0 if asked.gate else asked.repeats or repeats
    facts = export(name, asked.data, folder, max(compared, steps))
    say = lambda line: print(f"{name} {line}", flush=True)  # noqa: E731
    gate = gated(arms, folder, where, compared, say, asked.device)
    passed = [arm for arm in arms if gate[arm]["passed"]]
    known = provenance(asked.device)
    machine = {"processor": known["device"], "cores": cores(), "load_before": load}
    machine |= {"date": time.strftime("%Y-%m-%d"), "commit": known["commit"], "python": known["python"]}
    protocol = {"gated": compared, "warmup": warmup, "steps": steps, "repeats": repeats}
    measured = {"facts": facts, "machine": machine, "protocol": protocol, "gate": gate, "repeats": {}}
    for done, found in enumerate(timed(passed, folder, where, warmup, steps, repeats, say, asked.device), 1):
        measured |= {"protocol": protocol | {"repeats": done}, "repeats": found}
        measured |= {"machine": machine | {"load_after": os.getloadavg()[0]}}
        keep(measured, asked.out)
    return measured


if __name__ == "__main__":
    raise SystemExit(main())
