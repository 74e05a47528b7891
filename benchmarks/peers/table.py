"""From the JSON of measurements to tables for people. No number of an arm that failed the gate.

python -m benchmarks.peers.table results/benchmarks/     write the page again from the measurements there
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.peers.arms import ARMS, BASE, PEERS
from benchmarks.peers.workloads import WORKLOADS

TRIALS = 4
BUSY = 0.25  # load average a core before the measurement, above which its numbers are not to be trusted
HEAD = ("arm", "ms a step", "IQR", "us a token", "times plain", "times fastest peer", "4 trials, h", "peak MB", "gate")

Measured = Mapping[str, Any]


def table(measured: Measured) -> str:
    """Markdown: what was measured, warnings, a line for each arm."""
    rows = [row(name, measured) for name in measured["gate"]]
    lines = [f"## {measured['facts']['name']}: {measured['facts']['title']}", "", told(measured), ""]
    lines += [f"**{warning}**\n" for warning in warnings(measured)]
    lines += ["| " + " | ".join(HEAD) + " |", "|" + " --- |" + " ---: |" * (len(HEAD) - 2) + " --- |"]
    return "\n".join(lines + ["| " + " | ".join(cells) + " |" for cells in rows]) + "\n"


def told(measured: Measured) -> str:
    facts, protocol, machine = measured["facts"], measured["protocol"], measured["machine"]
    data = facts["data"] if facts["real"] else f"{facts['data']} (embedded: the real data is not here)"
    return (
        f"{data}, {facts['train']:,} training examples, batch {facts['batch']}; teacher untrained and fixed. "
        f"{protocol['steps']} steps timed after {protocol['warmup']}, {protocol['repeats']} repeats, "
        f"interleaved; gate: {protocol['gated']} losses. {machine['processor']}, {machine['cores']} cores in use, load "
        f"{machine['load_before']:.2f} before and {machine['load_after']:.2f} after, {machine['date']}, commit "
        f"{machine['commit']}, {', '.join(versions(measured))}."
    )


def versions(measured: Measured) -> list[str]:
    known = {pair for repeats in measured["repeats"].values() for each in repeats for pair in each["versions"].items()}
    return [f"{name} {version}" for name, version in sorted(known)]


def warnings(measured: Measured) -> list[str]:
    load, most = measured["machine"]["load_before"], BUSY * measured["machine"]["cores"]
    busy = [f"The machine was busy before it began (load {load:.2f}, above {most:g}): do not trust these numbers."]
    few = [f"{measured['protocol']['gated']} losses were compared, 50 are the rule: a quick look, not a measurement."]
    return busy * (load > most) + few * (measured["protocol"]["gated"] < 50)


def row(name: str, measured: Measured) -> list[str]:
    gate, repeats = measured["gate"][name], measured["repeats"].get(name, [])
    if not gate["passed"] or not repeats:
        return [name, *["–"] * (len(HEAD) - 2), f"failed: {gate['why']}" if gate["why"] else "passed, then it broke"]
    seconds = [each["seconds"] for each in repeats]
    peer = fastest_peer(measured)
    return [
        name,
        f"{1e3 * median(seconds):.2f}",
        f"{1e3 * spread(seconds):.2f}",
        f"{1e6 * cost(name, measured):.1f}" if measured["facts"]["words"] else "–",
        times(name, BASE, measured),
        times(name, peer, measured) if peer else "–",
        f"{schedule_seconds(name, measured) / 3600:.2f}",
        f"{median(each['peak_bytes'] for each in repeats) / 2**20:.0f}",
        f"{gate['worst']:.0e}",
    ]


def spread(values: list[float]) -> float:
    """The interquartile range; nan of one value."""
    if len(values) < 2:
        return float("nan")
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low


def cost(name: str, measured: Measured) -> float:
    """Median seconds a step, or where there are words, a word: orders differ in how many a step has."""
    return median(each["seconds"] / (each["words"] or 1) for each in measured["repeats"][name])


def times(name: str, other: str, measured: Measured) -> str:
    """How many times as fast as `other`."""
    if not counted(name, measured) or not counted(other, measured):
        return "–"
    return f"{cost(other, measured) / cost(name, measured):.2f}"


def counted(name: str, measured: Measured) -> bool:
    return name in measured["gate"] and measured["gate"][name]["passed"] and bool(measured["repeats"].get(name))


def fastest_peer(measured: Measured) -> str | None:
    """Of the libraries, as shipped or tuned, in any precision; the plain loops are no library."""
    peers = [name for name in measured["gate"] if ARMS[name].environment in PEERS and counted(name, measured)]
    return min(peers, key=lambda name: cost(name, measured), default=None)


def schedule_seconds(name: str, measured: Measured) -> float:
    """Four trials of the paper's schedule, extrapolated from steps: each with its cache, and an evaluation an epoch.

    Arms that do not time an evaluation of their own are given that of `plain`.
    """
    facts, repeats = measured["facts"], measured["repeats"]

    def middle(key: str, arm: str = name) -> float:
        return median([each[key] for each in repeats.get(arm, []) if key in each] or [0.0])

    step = cost(name, measured) * (facts["words"] or 1)
    evaluation = middle("evaluation") or middle("evaluation", BASE)
    epoch = facts["train"] // facts["batch"] * step + facts["test"] * evaluation
    return TRIALS * (facts["epochs"] * epoch + facts["train"] * middle("cache"))


def overview(found: Sequence[Measured]) -> str:
    """Markdown, a line for each workload: how many times as fast ours is as the others."""
    lines = [
        "## How many times as fast as the others",
        "",
        "Four trials of the paper's schedule, evaluation and caches counted: the fastest arm of ours beside the plain "
        "loop, the fastest library in either setting, and the strong loop in either precision. One trial, by step: in "
        "the same precision as the strong loop's.",
        "",
        "| workload | plain | library, as shipped | library, tuned | strong | strong, bf16 | one trial: strong | "
        "one trial: strong, bf16 |",
        "| --- |" + " ---: |" * 7,
    ]
    for measured in found:
        names = [name for name in measured["gate"] if counted(name, measured)]
        libraries = [name for name in names if ARMS[name].environment in PEERS]
        others = [
            [BASE],
            [name for name in libraries if not ARMS[name].tuned],
            [name for name in libraries if ARMS[name].tuned],
            ["strong"],
            ["strong, bf16"],
        ]
        ours = [name for name in names if ARMS[name].script == "ours"]
        cells = [f"{measured['facts']['name']}: {measured['facts']['title']}"]
        cells += [_whole(ours, [name for name in other if name in names], measured) for other in others]
        cells += [times(f"ours{kind}", f"strong{kind}", measured) for kind in ("", ", bf16")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _whole(ours: list[str], others: list[str], measured: Measured) -> str:
    """How many times as fast the fastest of `ours` is as the fastest of `others`, over four trials."""
    if not ours or not others:
        return "–"
    best, other = (min(schedule_seconds(name, measured) for name in names) for names in (ours, others))
    return f"{other / best:.2f}"


def write_tables(folder: Path) -> str:
    """All measurements in `folder` as one page, beside them, in the order of WORKLOADS."""
    paths = [path for name in WORKLOADS if (path := folder / f"peers-{name}.json").exists()]
    found = [json.loads(path.read_text()) for path in paths]
    page = "\n".join([overview(found), *(table(measured) for measured in found)])
    (folder / "peers.md").write_text(page)
    return page


if __name__ == "__main__":
    print(write_tables(Path(sys.argv[1])))
