"""Many changed inputs for every reader, in one process; any exception but InputError, a hang or much memory is a fault.

    python -m tests.fuzz.harness --cases 100000 --seed 0 --out results/reliability/

Same seed, same inputs. The inputs that showed a fault are kept in OUT/faults; status 1 if there are any. One that kills
the process is left in the scratch folder that is named at the start.
"""

import argparse
import faulthandler
import json
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from tests.fuzz.corpus import Files
from tests.fuzz.readers import READERS, Reader, case, written

from distillbias.errors import InputError

SECONDS = 10.0  # of the processor; more is a hang, however busy the machine is with other work
WAIT = 60.0  # seconds by the clock, for a reader that only waits
MEGABYTES = 512.0  # more than this above what was there before is too much


@dataclass
class Count:
    """What became of one reader's cases."""

    reader: str
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    faults: int = 0
    slowest_seconds: float = 0.0  # of the processor
    peak_megabytes: float = 0.0  # above what was there before the case


class Hang(Exception):
    pass


@contextmanager
def alarm(seconds: float, wait: float) -> Iterator[None]:
    """Hang is raised after `seconds` of the processor or `wait` seconds by the clock."""

    def ring(number: int, _: object) -> None:
        raise Hang(f"longer than {seconds} s of the processor" if number == signal.SIGPROF else f"longer than {wait} s")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, wait)}
    before = {number: signal.signal(number, ring) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def memory() -> tuple[float, float]:
    """Megabytes now, and the most since `forget_peak`; where the system does not tell, the most ever, twice."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        return most, most
    kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return int(kilobytes["VmRSS"]) / 1024, int(kilobytes["VmHWM"]) / 1024


def forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then peaks are those since the process began


def attempt(reader: Reader, files: Files, scratch: Path) -> str:
    """ "accepted", "refused", or what the fault was."""
    folder = Path(tempfile.mkdtemp(dir=scratch)) / "in"
    folder.mkdir()
    if reader.written:
        written(files, folder)
    try:
        with alarm(SECONDS, WAIT):
            reader.read(files, folder)
    except InputError as error:
        return "refused" if "\n" not in str(error) else f"more than one line: {error}"
    except BaseException:
        return traceback.format_exc()
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    return "accepted"


def run(name: str, cases: int, seed: int, scratch: Path, out: Path) -> Count:
    reader, count = READERS[name], Count(name, cases)
    seeds, bombs = reader.seeds(), reader.bombs()
    for number in range(cases):
        files = case(reader, seeds, bombs, Random(f"{seed}/{name}/{number}"))
        forget_peak()
        before, _ = memory()
        began = time.process_time()
        outcome = attempt(reader, files, scratch)
        seconds, peak = time.process_time() - began, memory()[1] - before
        if seconds > SECONDS or peak > MEGABYTES:
            outcome = f"{seconds:.1f} s, {peak:.0f} MB more\n{outcome}"
        count.slowest_seconds = max(count.slowest_seconds, round(seconds, 3))
        count.peak_megabytes = max(count.peak_megabytes, round(peak, 1))
        if outcome in ("accepted", "refused"):
            setattr(count, outcome, getattr(count, outcome) + 1)
        else:
            count.faults += 1
            place = out / "faults" / f"{name.replace(' ', '-')}-{number}"
            shutil.rmtree(place, ignore_errors=True)
            written({Path(path).name.replace("\n", "_"): data for path, data in files.items()}, place)
            (place / "what.txt").write_text(outcome, errors="backslashreplace")
    return count


def table(counts: list[Count], seconds: float, seed: int) -> str:
    heads = ("reader", "cases", "accepted", "refused", "faults", "slowest s", "peak MB")
    total = Count("all", *(sum(getattr(one, field) for one in counts) for field in ("cases", "accepted", "refused")))
    total.faults = sum(one.faults for one in counts)
    total.slowest_seconds = max(one.slowest_seconds for one in counts)
    total.peak_megabytes = max(one.peak_megabytes for one in counts)
    lines = [f"{heads[0]:26}" + "".join(f"{head:>11}" for head in heads[1:])]
    for one in (*counts, total):
        name, *numbers = asdict(one).values()
        lines.append(f"{name:26}" + "".join(f"{number:>11,}" for number in numbers))
    rate = total.cases / seconds
    return "\n".join([*lines, "", f"seed {seed}; {seconds:,.0f} s, {rate:,.0f} cases a second, one process", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000, help="over all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/reliability"))
    parser.add_argument("--readers", nargs="*", default=list(READERS), choices=list(READERS), metavar="READER")
    asked = parser.parse_args()
    faulthandler.enable()
    asked.out.mkdir(parents=True, exist_ok=True)
    fast = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(dir=fast if fast.is_dir() else None))
    print(f"scratch folder {scratch}", file=sys.stderr)
    began, counts = time.perf_counter(), []
    for number, name in enumerate(asked.readers):
        share = asked.cases // len(asked.readers) + (number < asked.cases % len(asked.readers))
        counts.append(run(name, share, asked.seed, scratch, asked.out))
        print(f"{time.perf_counter() - began:7.0f} s  {counts[-1]}", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - began
    shutil.rmtree(scratch, ignore_errors=True)
    text = table(counts, seconds, asked.seed)
    print(text)
    told = {"seed": asked.seed, "seconds": round(seconds, 1), "readers": [asdict(count) for count in counts]}
    (asked.out / "fuzz.json").write_text(json.dumps(told, indent=1) + "\n")
    (asked.out / "fuzz.txt").write_text(text)
    return int(any(count.faults for count in counts))


if __name__ == "__main__":
    raise SystemExit(main())
