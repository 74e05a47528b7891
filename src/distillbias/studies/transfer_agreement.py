"""What of an LSTM reaches a Transformer? Students of the agreement study, and controls that share one thing with each.

    distillbias run transfer-agreement --scale demo                generated sentences
    distillbias run transfer-agreement --scale laptop --data DIR   real sentences, hours on two cores

Runs of the agreement study that are in the store are not trained again.
"""

from dataclasses import replace

from distillbias.studies.agreement import SETTINGS, TEMPERATURE, TRIALS, Setting, alone, arms
from distillbias.studies.controls import control_arms, left_on, training_mode
from distillbias.studies.run import Distillation, Run
from distillbias.studies.study import Arms, Study, declared, lasting, scale_title

QUESTION = "Is it the LSTM's bias that reaches the Transformer, or would other soft targets and teachers do as well?"
TEACHER, STUDENT = "LSTM", "Transformer-seq"
TAUGHT = f"{TEACHER} → {STUDENT}"
SELF = f"{STUDENT} → {STUDENT}"
EARLY = "early LSTM"  # the bias without the accuracy
LONG = "Transformer-seq, longer"  # more training without the bias
TIMES = 2
SCHEDULE = "Transformer-seq, the student's schedule"


def study(scale: str, trials: int | None = None, epochs: int | None = None) -> Study:
    """The declared study at one of three scales; `epochs` sets the length of every run, for a quick look."""
    setting, trials = declared(SETTINGS, TRIALS, scale, trials)
    setting = replace(setting, labels=lasting(setting.labels, epochs), taught=lasting(setting.taught, epochs))
    return Study("transfer-agreement", scale_title(scale, epochs), QUESTION, every_arm(setting, trials))


def every_arm(setting: Setting, trials: int) -> Arms:
    """First what the coefficient needs, then the controls."""
    main = arms(setting, trials)
    return {
        **{arm: main[arm] for arm in (TEACHER, STUDENT, TAUGHT, SELF)},
        **control_arms(TAUGHT, main[TAUGHT]),
        **matched_teachers(setting, trials),
        **schedule_arm(setting, trials),
        left_on(TAUGHT): tuple(training_mode(run) for run in main[TAUGHT]),
    }


def matched_teachers(setting: Setting, trials: int) -> Arms:
    """Teachers that pull bias and accuracy apart, as nearly as they can be had: an LSTM after a quarter of its epochs,
    a Transformer after twice its own."""
    lstm, transformer = setting.labels[TEACHER], setting.labels[STUDENT]
    teachers = {
        EARLY: _trained(setting, TEACHER, max(1, lstm.epochs // 4), trials),
        LONG: _trained(setting, STUDENT, TIMES * transformer.epochs, trials),
    }
    students = {f"{arm} → {STUDENT}": tuple(_student(setting, run) for run in runs) for arm, runs in teachers.items()}
    return {**teachers, **students}


def _trained(setting: Setting, family: str, epochs: int, trials: int) -> tuple[Run, ...]:
    recipe = replace(setting.labels[family], epochs=epochs)
    return tuple(replace(alone(setting, family, t), recipe=recipe) for t in range(trials))


def _student(setting: Setting, teacher: Run) -> Run:
    recipe = setting.taught[TEACHER, STUDENT]
    return Run(setting.task, setting.models[STUDENT], recipe, teacher.trial, Distillation(teacher, TEMPERATURE))


def schedule_arm(setting: Setting, trials: int) -> Arms:
    """The Transformer from labels with the student's schedule (T12, T30); none at scales with one recipe for both."""
    recipe = setting.taught[TEACHER, STUDENT]
    if recipe == setting.labels[STUDENT]:
        return {}
    return {SCHEDULE: tuple(replace(alone(setting, STUDENT, t), recipe=recipe) for t in range(trials))}
