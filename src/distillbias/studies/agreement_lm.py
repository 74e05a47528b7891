"""The paper's first test case, as language modelling: LSTM and Transformers learn to predict words, not numbers.

Paper: section 2, Tables 1, 3 and 7, Figures 2, 4 and 6a, Appendix D and E.

    distillbias run agreement-lm --scale demo                generated sentences, minutes on two cores
    distillbias run agreement-lm --scale laptop --data DIR   real sentences, hours on two cores
    distillbias run agreement-lm --scale paper --data DIR    the authors' table and schedules, one GPU

What differs between the scales is the `Setting`; the arms, the analyses and the report are the same.
"""

from dataclasses import dataclass, replace

from distillbias.models.lstm import LSTMLanguageModelConfig
from distillbias.models.output import ModelConfig
from distillbias.models.transformer import TransformerLanguageModelConfig
from distillbias.studies.run import Distillation, Run
from distillbias.studies.study import Arms, Study, declared, lasting, scale_title
from distillbias.tasks.agreement_lm import AgreementLM
from distillbias.training.recipe import CosineRestarts, ExponentialDecay, Recipe, WarmupCosine

QUESTION = "Does an LSTM's bias for the structure of a sentence reach a Transformer when both are language models?"
TEMPERATURE = 1.0  # paper, section 2.2
FAMILIES = ("Transformer", "Small Transformer", "LSTM", "Small LSTM")  # at laptop and demo, one size of each
DISTILLED = tuple(f"{teacher} → {student}" for student in FAMILIES for teacher in FAMILIES)


@dataclass(frozen=True)
class Setting:
    """What a scale fixes: the models, and how each is trained on words and from a teacher."""

    task: AgreementLM
    models: dict[str, ModelConfig]
    labels: dict[str, Recipe]
    taught: dict[str, Recipe]


def paper() -> Setting:
    """F4.1 and F5.1: 60 epochs; exponential decay on words, slower for the large Transformer; cosine with restarts for
    all students. The authors' penalty is on the Transformers' biases too, ours on their matrices."""
    models: dict[str, ModelConfig] = {
        "Transformer": TransformerLanguageModelConfig(),
        "Small Transformer": TransformerLanguageModelConfig(
            "Small Transformer", 256, embedding_dropout=0.2, attention_dropout=0.3, dropout=0.2
        ),
        "LSTM": LSTMLanguageModelConfig(),
        "Small LSTM": LSTMLanguageModelConfig(
            "Small LSTM", 512, embedding_dropout=0.2, dropout=0.3, output_dropout=0.3
        ),
    }
    fast = Recipe(60, 64, 1e-3, ExponentialDecay(warmup=5_000, hold=1_000, period=1_000, decay=0.96))
    slow = Recipe(60, 64, 1e-4, ExponentialDecay(warmup=5_000, hold=0, period=10_000, decay=0.96))
    student = Recipe(60, 64, 1e-4, CosineRestarts(period=10_000, longer=2.0, lower=0.9, floor=0.001))
    penalty = {family: 1e-4 if "Transformer" in family else 0.0 for family in FAMILIES}
    labels = {family: replace(fast, l2=penalty[family]) for family in FAMILIES}
    labels["Transformer"] = replace(slow, l2=penalty["Transformer"])
    return Setting(
        AgreementLM("full"), models, labels, {family: replace(student, l2=penalty[family]) for family in FAMILIES}
    )


def laptop() -> Setting:
    """One reduced size each, a quarter of the paper's widths, three epochs.

    Of two rates and two batches for each family, tried on held-out training sentences, the larger rate with the smaller
    batch had the lowest perplexity in both (`benchmarks/tune_agreement_lm.py`); neither was tried further. Dropout
    rates are not tuned.
    """
    models: dict[str, ModelConfig] = {
        "Transformer": _light(TransformerLanguageModelConfig(width=128)),
        "LSTM": LSTMLanguageModelConfig(width=256, embedding_dropout=0.2, dropout=0.2, output_dropout=0.2),
    }
    recipe = Recipe(3, 32, 2e-3, WarmupCosine(), precision="bfloat16")
    recipes = {"Transformer": recipe, "LSTM": replace(recipe, rate=8e-3)}
    return Setting(AgreementLM("wiki", most=10_000), models, recipes, recipes)


def demo() -> Setting:
    """Generated sentences and models of an eighth to a quarter of the laptop's width: seconds each."""
    models: dict[str, ModelConfig] = {
        "Transformer": _light(TransformerLanguageModelConfig(width=32, layers=2, heads=4)),
        "LSTM": LSTMLanguageModelConfig(width=64, layers=1, embedding_dropout=0.1, dropout=0.1, output_dropout=0.1),
    }
    recipe = Recipe(3, 64, 4e-3, WarmupCosine(), precision="bfloat16")
    recipes = {"Transformer": recipe, "LSTM": replace(recipe, rate=8e-3)}
    return Setting(AgreementLM("grammar", words=2_000), models, recipes, recipes)


def _light(config: TransformerLanguageModelConfig) -> TransformerLanguageModelConfig:
    return replace(config, embedding_dropout=0.1, attention_dropout=0.1, dropout=0.1)


SETTINGS = {"demo": demo, "laptop": laptop, "paper": paper}
TRIALS = {"demo": 2, "laptop": 3, "paper": 4}


def study(scale: str, trials: int | None = None, epochs: int | None = None) -> Study:
    """The declared study at one of three scales; `epochs` sets the length of every run, for a quick look."""
    setting, trials = declared(SETTINGS, TRIALS, scale, trials)
    setting = replace(setting, labels=lasting(setting.labels, epochs), taught=lasting(setting.taught, epochs))
    return Study("agreement-lm", scale_title(scale, epochs), QUESTION, arms(setting, trials))


def arms(setting: Setting, trials: int) -> Arms:
    """Tables 1 and 3: each family of the scale alone, and all pairs of a teacher and a student."""
    found: Arms = {family: tuple(alone(setting, family, t) for t in range(trials)) for family in setting.models}
    for arm in DISTILLED:
        teacher, student = arm.split(" → ")
        if {teacher, student} <= set(setting.models):
            found[arm] = tuple(taught(setting, teacher, student, t) for t in range(trials))
    return found


def alone(setting: Setting, family: str, trial: int) -> Run:
    return Run(setting.task, setting.models[family], setting.labels[family], trial)


def taught(setting: Setting, teacher: str, student: str, trial: int) -> Run:
    """A student of its own trial's teacher."""
    lesson = Distillation(alone(setting, teacher, trial), TEMPERATURE)
    return Run(setting.task, setting.models[student], setting.taught[student], trial, lesson)
