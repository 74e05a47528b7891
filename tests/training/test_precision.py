"""Training in bfloat16 ends where training in float32 does: nearer than two trials are to each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from distillbias.evaluation.metrics import accuracy
from distillbias.evaluation.predict import predict
from distillbias.models.cnn import CNNConfig
from distillbias.studies import vision
from distillbias.studies.execute import fit, load_splits
from distillbias.studies.lessons import build, lesson
from distillbias.studies.run import Run
from distillbias.studies.store import Store


def validated(run: Run, store: Store) -> float:
    """Accuracy on the demo task's held-out digits, always evaluated in float32."""
    splits, model = load_splits(run.task, None), build(run, "cpu")
    fit(run, model, lesson(run, store, splits.train, "cpu"), splits.train, lambda said: None)
    assert all(weight.dtype == torch.float32 for weight in model.parameters())
    return accuracy(predict(model, splits.validation)[0], splits.validation.labels)


@pytest.mark.parametrize(("name", "epochs", "trials"), [("MLP", 6, 5), ("CNN", 24, 3)])
def test_both_reach_the_same_accuracy_within_the_noise_of_trials(tmp_path, name: str, epochs: int, trials: int) -> None:
    """The CNN is a narrow one: the demo's own takes minutes. With fewer epochs its running statistics lag behind. It is
    as wide as convolutions are compiled for."""
    setting, store = vision.demo(), Store(tmp_path)
    setting.models["CNN"] = CNNConfig(filters=(16, 16, 16), maxout=(16, 16, 8), dropout=0.1)
    task = replace(setting.task, holdout=300)
    found = {"float32": [], "bfloat16": []}
    for precision, scores in found.items():
        for trial in range(trials):
            run = vision.alone(replace(setting, task=task), name, trial)
            scores.append(
                validated(replace(run, recipe=replace(run.recipe, epochs=epochs, precision=precision)), store)
            )
    exact, rough = (np.array(found[precision]) for precision in ("float32", "bfloat16"))
    assert not np.array_equal(exact, rough), "bfloat16 changed nothing, so nothing was trained in it"
    assert min(exact.min(), rough.min()) > 0.8
    assert abs((rough - exact).mean()) < exact.std(ddof=1), (exact, rough)
