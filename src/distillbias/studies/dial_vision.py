"""A bias dial for images: which ingredient of a CNN makes it a better teacher for shifted and shrunk digits?

    distillbias run dial-vision --scale demo                embedded digits
    distillbias run dial-vision --scale laptop --data DIR   MNIST, many hours on two cores

Eight teachers, with and without locality, weight sharing and pooling, each teach the same MLP; and the CNN with all
three, on 1, 10 and 100 % of the images.
"""

from dataclasses import replace
from itertools import product

from distillbias.models.ablated_cnn import AblatedCNNConfig
from distillbias.models.cnn import CNNConfig
from distillbias.models.output import ModelConfig
from distillbias.studies.dial import SHARES, Dial, at_share, sized, whole_first
from distillbias.studies.run import Distillation, Run
from distillbias.studies.study import Arms, Study, declared, lasting, scale_title
from distillbias.studies.vision import SETTINGS, TEMPERATURE, Setting

QUESTION = "Which of locality, weight sharing and pooling must a teacher have for its students to gain?"
STUDENT = "MLP"
FULL = "CNN"
INGREDIENTS = ("locality", "sharing", "pooling")
TRIALS = {"demo": 3, "laptop": 4, "paper": 4}
IMAGES = {"digits": 1_297, "mnist": 60_000}  # in the whole training set


def study(scale: str, trials: int | None = None, epochs: int | None = None) -> Study:
    """The declared study at one of three scales; `epochs` sets the length of every run on the whole training set."""
    setting, trials = declared(SETTINGS | {"demo": demo}, TRIALS, scale, trials)
    setting = replace(setting, labels=lasting(setting.labels, epochs), taught=lasting(setting.taught, epochs))
    return Study("dial-vision", scale_title(scale, epochs), QUESTION, every_arm(setting, trials))


def demo() -> Setting:
    """With a CNN of half the width: without sharing it has a kernel for each position, so four times as fast."""
    cnn = CNNConfig(filters=(8, 16, 32), maxout=(8, 16, 16), dropout=0.1)
    whole = SETTINGS["demo"]()
    return replace(whole, models=whole.models | {FULL: cnn})


def dial() -> Dial:
    """The doses of the eight teachers."""
    doses = {}
    for on in product((True, False), repeat=len(INGREDIENTS)):
        switched = dict(zip(INGREDIENTS, on, strict=True))
        doses[teacher_name(switched)] = frozenset(one for one, is_on in switched.items() if is_on)
    return Dial(STUDENT, doses, FULL)


def teacher_name(switched: dict[str, bool]) -> str:
    return " − ".join([FULL, *(ingredient for ingredient, on in switched.items() if not on)])


def every_arm(setting: Setting, trials: int) -> Arms:
    arms: Arms = {}
    for share in SHARES:
        student = setting.models[STUDENT]
        arms[at_share(STUDENT, share)] = tuple(_alone(setting, STUDENT, student, t, share) for t in range(trials))
        for teacher, dose in dial().doses.items():
            if share < 1 and teacher != FULL:
                continue
            model = _ablated(setting.models[FULL], dose)
            teachers = tuple(_alone(setting, FULL, model, t, share) for t in range(trials))
            arms[at_share(teacher, share)] = teachers
            arms[at_share(f"{teacher} → {STUDENT}", share)] = tuple(_taught(setting, run, share) for run in teachers)
    return whole_first(arms)


def _ablated(cnn: ModelConfig, dose: frozenset[str]) -> ModelConfig:
    """The CNN with the ingredients of `dose`; with all of them the CNN itself, so that its runs are shared."""
    assert isinstance(cnn, CNNConfig)
    if len(dose) == len(INGREDIENTS):
        return cnn
    return AblatedCNNConfig(
        cnn.filters,
        cnn.maxout,
        cnn.pools,
        cnn.dropout,
        local="locality" in dose,
        shared="sharing" in dose,
        pooled="pooling" in dose,
    )


def _alone(setting: Setting, family: str, model: ModelConfig, trial: int, share: float) -> Run:
    recipe = setting.labels[family]
    if share < 1:
        recipe = sized(recipe, IMAGES[setting.task.source], share)
    return Run(replace(setting.task, share=share), model, recipe, trial)


def _taught(setting: Setting, teacher: Run, share: float) -> Run:
    recipe = setting.taught[STUDENT]
    if share < 1:
        recipe = sized(recipe, IMAGES[setting.task.source], share)
    lesson = Distillation(teacher, TEMPERATURE)
    return Run(teacher.task, setting.models[STUDENT], recipe, teacher.trial, lesson)
