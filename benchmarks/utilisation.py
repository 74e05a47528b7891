"""What share of the machine's arithmetic a training step uses, beside the limit measured in the same run.

    python -m benchmarks.utilisation --data DIR --out results/benchmarks/     some 15 minutes on two quiet cores
    python -m benchmarks.utilisation --workloads V --repeats 1                one of it, the table on the screen

Workloads are those of the comparison with peers (docs/benchmarks.md), trained by this project in bf16, or in float32
where a processor does not multiply bf16, two trials at once, for four times as many steps after six times as many
others. Arithmetic is that of the model as it is written, counted operator by operator: products and convolutions,
forward and backward, padding included; of a language model also the product that rebuilds its teacher's logits. What
ours leaves out counts as if it were done: five ninths of a CNN's convolutions, an MLP's products with pixels that are
0, an LSTM's with inputs that dropout has emptied (not its recurrent ones). All else a step does (dropout,
norms, softmax, optimiser) counts for nothing but its time. The limit is the best of several sizes of one operation,
two processes at once, as the trials are, in the same precision: a matrix product, and for the CNN also a 3x3
convolution, forward and backward.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from benchmarks.peers.__main__ import CORES, chosen, quiet_load
from benchmarks.peers.arms import ARMS, ours
from benchmarks.peers.export import export
from benchmarks.peers.given import Given, Watch
from benchmarks.peers.measure import run_arm, summary
from benchmarks.peers.workloads import WORKLOADS
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from distillbias.errors import InputError
from distillbias.models.native import put_aside
from distillbias.studies.progress import LSTM_WORK, lstm_work
from distillbias.studies.provenance import provenance
from distillbias.training.precision import has_bfloat16

KIND = torch.bfloat16 if has_bfloat16(torch.device("cpu")) else torch.float32
ARM = "ours, bf16, two trials at once" if KIND == torch.bfloat16 else "ours, two trials at once"
SECONDS = 1.0  # that each size of a limit is repeated for
PRODUCTS = (512, 1024, 2048)
CONVOLUTIONS = ((64, 28), (128, 14), (256, 14))  # (channels, side) of 128 images


class Share(NamedTuple):
    """Of one workload: operations of a step, seconds of a step of one trial, and the limit in operations a second."""

    operations: float
    seconds: float
    limit: float

    @property
    def rate(self) -> float:
        return self.operations / self.seconds

    @property
    def used(self) -> float:
        return self.rate / self.limit


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.utilisation", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where JSON and table go (default: the table is printed)")
    parser.add_argument("--data", type=Path, help="where data sets live (default: as for distillbias)")
    parser.add_argument("--workloads", help=f"some of {','.join(WORKLOADS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="of limits and steps, interleaved (default: 3)")
    asked = parser.parse_args(given)
    try:
        names = chosen(asked.workloads, ",", WORKLOADS, list(WORKLOADS), "workload")
        if asked.repeats < 1:
            raise InputError(f"{asked.repeats} repeats; at least 1 is needed")
    except InputError as error:
        print(f"error: {error}")
        return 2
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    found = measure(names, asked.data, asked.repeats)
    print(table(found))
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "utilisation.json").write_text(json.dumps(found, indent=1))
        (asked.out / "utilisation.md").write_text(table(found))
    return 0


def measure(names: list[str], data: Path | None, repeats: int) -> dict[str, Any]:
    """{"operations": {workload: ...}, "seconds": {workload: [of a repeat]}, "limits": {what: [...]}, "machine"}."""
    known, load = provenance("cpu"), quiet_load()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    limits: dict[str, list[float]] = {"product": [], "convolution": []}
    operations = {}
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: Path(folder) / name for name in names}
        for name in names:
            _, steps = WORKLOADS[name].protocol(longer=True)
            export(name, data, folders[name], steps)
            operations[name] = counted(folders[name], steps)
            print(f"{name} {operations[name] / 1e9:.2f} G operations a step", flush=True)
        for repeat in range(repeats):
            limits["product"].append(most(products))
            limits["convolution"].append(most(convolutions))
            told = ", ".join(f"{what} {values[-1] / 1e9:.0f} GFLOP/s" for what, values in limits.items())
            print(f"repeat {repeat + 1} limits: {told}", flush=True)
            for name, where in folders.items():
                (warmup, steps), arm = WORKLOADS[name].protocol(longer=True), ARMS[ARM]
                result = run_arm(arm, where, None, warmup, warmup + steps, gate=False)
                seconds[name].append(summary(result, warmup, arm.at_once)["seconds"])
                print(f"repeat {repeat + 1} {name}: {1e3 * seconds[name][-1]:.2f} ms a step and trial", flush=True)
    machine = {key: known[key] for key in ("device", "commit", "torch", "python")}
    machine |= {
        "precision": ARMS[ARM].precision,
        "cores": CORES,
        "load_before": load,
        "date": time.strftime("%Y-%m-%d"),
    }
    return {"operations": operations, "seconds": seconds, "limits": limits, "machine": machine}


def table(found: dict[str, Any]) -> str:
    machine = found["machine"]
    told = ", ".join(f"{what} {median(values) / 1e9:.0f}" for what, values in found["limits"].items())
    lines = [
        f"Limits in {machine['precision']}, GFLOP/s: {told}; medians of {len(found['limits']['product'])} repeats. "
        f"{machine['device']}, {machine['cores']} cores, load {machine['load_before']:.2f} before, {machine['date']}, "
        f"commit {machine['commit']}, torch {machine['torch']}.",
        "",
        "| workload | GFLOP a step | ms a step and trial | GFLOP/s | of the product's limit | of the convolution's |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, operations in found["operations"].items():
        product, convolution = (
            Share(operations, median(found["seconds"][name]), median(found["limits"][what]))
            for what in ("product", "convolution")
        )
        cells = [f"{name}: {WORKLOADS[name].title}", f"{operations / 1e9:.2f}", f"{1e3 * product.seconds:.2f}"]
        cells += [f"{product.rate / 1e9:.0f}", f"{product.used:.0%}"]
        cells += [f"{convolution.used:.0%}" if name == "C" else "–"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


class _Counting(Watch):
    """Notes how much was counted so far, where other arms note the time."""

    def __init__(self, counter: FlopCounterMode):
        super().__init__()
        self.counter, self.totals = counter, list[int]()

    def __call__(self, loss: Tensor) -> None:
        self.totals.append(self.counter.get_total_flops())


def _backward(*shapes: Any, **named: Any) -> int:
    return 2 * lstm_work(*shapes, **named)  # a product for the inputs' gradient, one for the weights'


LAYERS = LSTM_WORK | {torch.ops.aten.mkldnn_rnn_layer_backward: _backward}


def counted(folder: Path, steps: int) -> float:
    """Floating-point operations of a mean step of those that are timed, on one thread as there: on one only our LSTM
    leaves out the recurrent columns that dropout has emptied. Torch's operators do the work: others are not seen, so
    what native functions leave out counts. A product and its sum are two."""
    given = Given(folder, 1 + steps, "buckets", ARMS[ARM].precision, tuned=False, gate=False, workers=1, warmup=1)
    given.schedule = 0  # in which no recording pays: the step after one is taken twice
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with put_aside(), FlopCounterMode(display=False, custom_mapping=LAYERS) as counter:
            watch = _Counting(counter)
            ours.train_one(given, watch)
    finally:
        torch.set_num_threads(threads)
    return (watch.totals[-1] - watch.totals[0]) / steps


def most(rate: Callable[[], float]) -> float:
    """Operations a second of two processes at once, one thread each."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(CORES)
    with ProcessPoolExecutor(CORES, context, ours.wait_at, (barrier,)) as pool:
        return sum(pool.map(_alone, [rate] * CORES))


def _alone(rate: Callable[[], float]) -> float:
    torch.set_num_threads(1)
    return rate()


def products() -> float:
    """Best of the square products, in operations a second."""
    return max(_product(size) for size in PRODUCTS)


def _product(size: int) -> float:
    a, b = torch.randn(2, size, size).to(KIND)
    return _rate(lambda: a @ b, 2 * size**3)


def convolutions() -> float:
    """Best of the 3x3 convolutions, channels-last, forward and backward."""
    return max(_convolution(channels, side) for channels, side in CONVOLUTIONS)


def _convolution(channels: int, side: int) -> float:
    def made(*shape: int) -> Tensor:
        return torch.randn(shape).to(KIND, memory_format=torch.channels_last).requires_grad_()

    images, weights = made(128, channels, side, side), made(channels, channels, 3, 3)
    ones = torch.ones_like(images)
    once = lambda: torch.autograd.grad(F.conv2d(images, weights, padding=1), (images, weights), ones)  # noqa: E731
    return _rate(once, 3 * 2 * images.numel() * channels * 9)


def _rate(once: Callable[[], object], operations: int) -> float:
    """Operations a second, over SECONDS, after a first call and once the other process is as far."""
    once()
    ours.together.wait()
    began, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SECONDS:
        once()
        calls += 1
    return calls * operations / passed


if __name__ == "__main__":
    raise SystemExit(main())
