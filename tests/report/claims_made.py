"""Evidence without training for the claims: numbers of each arm and trial as a test wants them, with seeded noise."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from zlib import crc32

import numpy as np
from tests import tiny

from distillbias.report import claims_values
from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.evidence import Trials
from distillbias.report.published_agreement import CLASSIFICATION
from distillbias.report.vision_evidence import VisionEvidence
from distillbias.studies import agreement, agreement_lm
from distillbias.studies.basins import WEIGHTS, Line
from distillbias.studies.record import Predictions, Record
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.studies.study import Study

TRIALS = 6
Scores = dict[tuple[str, str], Trials]  # {(arm, metric): {trial: value}}; of vision the metric is "column metric"


def random(*name: object) -> np.random.Generator:
    return np.random.default_rng(crc32(repr(name).encode()))


def around(mean: float, sd: float, *name: object, trials: int = TRIALS) -> Trials:
    """Values of exactly this mean and standard deviation."""
    noise = random(*name).normal(size=trials)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return dict(enumerate((mean + sd * noise).tolist()))


class MadeStore(Store):
    """A store that was never on disk."""

    def __init__(self) -> None:
        self.root = Path("nowhere")

    def has_weights(self, run: Run) -> bool:
        return True


@dataclass
class Made(Record):
    """A record made of arrays."""

    folder: Path
    scores: dict[tuple[str, str], float] = field(default_factory=dict)
    rows: Predictions | None = None
    inside: np.ndarray | None = None
    path: np.ndarray | None = None

    def score(self, test: str, metric: str) -> float:
        return self.scores[test, metric]

    def predictions(self, test: str) -> Predictions:
        assert self.rows is not None
        return self.rows

    def activations(self, test: str) -> np.ndarray:
        assert self.inside is not None
        return self.inside

    def stages(self) -> np.ndarray:
        if self.path is None:
            raise KeyError("stages")  # as of a packed run
        return self.path


class MadeAgreement(AgreementEvidence):
    def metric(self, name: str) -> dict[str, Trials]:
        found: dict[str, Trials] = self.__dict__["made"].get(name, {})
        return {arm: dict(found.get(arm, {})) for arm in self.records}


def vision(study: Study, records: Mapping[str, Mapping[int, Record]]) -> VisionEvidence:
    evidence = VisionEvidence(study, MadeStore(), None)
    evidence.__dict__["records"] = {arm: dict(records.get(arm, {})) for arm in study.arms}
    return evidence


def of_agreement(study: Study, records: Mapping[str, Mapping[int, Record]], scores: Scores) -> MadeAgreement:
    evidence = MadeAgreement(study, MadeStore(), None, CLASSIFICATION)
    evidence.__dict__["records"] = {arm: dict(records.get(arm, {})) for arm in study.arms}
    made: dict[str, dict[str, Trials]] = {}
    for (arm, name), trials in scores.items():
        made.setdefault(name, {})[arm] = trials
    evidence.__dict__["made"] = made
    return evidence


def answers(wrong: np.ndarray, confidence: np.ndarray) -> Predictions:
    """Two classes; the guess has this confidence, and the label is 0."""
    margin = np.log(confidence / (1 - confidence)) * np.where(wrong, -1, 1)
    logits = np.stack([margin, np.zeros(len(margin))], axis=1).astype(np.float32)
    none = np.arange(len(wrong))
    return Predictions(none, np.zeros(len(wrong), np.int64), logits, {}, {})


LEVELS, EACH = np.linspace(0.525, 0.975, 10), 60
CONFIDENCE = np.repeat(LEVELS, EACH)


def errors(order: np.ndarray, excess: float) -> np.ndarray:
    """At each confidence, the first of `order` err, `excess` more often than the confidence says."""
    wrong = np.zeros(len(order), bool)
    for level, rows in zip(LEVELS, np.arange(len(order)).reshape(-1, EACH), strict=True):
        count = round(EACH * min(1.0, 1 - level + excess))
        wrong[rows[np.argsort(order[rows], kind="stable")[:count]]] = True
    return wrong


ROWS, WIDTH = 12, 6


def inside(place: float, noise: float, *name: object) -> np.ndarray:
    """Activations on the way from one arrangement of the inputs (0) to another (1)."""
    ends = random("ends").normal(size=(2, ROWS, WIDTH))
    return (1 - place) * ends[0] + place * ends[1] + noise * random("inside", *name).normal(size=(ROWS, WIDTH))


# A world in which all that the paper says of images is so. Per arm: accuracy and ECE on the three sets, sd over
# trials, place and noise of representations, excess of errors and whose order of them it follows.
COLUMNS = {"mnist": "clean", "scaled": "scale-3", "translated": "translate-3"}
IMAGES = {
    "CNN": ((0.99, 0.96, 0.95), (0.01, 0.03, 0.04), 1e-5, 1.0, 0.02),
    "MLP": ((0.95, 0.80, 0.40), (0.05, 0.20, 0.60), 3e-3, 0.0, 0.2),
    "CNN → CNN": ((0.98, 0.95, 0.94), (0.02, 0.04, 0.05), 1e-5, 0.98, 0.02),
    "MLP → CNN": ((0.98, 0.95, 0.94), (0.02, 0.04, 0.05), 1e-5, 0.9, 0.02),
    "CNN → MLP": ((0.98, 0.92, 0.70), (0.02, 0.10, 0.30), 1e-4, 0.6, 0.05),
    "MLP → MLP": ((0.96, 0.84, 0.45), (0.04, 0.15, 0.50), 1e-4, 0.05, 0.1),
}


def image_study(trials: int = TRIALS) -> Study:
    return tiny.vision_study(trials)


def image_records(trials: int = TRIALS) -> dict[str, dict[int, Made]]:
    found: dict[str, dict[int, Made]] = {}
    for arm, (accuracy, ece, sd, place, noise) in IMAGES.items():
        scores = {
            (test, metric): around(means[i], sd, arm, test, metric, trials=trials)
            for i, test in enumerate(COLUMNS.values())
            for metric, means in (("accuracy", accuracy), ("ece", ece))
        }
        found[arm] = {}
        for trial in range(trials):
            shared, own = random("cnn", trial).random(600), random(arm, trial).random(600)
            weight = {"CNN": 1.0, "CNN → MLP": 0.9}.get(arm, 0.0)
            wrong = errors(weight * shared + (1 - weight) * own, 0.0)
            path = np.stack([inside(place * s, noise, arm, trial, s) for s in (0.25, 0.5, 1.0)]).astype(np.float32)
            found[arm][trial] = Made(
                Path(f"{arm} {trial}"),
                {key: values[trial] for key, values in scores.items()},
                answers(wrong, CONFIDENCE),
                inside(place, noise, arm, trial).astype(np.float32),
                path,
            )
    return found


HEIGHTS = {  # nats; the ends' loss is .2; others: .3
    frozenset(["MLP"]): 1.0,
    frozenset(["CNN"]): 0.01,
    frozenset(["MLP → MLP"]): 0.1,
    frozenset(["CNN → MLP"]): 0.1,
    frozenset(["MLP → MLP", "MLP"]): 0.8,
    frozenset(["CNN → MLP", "MLP"]): 1.5,
    frozenset(["CNN → MLP", "MLP → MLP"]): 0.7,
}


def lines(study: Study, swap: Mapping[str, str], sd: float = 0.002):
    """In place of `studies.basins.line`: a parabola of the height of HEIGHTS, arms exchanged by `swap`."""
    owner = {run.name: arm.removesuffix(", second order") for arm, runs in study.arms.items() for run in runs}

    def line(first: Run, other: Run, store: Store, data: Path | None) -> Line:
        arms = [owner[run.name] for run in (first, other)]
        height = HEIGHTS.get(frozenset(swap.get(arm, arm) for arm in arms), 0.3)
        height *= float(np.exp(sd * random("line", *arms, first.trial).normal()))
        losses = [0.2 + height * 4 * weight * (1 - weight) for weight in WEIGHTS]
        return Line(losses, losses)

    return line


def with_lines(patch, line) -> None:
    patch.setattr(claims_values, "line", line)


# The same of classified sentences: families by the strength of their bias.
SENTENCES = agreement.FAMILIES
ACCURACY, ERROR = (0.90, 0.92, 0.94, 0.97), (0.10, 0.08, 0.06, 0.03)
SD = (1e-3, 1e-4, 1e-5, 1e-6)


def sentence_scores() -> Scores:
    found: Scores = {}
    for i, family in enumerate(SENTENCES):
        for name in ("micro", "D", "A"):
            found[family, name] = around(ACCURACY[i], SD[i], family, name)
        found[family, "ece20"] = around(ERROR[i], SD[i], family, "ece20")
        found[family, "train micro"] = around(0.999 - 0.004 * i, 1e-4, family, "train")
        for j, teacher in enumerate(SENTENCES):
            arm = f"{teacher} → {family}"
            for name in ("micro", "D", "A"):
                found[arm, name] = around(ACCURACY[i] + 0.004 * (j - i) - 0.001, 1e-5, arm, name)
            found[arm, "ece20"] = around(ERROR[i] - 0.02 * (j - i) - 0.001, 1e-5, arm, "ece20")
    return found


def sentence_records() -> dict[str, dict[int, Made]]:
    """LSTMs err alike, students like their teacher, Transformers each on its own."""
    found: dict[str, dict[int, Made]] = {}
    arms = {family: (i / 3, 0.0 if i == 3 else 0.2 - 0.05 * i) for i, family in enumerate(SENTENCES)}
    arms |= {f"{family} → {family}": arms[family] for family in SENTENCES}
    arms |= {f"LSTM → {family}": (0.8, 0.05) for family in SENTENCES[:3]}
    for arm, (place, excess) in arms.items():
        found[arm] = {}
        for trial in range(TRIALS):
            common, lstm, own = (random(*name).random(600) for name in (("all",), ("lstm", trial), ("own", arm, trial)))
            teacher = 0.8 * common + 0.2 * lstm
            order = teacher if arm == "LSTM" else 0.9 * teacher + 0.1 * own if arm.startswith("LSTM → ") else own
            wrong = errors(order, excess + float(random("excess", arm, trial).normal(0, 0.01)))
            activations = inside(place, 0.02, arm, trial).astype(np.float32)
            found[arm][trial] = Made(Path(f"{arm} {trial}"), {}, answers(wrong, CONFIDENCE), activations)
    return found


# And of language models: {arm: (perplexity, D, A)}, in training (D, A).


def word_scores() -> Scores:
    means: dict[tuple[str, str], float] = {}
    sizes = {"Transformer": 0.90, "Small Transformer": 0.92, "LSTM": 0.955, "Small LSTM": 0.950}
    perplexity = {"Transformer": 57.5, "Small Transformer": 55.0, "LSTM": 56.5, "Small LSTM": 58.0}
    for family, accuracy in sizes.items():
        gap = 0.03 if "Transformer" in family else 0.01
        means |= {(family, "perplexity"): perplexity[family], (family, "D"): accuracy, (family, "A"): accuracy}
        means |= {(family, "train D"): accuracy + gap, (family, "train A"): accuracy + gap}
        for teacher in sizes:
            gain = 0.015 if "LSTM" in teacher and "Transformer" in family else -0.01
            arm = f"{teacher} → {family}"
            means |= {(arm, name): accuracy + gain for name in ("D", "A")} | {(arm, "perplexity"): 59.0}
    return {(arm, name): around(mean, 1e-4, arm, name) for (arm, name), mean in means.items()}


def word_records() -> dict[str, dict[int, Made]]:
    places = {"Transformer": 0.0, "Small Transformer": 0.1, "LSTM": 1.0, "Small LSTM": 0.9}
    arms = dict(places) | {f"{family} → {family}": place for family, place in places.items()}
    arms |= {f"{t} → {s}": 0.6 for t in ("LSTM", "Small LSTM") for s in ("Transformer", "Small Transformer")}
    return {
        arm: {
            t: Made(Path(f"{arm} {t}"), {}, None, inside(place, 0.02, arm, t).astype(np.float32)) for t in range(TRIALS)
        }
        for arm, place in arms.items()
    }


def sentence_study() -> Study:
    return agreement.study("laptop", TRIALS)


def word_study() -> Study:
    return agreement_lm.study("paper", TRIALS)


def exchanged(found: dict, first: str, other: str) -> dict:
    """The same with two arms exchanged; keys are arms, or begin with one."""
    names = {first: other, other: first}

    def renamed(key: object) -> object:
        if isinstance(key, tuple):
            return (names.get(key[0], key[0]), *key[1:])
        return names.get(key, key)  # type: ignore[call-overload]

    return {renamed(key): value for key, value in found.items()}


def noisy(record: Made, trial: int, arm: str, scale: float) -> Made:
    """Scores and activations drowned in noise."""
    scores = {key: float(random(arm, trial, key).normal(0.5, scale)) for key in record.scores}
    own = random(arm, trial).random(600)
    rows = answers(errors(own, 0.4 * float(random("e", arm, trial).random())), CONFIDENCE)
    lost = random("lost", arm, trial).normal(size=(ROWS, WIDTH)).astype(np.float32)
    path = random("path", arm, trial).normal(size=(3, ROWS, WIDTH)).astype(np.float32)
    return replace(record, scores=scores, rows=rows, inside=lost, path=path)
