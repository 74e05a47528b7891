"""A bias dial for sentences: which ingredient of an LSTM makes it a better teacher for agreement?

    distillbias run dial-agreement --scale demo                generated sentences
    distillbias run dial-agreement --scale laptop --data DIR   real sentences, hours on two cores

    order       each word sees only those before it, the last one answers
    tying       one block, applied again and again: weights are tied over depth
    recurrence  what was read is carried in a state, word by word

Five teachers with some of them each teach the same Transformer, which has none; and the LSTM, on 1, 10 and 100 % of
the sentences. Runs of the agreement study that are in the store are not trained again.
"""

from dataclasses import replace

from distillbias.models.output import ModelConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig
from distillbias.studies.agreement import SETTINGS, TEMPERATURE, Setting
from distillbias.studies.dial import SHARES, Dial, at_share, sized, whole_first
from distillbias.studies.run import Distillation, Run
from distillbias.studies.study import Arms, Study, declared, lasting, scale_title

QUESTION = "Which of order, tying over depth and recurrence must a teacher have for its students to gain?"
STUDENT = "Transformer"
FULL = "LSTM"
UNORDERED = "UniversalTransformer"
ORDERED = f"{UNORDERED}-seq"
DOSES = {
    FULL: frozenset({"order", "recurrence"}),
    ORDERED: frozenset({"order", "tying"}),
    "Transformer-seq": frozenset({"order"}),
    UNORDERED: frozenset({"tying"}),
    STUDENT: frozenset[str](),
}
TRIALS = {"demo": 3, "laptop": 4, "paper": 4}
SENTENCES = {"grammar": 8_000, "wiki": 50_000, "full": 157_777}  # in the whole training set


def study(scale: str, trials: int | None = None, epochs: int | None = None) -> Study:
    """The declared study at one of three scales; `epochs` sets the length of every run on the whole training set."""
    setting, trials = declared(SETTINGS, TRIALS, scale, trials)
    setting = replace(setting, labels=lasting(setting.labels, epochs), taught=lasting(setting.taught, epochs))
    return Study("dial-agreement", scale_title(scale, epochs), QUESTION, every_arm(setting, trials))


def dial() -> Dial:
    """The doses of the five teachers."""
    return Dial(STUDENT, DOSES, FULL)


def every_arm(setting: Setting, trials: int) -> Arms:
    arms: Arms = {}
    for share in SHARES:
        arms[at_share(STUDENT, share)] = tuple(_alone(setting, STUDENT, t, share) for t in range(trials))
        for teacher in DOSES:
            if share < 1 and teacher != FULL:
                continue
            teachers = tuple(_alone(setting, teacher, t, share) for t in range(trials))
            arms[at_share(teacher, share)] = teachers
            arms[at_share(f"{teacher} → {STUDENT}", share)] = tuple(
                _taught(setting, teacher, run, share) for run in teachers
            )
    return whole_first(arms)


def _model(setting: Setting, family: str) -> ModelConfig:
    if family != UNORDERED:
        return setting.models[family]
    tied = setting.models[ORDERED]
    assert isinstance(tied, UniversalTransformerConfig)
    return replace(tied, readout="first")


def _alone(setting: Setting, family: str, trial: int, share: float) -> Run:
    recipe = setting.labels[ORDERED if family == UNORDERED else family]
    if share < 1:
        recipe = sized(recipe, SENTENCES[setting.task.source], share)
    return Run(replace(setting.task, share=share), _model(setting, family), recipe, trial)


def _taught(setting: Setting, family: str, teacher: Run, share: float) -> Run:
    recipe = setting.taught[ORDERED if family == UNORDERED else family, STUDENT]
    if share < 1:
        recipe = sized(recipe, SENTENCES[setting.task.source], share)
    lesson = Distillation(teacher, TEMPERATURE)
    return Run(teacher.task, setting.models[STUDENT], recipe, teacher.trial, lesson)
