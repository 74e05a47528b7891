"""What of a CNN reaches an MLP? The students of the vision study, and controls that share one thing with them each.

    distillbias run transfer-vision --scale demo                embedded digits
    distillbias run transfer-vision --scale laptop --data DIR   MNIST, hours on two cores

Runs of the vision study that are in the store are not trained again.
"""

from dataclasses import replace

from distillbias.models.mlp import MLPConfig
from distillbias.studies.controls import control_arms, left_on, training_mode
from distillbias.studies.run import Distillation, Run
from distillbias.studies.study import Arms, Study, declared, lasting, scale_title
from distillbias.studies.vision import (
    FACTORS,
    SETTINGS,
    TEMPERATURE,
    TRIALS,
    Setting,
    alone,
    factor_arm,
    factor_arms,
    main_arms,
    second_orders,
)

QUESTION = "Is it the CNN's bias that reaches the MLP, or would other soft targets, schedules and teachers do as well?"
TEACHER, STUDENT = "CNN", "MLP"
TAUGHT = f"{TEACHER} → {STUDENT}"
SELF = f"{STUDENT} → {STUDENT}"
EARLY = "early CNN"  # the bias without the accuracy
WIDE = "wide MLP"  # some of the accuracy without the bias
MOVED = "MLP, moved digits"
SCHEDULE = "MLP, the student's schedule"
WIDER = 3  # times the MLP's widths
COPIES = 4  # moved copies of each training image; epochs are fewer by as much


def study(scale: str, trials: int | None = None, epochs: int | None = None) -> Study:
    """The declared study at one of three scales; `epochs` sets the length of every run, for a quick look."""
    setting, trials = declared(SETTINGS, TRIALS, scale, trials)
    setting = replace(setting, labels=lasting(setting.labels, epochs), taught=lasting(setting.taught, epochs))
    return Study("transfer-vision", scale_title(scale, epochs), QUESTION, every_arm(setting, trials))


def every_arm(setting: Setting, trials: int) -> Arms:
    """First what the coefficient needs, then the controls, then what the other claims need."""
    main = main_arms(setting, trials)
    factors = factor_arms(setting, trials)
    return {
        **{arm: main[arm] for arm in (TEACHER, STUDENT, TAUGHT, SELF)},
        **control_arms(TAUGHT, main[TAUGHT]),
        **matched_teachers(setting, trials),
        **{factor_arm(TEACHER, factor, penalty=True): factors[factor_arm(TEACHER, factor, True)] for factor in FACTORS},
        **schedule_arm(setting, trials),
        **moved_arm(setting, trials),
        **main,
        **second_orders(setting, trials),
        left_on(TAUGHT): tuple(training_mode(run) for run in main[TAUGHT]),
    }


def matched_teachers(setting: Setting, trials: int) -> Arms:
    """Teachers that pull bias and accuracy apart, as nearly as they can be had.

    A CNN after a twelfth of its epochs has the bias with less accuracy; an MLP of three times the width has more
    accuracy than the student without the bias. How near the accuracies come is in the table, not assumed.
    """
    mlp = setting.models[STUDENT]
    assert isinstance(mlp, MLPConfig)
    wide = replace(mlp, widths=tuple(WIDER * width for width in mlp.widths))
    early = lasting({TEACHER: setting.labels[TEACHER]}, max(1, setting.labels[TEACHER].epochs // 12))[TEACHER]
    teachers = {
        EARLY: tuple(replace(alone(setting, TEACHER, t), recipe=early) for t in range(trials)),
        WIDE: tuple(replace(alone(setting, STUDENT, t), model=wide) for t in range(trials)),
    }
    students = {f"{arm} → {STUDENT}": tuple(_student(setting, run) for run in runs) for arm, runs in teachers.items()}
    return {**teachers, **students}


def _student(setting: Setting, teacher: Run) -> Run:
    lesson = Distillation(teacher, TEMPERATURE)
    return Run(setting.task, setting.models[STUDENT], setting.taught[STUDENT], teacher.trial, lesson)


def schedule_arm(setting: Setting, trials: int) -> Arms:
    """The MLP from labels with the student's schedule (T12, T30); at scales with one recipe that is the MLP itself."""
    if setting.labels[STUDENT] == setting.taught[STUDENT]:
        return {}
    recipe = setting.taught[STUDENT]
    return {SCHEDULE: tuple(replace(alone(setting, STUDENT, t), recipe=recipe) for t in range(trials))}


def moved_arm(setting: Setting, trials: int) -> Arms:
    """The invariance taught directly, with as many steps: what an MLP of this size can have of it."""
    recipe = setting.labels[STUDENT]
    task, shorter = replace(setting.task, moved=COPIES), replace(recipe, epochs=max(1, recipe.epochs // COPIES))
    return {MOVED: tuple(replace(alone(setting, STUDENT, t), task=task, recipe=shorter) for t in range(trials))}
