"""The cost of a language model's step on the CPU: losses in chunks or whole, a teacher's states from disk or anew.

    python benchmarks/next_word.py                 time a token and peak memory of the losses
    python benchmarks/next_word.py --steps         whole training steps, the teacher's states from disk or asked anew

One thread. Times are processor time, the best of the repeats; memory is how far the process grows beyond what it held
before, each variant in a process of its own.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from distillbias.data.vocabulary import BEGIN, END
from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMLanguageModelConfig
from distillbias.models.output import Factored, fresh, initialise
from distillbias.models.transformer import TransformerLanguageModelConfig
from distillbias.studies.files import write_whole
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Spec
from distillbias.training.batching import ResidentData
from distillbias.training.loop import train
from distillbias.training.next_word import CHUNK, cross_entropy, kl_from_teacher
from distillbias.training.objectives import from_labels, from_teacher
from distillbias.training.recipe import Recipe, WarmupCosine
from distillbias.training.seeds import stream
from distillbias.training.teacher import asked_signal, cached_signal

WORDS, WIDTH, BATCH, TIME = 10_034, 256, 64, 24
SPEC = Spec(shape=(), classes=WORDS, vocabulary=WORDS)
MEGABYTE = 2**20


def factored(seed: int, dtype: torch.dtype = torch.bfloat16) -> Factored:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(BATCH, TIME, WIDTH, generator=generator).to(dtype).requires_grad_()
    return Factored(states, (torch.randn(WORDS, WIDTH, generator=generator) * WIDTH**-0.5).requires_grad_())


def whole(logits: Factored) -> Tensor:
    return (logits.states @ logits.matrix.to(logits.states.dtype).T).float().flatten(0, 1)


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


def sentences(count: int) -> NextWordExamples:
    """Random words, as many in a row as in the real sentences: 23 and `<eos>` on average."""
    random = np.random.default_rng(0)
    inputs = np.zeros((count, 48), np.int32)
    for row, length in enumerate(random.integers(10, 36, count)):
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{WORDS:,} words, batch {BATCH} x {TIME}, products in bf16, torch {torch.__version__}, one thread")
    if arguments.steps:
        print(*step_times(arguments.repeats), sep="\n")
        return
    print(f"width {WIDTH} of student and teacher; forward and backward of the loss alone")
    for name in variants():
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # a process each: its peak is its own
            print(pool.submit(measure, name, arguments.repeats).result(), flush=True)


if __name__ == "__main__":
    main()
