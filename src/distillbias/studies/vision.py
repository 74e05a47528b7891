"""The paper's second test case: CNN and MLP on MNIST, tested on scaled and translated digits.

Paper: section 3, Tables 5 and 6, Figures 1, 7, 8, 9, 11, 12, Appendix C and E.

    distillbias demo                                   embedded digits, minutes on two cores
    distillbias run vision --scale laptop --data DIR   MNIST, hours on two cores
    distillbias run vision --scale paper --data DIR    the exact schedules, one GPU

What differs between the scales is the `Setting`; the arms, the analyses and the report are the same.
"""

from dataclasses import dataclass, replace
from typing import get_args

from distillbias.models.cnn import CNNConfig
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import ModelConfig
from distillbias.studies.run import Distillation, Penalty, Run
from distillbias.studies.study import Arms, Study, declared, lasting, scale_title
from distillbias.tasks.vision import Vision
from distillbias.training.distillation import Factor
from distillbias.training.recipe import CosineRestarts, ExponentialDecay, Recipe, WarmupCosine

QUESTION = "Does a CNN's bias for moved and shrunk digits reach an MLP through distillation, or only its accuracy?"
TEMPERATURE = 5.0  # paper, section 3.2
FACTORS: tuple[Factor, ...] = get_args(Factor)
MLP_PENALTY = 1e-5  # l1 and l2 on the MLP's weight matrices (F4.3)
CNN_PENALTY = 2e-9  # l2 on the CNN's

INDEPENDENT = ("CNN", "MLP")
DISTILLED = ("CNN → CNN", "MLP → CNN", "CNN → MLP", "MLP → MLP")


@dataclass(frozen=True)
class Setting:
    """What a scale fixes: the data, the models, how each is trained on labels and from a teacher."""

    task: Vision
    models: dict[str, ModelConfig]
    labels: dict[str, Recipe]
    taught: dict[str, Recipe]


def paper() -> Setting:
    """F5.3: 400 epochs; RAdam and slow exponential decay on labels; Adam and one half-cosine for students.

    The CNN in bfloat16, in which a step takes four fifths of the time on an H200; the MLP gains nothing from it there.
    """
    alone = Recipe(400, 128, 1e-4, ExponentialDecay(period=10_000, decay=0.96), optimizer="radam")
    taught = Recipe(400, 128, 1e-4, CosineRestarts(period=200_000, longer=5.0, lower=0.2))
    labels, lessons = (_penalised(replace(each, precision="bfloat16"), each) for each in (alone, taught))
    return Setting(Vision("mnist"), {"CNN": CNNConfig(), "MLP": MLPConfig()}, labels, lessons)


def laptop() -> Setting:
    """Tuned on 5,000 held-out training images (`benchmarks/tune_vision.py`); one recipe for labels and teacher.

    The CNN has a quarter of the paper's filters in its first stage, so a third of the multiplications, and dropout .1
    for .3: it must learn in 12 epochs what the paper's learns in 400.
    """
    cnn = Recipe(12, 128, 1e-2, WarmupCosine(), precision="bfloat16")
    mlp = Recipe(40, 256, 4e-3, WarmupCosine(), precision="bfloat16")
    recipes = _penalised(cnn, mlp)
    return Setting(Vision("mnist"), {"CNN": LAPTOP_CNN, "MLP": MLPConfig()}, recipes, recipes)


def demo() -> Setting:
    """scikit-learn's 1,797 real digits: too few to settle anything, enough to see every table and figure."""
    cnn = Recipe(24, 32, 1e-2, WarmupCosine(), precision="bfloat16")
    mlp = Recipe(30, 64, 4e-3, WarmupCosine(), precision="bfloat16")
    recipes = _penalised(cnn, mlp)
    return Setting(Vision("digits"), {"CNN": DEMO_CNN, "MLP": MLPConfig()}, recipes, recipes)


LAPTOP_CNN = CNNConfig(filters=(32, 64, 64), maxout=(32, 64, 16), dropout=0.1)
DEMO_CNN = CNNConfig(filters=(16, 32, 64), maxout=(16, 32, 16), dropout=0.1)
SETTINGS = {"demo": demo, "laptop": laptop, "paper": paper}
TRIALS = {"demo": 3, "laptop": 4, "paper": 4}


def study(scale: str, trials: int | None = None, epochs: int | None = None) -> Study:
    """The declared study at one of three scales; `epochs` sets the length of every run, for a quick look."""
    setting, trials = declared(SETTINGS, TRIALS, scale, trials)
    setting = replace(setting, labels=lasting(setting.labels, epochs), taught=lasting(setting.taught, epochs))
    arms = {**main_arms(setting, trials), **second_orders(setting, trials), **factor_arms(setting, trials)}
    longest_first = dict(sorted(arms.items(), key=lambda arm: _cost(arm[1][0]), reverse=True))
    return Study("vision", scale_title(scale, epochs), QUESTION, longest_first)


def alone(setting: Setting, model: str, trial: int, repeat: int = 0) -> Run:
    return Run(setting.task, setting.models[model], setting.labels[model], trial, repeat=repeat)


def taught(setting: Setting, teacher: str, model: str, trial: int, repeat: int = 0) -> Run:
    """A student of its own trial's teacher."""
    lesson = Distillation(alone(setting, teacher, trial), TEMPERATURE)
    return Run(setting.task, setting.models[model], setting.taught[model], trial, lesson, repeat)


def main_arms(setting: Setting, trials: int) -> Arms:
    """Tables 5 and 6: each alone, and all four teacher-student pairs."""
    arms: Arms = {model: tuple(alone(setting, model, t) for t in range(trials)) for model in INDEPENDENT}
    for arm in DISTILLED:
        teacher, model = arm.split(" → ")
        arms[arm] = tuple(taught(setting, teacher, model, t) for t in range(trials))
    return arms


def second_orders(setting: Setting, trials: int) -> Arms:
    """Figures 8 and 9: the same start, another order of the data and other dropout."""
    arms: Arms = {second(model): tuple(alone(setting, model, t, 1) for t in range(trials)) for model in INDEPENDENT}
    for teacher in INDEPENDENT:
        arms[second(f"{teacher} → MLP")] = tuple(taught(setting, teacher, "MLP", t, 1) for t in range(trials))
    return arms


def second(arm: str) -> str:
    return f"{arm}, second order"


def factor_arms(setting: Setting, trials: int) -> Arms:
    """T5: the authors' 1/tau**2 left the penalties 625 times as heavy against the data term as tau**2 does.

    MLP students of both teachers, for each temperature factor, with the penalties as they are and without.
    Where a factor is tau2 and the penalties are on, the run is that of the main arms.
    """
    arms: Arms = {no_penalty("MLP"): tuple(_free(alone(setting, "MLP", t)) for t in range(trials))}
    for teacher in INDEPENDENT:
        main = [taught(setting, teacher, "MLP", t) for t in range(trials)]
        for factor in FACTORS:
            for penalty in (True, False):
                arm = factor_arm(teacher, factor, penalty)
                arms[arm] = tuple(_with_factor(run, factor, penalty) for run in main)
    return arms


def factor_arm(teacher: str, factor: Factor, penalty: bool) -> str:
    arm = f"{teacher} → MLP" if factor == "tau2" else f"{teacher} → MLP, {factor}"
    return arm if penalty else no_penalty(arm)


def no_penalty(arm: str) -> str:
    return f"{arm}, no penalty"


def _with_factor(run: Run, factor: Factor, penalty: bool) -> Run:
    assert run.distillation is not None
    if factor != "tau2":
        # without a penalty there is nothing to keep relative: one value, so that equal runs have one name
        kept: Penalty = "absolute" if penalty else "relative"
        run = replace(run, distillation=replace(run.distillation, factor=factor, penalty=kept))
    return run if penalty else _free(run)


def _free(run: Run) -> Run:
    return replace(run, recipe=replace(run.recipe, l1=0.0, l2=0.0))


def _penalised(cnn: Recipe, mlp: Recipe) -> dict[str, Recipe]:
    return {"CNN": replace(cnn, l2=CNN_PENALTY), "MLP": replace(mlp, l1=MLP_PENALTY, l2=MLP_PENALTY)}


def _cost(run: Run) -> tuple[bool, bool]:
    """Long runs and teachers first: the short ones fill the end, and no worker waits for a teacher."""
    return run.model.name == "CNN", run.teacher is None
