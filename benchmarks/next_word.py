"""The cost of a language model's step on the CPU: losses in chunks or whole, a teacher's states from disk or anew.

    python -m benchmarks.next_word                 time a token and peak memory of the losses
    python -m benchmarks.next_word --steps         whole training steps, the teacher's states from disk or asked anew
    python -m benchmarks.next_word --memory        peak memory of a whole step, beside the student's own logits (Linux)
    python -m benchmarks.next_word --cache         a teacher's states of three million words, 6 GB on disk (Linux)

One thread. Times are processor time, the best of the repeats; memory is how far the process grows beyond what it held
before, each variant in a process of its own: before a whole step that is all that the step before it has left, models,
optimiser and gradients among it.
"""

import argparse
import ctypes
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.peers.workloads import BATCH as SENTENCES
from benchmarks.peers.workloads import SMALL_LSTM, SMALL_TRANSFORMER
from torch import Tensor

from distillbias.data.vocabulary import BEGIN, END
from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMLanguageModelConfig
from distillbias.models.output import Factored, ModelConfig, fresh, initialise
from distillbias.models.transformer import TransformerLanguageModelConfig
from distillbias.studies.files import write_whole
from distillbias.studies.provenance import provenance
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Spec
from distillbias.training.batching import ResidentData
from distillbias.training.loop import train
from distillbias.training.next_word import CHUNK, cross_entropy, kl_from_teacher
from distillbias.training.objectives import Objective, from_labels, from_teacher
from distillbias.training.precision import Precision
from distillbias.training.recipe import Recipe, WarmupCosine
from distillbias.training.seeds import stream
from distillbias.training.teacher import asked_signal, cached_signal

WORDS, WIDTH, BATCH, TIME = 10_034, 256, 64, 24
SPEC = Spec(shape=(), classes=WORDS, vocabulary=WORDS)
MEGABYTE = 2**20
CACHED = 3_000_000  # words to predict
LOOKS = 200  # batches that are read from the file
STATUS = Path("/proc/self/status")


def factored(seed: int, dtype: torch.dtype = torch.bfloat16) -> Factored:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(BATCH, TIME, WIDTH, generator=generator).to(dtype).requires_grad_()
    return Factored(states, (torch.randn(WORDS, WIDTH, generator=generator) * WIDTH**-0.5).requires_grad_())


def whole(logits: Factored) -> Tensor:
    return (logits.states @ logits.matrix.to(logits.states.dtype).T).float().flatten(0, 1)


def asked(logits: Factored) -> Factored:
    """Without the last position of each row, which no word follows."""
    return logits._replace(states=logits.states[:, :-1])


def naive_kl(student: Factored, teacher: Factored) -> Tensor:
    said = whole(Factored(teacher.states.detach(), teacher.matrix.detach())).softmax(-1)
    return F.kl_div(whole(student).log_softmax(-1), said, reduction="batchmean")


def variants() -> dict[str, Callable[[], Tensor]]:
    student, teacher = factored(0), factored(1)
    right = torch.randint(1, WORDS, (BATCH, TIME), generator=torch.Generator().manual_seed(2))
    chunks = {
        f"{loss}, chunks of {chunk}": call
        for chunk in (256, CHUNK)
        for loss, call in (
            ("cross-entropy", lambda chunk=chunk: cross_entropy(student, right, chunk)),
            ("KL", lambda chunk=chunk: kl_from_teacher(student, teacher, right, chunk=chunk)),
        )
    }
    naive = {
        "cross-entropy, whole": lambda: F.cross_entropy(whole(student), right.flatten()),
        "KL, whole": lambda: naive_kl(student, teacher),
    }
    return dict(sorted({**chunks, **naive}.items()))


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Processor time, the best of the repeats after one to warm up."""
    found = []
    for _ in range(repeats + 1):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found[1:])


def measure(name: str, repeats: int) -> str:
    torch.set_num_threads(1)
    call = variants()[name]
    (torch.ones(512, 512).bfloat16() @ torch.ones(512, 512).bfloat16()).sum()  # the library itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call().backward()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    each = seconds(lambda: call().backward(), repeats) / (BATCH * TIME)
    return f"{name:30} {each * 1e6:6.0f} us a token   {grown / MEGABYTE:6.0f} MiB at most"


def sentences(count: int, same: bool = False) -> NextWordExamples:
    """Random words, as many in a row as in the real sentences: 23 with `<eos>` on average; or the `same`, TIME."""
    random = np.random.default_rng(0)
    inputs = np.zeros((count, 48), np.int32)
    for row, length in enumerate(np.full(count, TIME) if same else random.integers(10, 36, count)):
        inputs[row, : length + 1] = [BEGIN, *random.integers(4, WORDS, length - 1), END]
    nothing = np.full(count, -1, np.int32)
    columns = {"position": nothing * 0 + 1, "singular": nothing, "plural": nothing}
    return NextWordExamples(
        inputs,
        np.zeros(count, np.int64),
        np.arange(count),
        "noise",
        "noise",
        columns=columns,
        forms=np.array([[4, 5], [6, 7]]),
    )


def step_times(repeats: int) -> list[str]:
    """Training on words, and from a teacher by each of the two ways, in us of processor time a token."""
    torch.set_num_threads(1)
    examples, lines = sentences(BATCH * 8), []
    tokens = int((examples.inputs != 0).sum()) - len(examples)
    teacher = fresh(LSTMLanguageModelConfig(width=256), SPEC)
    initialise(teacher, stream("teacher"))
    with tempfile.TemporaryDirectory() as folder:
        kept = cached_signal(teacher, examples, Path(folder) / "signal.safetensors", write_whole)
        ways = {"words": None, "LSTM 256, states on disk": kept, "LSTM 256, asked at every look": asked_signal(teacher)}
        for config in (LSTMLanguageModelConfig(width=256), TransformerLanguageModelConfig(width=128)):
            for way, signal in ways.items():
                model = fresh(config, SPEC)
                initialise(model, stream("weights"))
                give_stream(model, stream("dropout"))
                recipe = Recipe(1, BATCH, 1e-3, WarmupCosine(), precision="bfloat16")
                objective = from_teacher(1.0, 1.0, "tau2", True) if signal else from_labels()
                data = ResidentData(examples)

                def epoch(model=model, recipe=recipe, objective=objective, data=data, signal=signal) -> None:
                    batches = data.batches(1, BATCH, lambda epoch: stream("order", epoch), signal)
                    for _ in train(model, objective, batches, recipe, 8):
                        pass

                each = seconds(epoch, repeats) / tokens * 1e6
                lines.append(f"{config.name + f' {config.width}':15} from {way:30} {each:6.0f} us a token")
    return lines


def held(what: str) -> int:
    """Bytes of this process: VmRSS, now; VmHWM, at most so far; RssAnon, now, without what files lie behind."""
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(what)) * 1024


def growth(work: Callable[[], object]) -> int:
    """By how many bytes this process grows meanwhile, at most."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    before = held("VmRSS")
    work()
    return held("VmHWM") - before


MODELS: dict[str, ModelConfig] = {
    "LSTM 512": SMALL_LSTM,
    "Transformer 256": SMALL_TRANSFORMER,
    "Transformer 256, recomputed": replace(SMALL_TRANSFORMER, recompute=True),
}
OBJECTIVES = {
    "in chunks": from_teacher(1.0, 1.0, "tau2", True),
    "whole": Objective(lambda output, batch: naive_kl(asked(output.logits), batch.signal)),
}


def step_memory(name: str, way: str, precision: Precision) -> str:
    """Of one step on sentences of `TIME` words, from the states of an LSTM 512 on disk, after a step on two of them."""
    torch.set_num_threads(1)
    data = sentences(SENTENCES, same=True)
    student, teacher = (fresh(config, SPEC) for config in (MODELS[name], SMALL_LSTM))
    for model in (student, teacher):
        initialise(model, stream("weights"))
    give_stream(student, stream("dropout"))
    recipe = Recipe(1, SENTENCES, 1e-4, WarmupCosine(), precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        signal = cached_signal(teacher, data, Path(folder) / "signal.safetensors", write_whole)
        del teacher, model
        held_data = ResidentData(data)
        batches = (held_data.rows(torch.arange(count), signal) for count in (2, SENTENCES))
        steps = train(student, OBJECTIVES[way], batches, recipe, 2)
        next(steps)
        grown = growth(lambda: next(steps))
    own = 4 * SENTENCES * TIME * WORDS
    return f"{name:27} {precision:8} {way:9} {grown / MEGABYTE:6.0f} MiB, {grown / own:5.2f} times its own logits"


def cache() -> list[str]:
    """What the states of an LSTM 512 take on disk, and what writing and reading them take of memory."""
    examples, teacher = sentences(CACHED // 23), fresh(SMALL_LSTM, SPEC)
    initialise(teacher, stream("teacher"))
    data, tokens = ResidentData(examples), int((examples.inputs != 0).sum()) - len(examples)
    with tempfile.TemporaryDirectory() as folder:
        path, before = Path(folder) / "signal.safetensors", held("RssAnon")
        began = time.perf_counter()
        signal = cached_signal(teacher, examples, path, write_whole)
        wrote, size, after = time.perf_counter() - began, path.stat().st_size, held("RssAnon")
        most, began = after, time.perf_counter()
        for rows in torch.randperm(len(examples), generator=stream("order"))[: LOOKS * SENTENCES].split(SENTENCES):
            data.rows(rows, signal)
            most = max(most, held("RssAnon"))
        each = (time.perf_counter() - began) / LOOKS
    return [
        f"{tokens:,} words to predict, of {len(examples):,} sentences: {size / 1e9:.2f} GB on disk, {wrote:.0f} s",
        f"memory that no file lies behind grew by {(after - before) / MEGABYTE:.0f} MiB while it was written and by "
        f"{(most - after) / MEGABYTE:.0f} MiB while {LOOKS} batches of {SENTENCES} were read, {1e3 * each:.1f} ms each",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.next_word", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    of = parser.add_mutually_exclusive_group()
    of.add_argument("--steps", action="store_true", help="times of whole steps")
    of.add_argument("--memory", action="store_true", help="memory of whole steps")
    of.add_argument("--cache", action="store_true", help="a teacher's states on disk")
    parser.add_argument("--repeats", type=int, default=3, help="of what is timed (default: 3)")
    arguments = parser.parse_args()
    if (arguments.memory or arguments.cache) and not STATUS.exists():
        print(f"error: this system has no {STATUS}, by which memory is measured: only Linux has")
        return 2
    known = provenance("cpu")
    print(f"{known['device']}, torch {known['torch']}, commit {known['commit']}; {WORDS:,} words")
    if arguments.cache:
        print("a teacher's states, LSTM 512")
        print(*cache(), sep="\n")
    elif arguments.memory:
        own = 4 * SENTENCES * TIME * WORDS / MEGABYTE
        print(f"one step, distilled from an LSTM 512, batch {SENTENCES} x {TIME}; own logits in float32 {own:.0f} MiB")
        for case in product(MODELS, OBJECTIVES, ("float32", "bfloat16")):
            print(alone(step_memory, *case), flush=True)
    elif arguments.steps:
        print(f"batch {BATCH}, products in bf16, one thread")
        print(*step_times(arguments.repeats), sep="\n")
    else:
        print(f"batch {BATCH} x {TIME}, products in bf16, one thread")
        print(f"width {WIDTH} of student and teacher; forward and backward of the loss alone")
        for name in variants():
            print(alone(measure, name, arguments.repeats), flush=True)
    return 0


def alone(work: Callable[..., str], *given: object) -> str:
    """In a process of its own, whose peak is then its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


if __name__ == "__main__":
    raise SystemExit(main())
