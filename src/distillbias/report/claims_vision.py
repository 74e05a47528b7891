"""Claims C18 to C31, C34 and C35 as they are about CNN and MLP: sections 1 and 3, Appendices C and E."""

from distillbias.report.claims_judge import Claim, Part
from distillbias.report.claims_values import (
    MEASURES,
    Measure,
    Quantities,
    exceeds,
    farther,
    minus,
    times,
    varies_more,
)
from distillbias.report.evidence import Trials
from distillbias.report.published import ARMS

COLUMNS = {"mnist": "Clean", "scaled": "Scaled", "translated": "Translated"}
MOVED = ("scaled", "translated")
SLIGHTLY = 0.02  # accuracy: "slightly lower" is lower by less
MUCH = 0.5  # "much smaller", "small in contrast": less than half
NOTHING = 0.1  # "the same basin": less than a tenth of the barrier that is called large


def _score(metric: str, name: str, column: str) -> Measure:
    def of(q: Quantities, arm: str) -> Trials:
        return q.score(arm, column, metric)

    return Measure(f"{name}, {COLUMNS[column]}", of)


ACCURACY = {column: _score("accuracy", "accuracy", column) for column in COLUMNS}
ECE = {column: _score("ece", "ECE, 15 bins", column) for column in COLUMNS}


def _gap(column: str) -> Measure:
    """By how much an arm is less accurate than the CNN; of the MLP, the gap between the two."""

    def of(q: Quantities, arm: str) -> Trials:
        return minus(q.score("CNN", column, "accuracy"), q.score(arm, column, "accuracy"))

    return Measure(f"accuracy gap, {COLUMNS[column]}", of)


def _wider_gap(column: str, other: str) -> Part:
    one, two = _gap(column), _gap(other)
    text = f"accuracy gap of CNN and MLP: {COLUMNS[column]} minus {COLUMNS[other]}"
    return Part(text, lambda q: minus(one.of(q, "MLP"), two.of(q, "MLP")))


def _smaller_gain(column: str) -> Part:
    """Half the gain of CNN → MLP is more than the whole gain of MLP → MLP."""
    of = ACCURACY[column].of

    def values(q: Quantities) -> Trials:
        cnn, mlp = (minus(of(q, f"{teacher} → MLP"), of(q, "MLP")) for teacher in ("CNN", "MLP"))
        return minus(times(MUCH, cnn), mlp)

    return Part(f"{ACCURACY[column].name}: {MUCH:g} × gain of CNN → MLP minus gain of MLP → MLP", values)


def _apart(far: tuple[str, str], near: tuple[str, str]) -> tuple[Part, ...]:
    return tuple(farther(far, near, column, f", {COLUMNS[column]}", ARMS) for column in MOVED)


def _path() -> Part:
    def values(q: Quantities) -> Trials:
        return minus(q.path_distance("MLP", "CNN"), q.path_distance("CNN → MLP", "CNN"))

    return Part("distance to the path of the trial's CNN, Translated: MLP minus CNN → MLP", values)


LARGE = ("MLP", "MLP")  # panel (a) of Figures 8 and 9: both from labels
TAUGHT = {"MLP": "MLP → MLP", "CNN": "CNN → MLP"}


def _barriers(high: tuple[str, str], low: tuple[str, str], share: float = 1.0, of_low: float = 1.0) -> Part:
    """One barrier, times `share`, is higher than another, times `of_low`."""
    first, other = (f"{factor:g} × ({', '.join(pair)})" for factor, pair in ((share, high), (of_low, low)))
    text = f"barrier: {first} minus {other}".replace(" 1 × ", " ")

    def values(q: Quantities) -> Trials:
        return minus(times(share, q.barrier(*high)), times(of_low, q.barrier(*low)))

    return Part(text, values)


def _overlaps(column: str, measure: str) -> Part:
    def values(q: Quantities) -> Trials:
        test = q.evidence.headline[column]
        return minus(q.overlap("CNN → MLP", "CNN", test, measure), q.overlap("MLP", "CNN", test, measure))

    text = f"{measure} of errors with the trial's CNN, {COLUMNS[column]}: CNN → MLP minus MLP"
    return Part(text, values)


CLAIMS = (
    Claim(
        "C18",
        "CNNs beat MLPs on all three sets; the gap grows from Clean to Scaled to Translated",
        "✓ Table 5a",
        (
            *(exceeds(ACCURACY[column], "CNN", "MLP") for column in COLUMNS),
            _wider_gap("scaled", "mnist"),
            _wider_gap("translated", "scaled"),
        ),
    ),
    Claim(
        "C19",
        "CNNs have a lower ECE than MLPs on all three sets",
        "✓ Table 5b, with 1,000,000 bins",
        tuple(exceeds(ECE[column], "MLP", "CNN") for column in COLUMNS),
    ),
    Claim(
        "C20",
        "CNNs vary less over trials than MLPs, in accuracy and ECE",
        "✓ Table 5, but for a tie: ECE on MNIST",
        tuple(varies_more(measure[column], "MLP", "CNN") for measure in (ACCURACY, ECE) for column in COLUMNS),
    ),
    Claim(
        "C21",
        "CNN-taught MLPs beat MLPs from labels on all three sets",
        "✓ Tables 5a, 6a",
        tuple(exceeds(ACCURACY[column], "CNN → MLP", "MLP") for column in COLUMNS),
    ),
    Claim(
        "C22",
        "CNN-taught MLPs have a lower ECE than MLPs from labels on all three sets",
        "✓ MNIST (Table 6b), Scaled (logs), with 1,000,000 bins; Translated lost",
        tuple(exceeds(ECE[column], "MLP", "CNN → MLP") for column in COLUMNS),
    ),
    Claim(
        "C23",
        "CNN-taught MLPs vary less over trials than MLPs from labels",
        "✓ Tables 5a, 6a; nearly a tie on Translated",
        tuple(varies_more(ACCURACY[column], "MLP", "CNN → MLP") for column in COLUMNS),
    ),
    Claim(
        "C24",
        "MLPs gain from MLP teachers on Scaled and Translated, but less than half of what CNN teachers give",
        "✓ Tables 5a, 6a",
        (
            *(exceeds(ACCURACY[column], "MLP → MLP", "MLP") for column in MOVED),
            *(_smaller_gain(column) for column in COLUMNS),
        ),
    ),
    Claim(
        "C25",
        "CNN students are slightly worse than CNNs from labels, whatever the teacher",
        "✓ Tables 5a, 6a; ✗ in unpublished logs of online distillation",
        tuple(
            exceeds(ACCURACY[column], "CNN", f"{teacher} → CNN", below=SLIGHTLY)
            for teacher in ("CNN", "MLP")
            for column in COLUMNS
        ),
    ),
    Claim(
        "C26",
        "MLPs of different trials are farther apart in representation than CNNs",
        "figure only (7)",
        _apart(("MLP", "MLP"), ("CNN", "CNN")),
    ),
    Claim(
        "C27a",
        "CNN-taught MLPs are nearer to CNNs than MLPs from labels are",
        "figure only (7)",
        _apart(("MLP", "CNN"), ("CNN → MLP", "CNN")),
    ),
    Claim(
        "C27b",
        "MLP-taught CNNs stay nearer to CNNs than to MLPs",
        "figure only (7)",
        _apart(("MLP → CNN", "MLP"), ("MLP → CNN", "CNN")),
    ),
    Claim(
        "C27c",
        "Models taught by their own kind stay nearer to it than to the other",
        "figure only (7)",
        (
            *_apart(("MLP → MLP", "CNN"), ("MLP → MLP", "MLP")),
            *_apart(("CNN → CNN", "MLP"), ("CNN → CNN", "CNN")),
        ),
    ),
    Claim(
        "C28",
        "A CNN-taught MLP trains along a path nearer to its CNN's than an MLP from labels does",
        "figure only (1), without a number",
        (_path(),),
    ),
    Claim(
        "C29",
        "From the same start, two MLPs end in different basins, two CNNs in one",
        "figure only (8)",
        (
            Part("barrier over the loss of its ends: (MLP, MLP)", lambda q: q.rise(*LARGE), above=1.0),
            _barriers(LARGE, ("CNN", "CNN"), share=NOTHING),
        ),
    ),
    Claim(
        "C30",
        "From the same start, two MLPs of one teacher have a barrier less than half of that from labels",
        "figure only (9: a, c, f)",
        tuple(_barriers(LARGE, (arm, arm), share=MUCH) for arm in TAUGHT.values()),
    ),
    Claim(
        "C31",
        "Taught MLPs are in another basin than MLPs from labels, CNN-taught ones behind a higher barrier; and so are "
        "MLPs of different teachers",
        "figure only (9: b, d, e)",
        (
            *(_barriers((arm, "MLP"), LARGE, of_low=MUCH) for arm in TAUGHT.values()),
            _barriers((TAUGHT["CNN"], "MLP"), (TAUGHT["MLP"], "MLP")),
            *(_barriers((TAUGHT["CNN"], TAUGHT["MLP"]), (arm, arm)) for arm in TAUGHT.values()),
        ),
    ),
    Claim(
        "C34",
        "CNN-taught MLPs err less than MLPs from labels, and more where their teacher errs",
        "✓ for one pair in the authors' notebook (Jaccard); yet nearer to MLPs than to the teacher",
        (
            *(exceeds(ACCURACY[column], "CNN → MLP", "MLP") for column in MOVED),
            *(_overlaps(column, measure) for measure in MEASURES for column in MOVED),
        ),
    ),
    Claim(
        "C35",
        "A teacher with the better bias gives MLPs more than one of their own kind: accuracy, ECE, nearness to CNNs",
        "✓ accuracy (Table 6a), ECE on Scaled (logs); the rest figure only or lost",
        (
            *(exceeds(ACCURACY[column], "CNN → MLP", "MLP → MLP") for column in COLUMNS),
            *(exceeds(ECE[column], "MLP → MLP", "CNN → MLP") for column in COLUMNS),
            *_apart(("MLP → MLP", "CNN"), ("CNN → MLP", "CNN")),
        ),
    ),
)
