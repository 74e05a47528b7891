"""What the tests train: the declared study with models and recipes so small that a run takes a fraction of a second."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from distillbias.data.images import Images, fingerprint
from distillbias.models.cnn import CNNConfig
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import initialise
from distillbias.studies.execute import execute
from distillbias.studies.run import Distillation, Run
from distillbias.studies.store import Store
from distillbias.studies.study import Study
from distillbias.studies.vision import Setting, factor_arms, main_arms, second_orders
from distillbias.tasks.task import Examples, Spec
from distillbias.tasks.vision import Vision
from distillbias.training.recipe import Recipe, WarmupCosine

SPEC = Spec(shape=(28, 28), classes=10)
TASK = Vision("digits")
MLP = MLPConfig(widths=(16, 8))
CNN = CNNConfig(filters=(4, 4, 8), maxout=(4, 4, 4))
RECIPE = Recipe(epochs=1, batch=128, rate=1e-2, schedule=WarmupCosine(), l1=1e-5, l2=1e-5)

ALONE = Run(TASK, MLP, RECIPE, trial=0)
STUDENT = Run(TASK, MLP, RECIPE, trial=0, distillation=Distillation(ALONE))
DIVERGING = replace(ALONE, recipe=replace(RECIPE, rate=1e30))


def setting() -> Setting:
    recipes = {"CNN": replace(RECIPE, l1=0.0, l2=2e-9), "MLP": RECIPE}
    return Setting(TASK, {"CNN": CNN, "MLP": MLP}, recipes, recipes)


def vision_study(trials: int = 2) -> Study:
    """Every arm of the vision study."""
    small = setting()
    arms = main_arms(small, trials) | second_orders(small, trials) | factor_arms(small, trials)
    return Study("vision", "tiny", "Does it?", arms)


def mlp(seed: int = 0, dropout: float = 0.1) -> nn.Module:
    model = replace(MLP, dropout=dropout).build(SPEC)
    initialise(model, torch.Generator().manual_seed(seed))
    return model


def examples(count: int = 40, seed: int = 0) -> Examples:
    """Noise with random labels; ids are neither sorted nor row numbers."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = random.integers(0, 10, count)
    ids = random.permutation(count) + 1000
    return Examples(pixels, labels, ids, "noise", fingerprint(Images(pixels, labels, "noise")))


def trained(root: Path, *runs: Run) -> Store:
    """A store in which `runs` are done, trained in this process with the one thread that workers have."""
    store, threads = Store(root), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for run in runs:
            execute(run, store, None)
    finally:
        torch.set_num_threads(threads)
    return store
