"""The engine of this project. With several workers each trains one trial, at once, each on one thread."""

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from math import inf
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import torch
from benchmarks.peers.given import Given, Said, Watch, finished, main

from distillbias.data.vocabulary import BEGIN
from distillbias.evaluation.perplexity import sentence_losses
from distillbias.evaluation.predict import predict
from distillbias.studies.files import write_whole
from distillbias.studies.lessons import place
from distillbias.studies.mps import Service
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Examples
from distillbias.training.batching import ResidentData
from distillbias.training.loop import train as steps
from distillbias.training.objectives import from_teacher
from distillbias.training.recipe import ExponentialDecay, Recipe
from distillbias.training.teacher import cached_signal

together: Any = None  # where workers wait for each other before the first step that is timed


def train(given: Given, watch: Watch) -> Said:
    if given.workers == 1:
        return train_one(given, watch)
    context, sharing = multiprocessing.get_context("spawn"), Service()
    barrier = context.Barrier(given.workers)
    why = sharing.start() if given.device == "cuda" else ""
    if why:
        raise RuntimeError(f"the workers would take turns on the GPU: {why}")
    try:
        with ProcessPoolExecutor(given.workers, context, wait_at, (barrier,)) as pool:
            found = list(pool.map(worker, [given] * given.workers))
    finally:
        sharing.close()
    return found[0] | {"workers": found}


def wait_at(barrier: Barrier) -> None:
    global together
    together = barrier


def worker(given: Given) -> Said:
    watch = Watch()
    return finished(watch, train_one(given, watch))


def train_one(given: Given, watch: Watch) -> Said:
    student = place(given.model(given.work.student, "student"), given.device)
    teacher = place(given.model(given.work.teacher, "teacher").eval(), given.device)
    train_set, test_set = (examples(given, part) for part in ("train", "test"))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        signal = cached_signal(teacher, train_set, Path(folder) / "signal.safetensors", write_whole)
        cached = (time.perf_counter() - began) / len(train_set)
        constant, no_clip = ExponentialDecay(decay=1.0), inf
        recipe = Recipe(1, given.batch, given.rate, constant, clip=no_clip, precision=given.precision)
        data = ResidentData(train_set, given.device)
        batches = data.each(given.rows, signal)
        objective = from_teacher(given.temperature, 1.0, "tau2", True)
        for step in steps(student, objective, batches, recipe, given.schedule):
            if together and step.done == given.warmup:  # from here on all are timed
                step.loss.item()
                together.wait()
            watch(step.loss)
    return {"cache": cached} | given.timed_evaluation(lambda: evaluate(student, test_set))


def evaluate(student: torch.nn.Module, test_set: Examples) -> object:
    if isinstance(test_set, NextWordExamples):
        return sentence_losses(student, test_set)
    return predict(student, test_set)


def examples(given: Given, part: str) -> Examples:
    inputs, labels = given.array(f"{part}_inputs"), given.array(f"{part}_labels")
    told = (inputs, labels, np.arange(len(labels)), given.facts["data"], part)
    if given.work.task == "language":
        assert (inputs[:, 0] == BEGIN).all()
        return NextWordExamples(*told, forms=np.zeros((2, 1), np.int64))
    return Examples(*told)


if __name__ == "__main__":
    torch.set_num_threads(torch.get_num_threads())
    main(train)
