"""Records of an agreement study without training: made-up answers, whose scores any test can compute again."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from distillbias.studies.execute import scores
from distillbias.studies.files import write_json, write_whole
from distillbias.studies.record import write_predictions
from distillbias.studies.run import to_json
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.tasks.task import Examples

LEFT_OUT = "7 prefixes seen in training and 3 verbs outside the vocabulary left out"


def made(test: str, n: int = 32, **facts: list[int] | int) -> Examples:
    """A test set of `n` rows; `facts` (near, homogeneous, attractors, ...) repeat to its length, others are unknown."""
    names = ("distance", "intervening", "attractors", "near", "homogeneous")
    columns = {name: np.resize(facts.get(name, -1), n).astype(np.int32) for name in names}
    labels = np.arange(n, dtype=np.int64) // 3 % 2
    return Examples(np.zeros((n, 2), np.int32), labels, np.arange(n), f"{test}; {LEFT_OUT}", test, columns=columns)


DISTANCES = list(range(1, 17))
REAL = {
    "wiki": made("wiki", 64, near=DISTANCES, distance=DISTANCES),
    "numpred-val": made("numpred-val", 48),
    **{f"numpred-{k}": made(f"numpred-{k}", 12, homogeneous=k, attractors=k, intervening=k) for k in range(1, 6)},
    "gulordava": made("gulordava", attractors=[0, 1, 2]),
    "ud-ewt": made("ud-ewt", attractors=[0, 1]),
    "ud-pud": made("ud-pud", attractors=0),
    "blimp-distractor": made("blimp-distractor", 8),
    "train": made("train", 64, near=DISTANCES),
    "validation": made("validation", 8),
}
GENERATED = {
    "natural": made("natural", 96, near=DISTANCES, homogeneous=[0, 0, 1, -1, 2]),
    **{f"attractors-{k}": made(f"attractors-{k}", 12, homogeneous=k) for k in range(1, 6)},
    "train": made("train", 64, near=DISTANCES, homogeneous=[0, 1, 2, 3, 4]),
}


def write(root: Path, study: Study, tests: Mapping[str, Examples], whole: tuple[str, ...] = ()) -> Store:
    """A store in which every run of the study is done. The sets of `whole` have perplexities."""
    store = Store(root)
    for number, run in enumerate(study.runs):
        random = np.random.default_rng(number)
        folder = store.start(run)
        answers = {name: _answers(examples.labels, random) for name, examples in tests.items()}
        write_predictions(folder / "predictions.parquet", dict(tests), answers)
        kept = {f"final/{name}": torch.as_tensor(random.normal(size=(6, 4))) for name in run.task.headline.values()}
        write_whole(folder / "activations.safetensors", lambda part, kept=kept: part.write_bytes(save(kept)))
        found = {name: scores(answers[name], examples.labels) for name, examples in tests.items()}
        for name in whole:
            found[name] |= {"perplexity": 50.0 + random.random(), "batch_perplexity": 51.0 + random.random()}
        write_json(folder / "record.json", _facts(run, number, tests, found))
        store.finish(run)
    return store


def _answers(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Right more often than not."""
    logits = random.normal(size=(len(labels), 2))
    logits[np.arange(len(labels)), labels] += 1.0
    return logits.astype(np.float32)


def _facts(run, number: int, tests: Mapping[str, Examples], found: dict) -> dict:
    described = {
        name: {
            "n": len(one),
            "origin": one.origin,
            "fingerprint": one.fingerprint,
            "tags": one.tags,
            "columns": list(one.columns),
        }
        for name, one in tests.items()
    }
    made_with = {"commit": "0", "device": "none", "torch": "0", "python": "0", "peak_megabytes": 1}
    return {
        "label": run.label,
        "run": to_json(run),
        "parameters": 1234,
        "train": {"n": 50_000, "origin": "wiki-train", "fingerprint": "0"},
        "losses": [0.5, 0.25],
        "scores": found,
        "tests": described,
        "seconds": {"training": 1.0},
        "provenance": made_with | {"began": float(number), "ended": number + 1.0},
    }
