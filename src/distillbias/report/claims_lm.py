"""Claims C1 to C3, C7, C9 to C11, C16 and C35 as they are about agreement as language modelling: section 2.

Perplexity is exp(total loss / tokens); lower is better. At reduced scales there is one size of each model, and what a
claim says of the other size is not run.
"""

from distillbias.report.claims_agreement import A, D, metric
from distillbias.report.claims_judge import Claim, Part
from distillbias.report.claims_values import Measure, Quantities, exceeds, farther, minus
from distillbias.report.evidence import Trials
from distillbias.studies.agreement_lm import FAMILIES

TRANSFORMERS, LSTMS = ("Transformer", "Small Transformer"), ("LSTM", "Small LSTM")
LESSONS = tuple((teacher, student) for teacher in LSTMS for student in TRANSFORMERS)
MAPPED = (
    *FAMILIES,
    *(f"{teacher} → {student}" for teacher, student in LESSONS),
    *(f"{family} → {family}" for family in TRANSFORMERS),
)
SLIGHTLY = 0.01  # A-accuracy: a small gain is a smaller one
GOOD = 0.9  # D- and A-accuracy in training, of which .936 is the paper's lowest
PERPLEXITY = metric("perplexity", "perplexity")
TRAIN = {"D": metric("train D", "D-accuracy in training"), "A": metric("train A", "A-accuracy in training")}


def _generalisation_gap(q: Quantities, arm: str) -> Trials:
    return minus(q.metric(arm, "train A"), q.metric(arm, "A"))


GAP = Measure("A-accuracy in training minus in test", _generalisation_gap)


def _good(measure: Measure, arm: str) -> Part:
    return Part(f"{measure.name}: {arm}", lambda q: measure.of(q, arm), above=GOOD)


def _apart(far: tuple[str, str], near: tuple[str, str]) -> Part:
    return farther(far, near, None, "", MAPPED)


def _helped(student: str) -> tuple[Part, ...]:
    """By LSTM teachers, over its like from labels and from its own kind."""
    others = (student, f"{student} → {student}")
    return tuple(exceeds(A, f"{teacher} → {student}", other) for teacher in LSTMS for other in others)


CLAIMS = (
    Claim(
        "C1",
        "Every LSTM beats every Transformer in D- and A-accuracy",
        "✓ Table 1",
        tuple(exceeds(of, lstm, other) for of in (D, A) for lstm in LSTMS for other in TRANSFORMERS),
    ),
    Claim(
        "C2",
        "Perplexity does not order accuracy: Transformers with a lower one than an LSTM agree worse",
        "✓ Table 1",
        tuple(
            part
            for transformer, lstm in (
                ("Small Transformer", "LSTM"),
                ("Small Transformer", "Small LSTM"),
                ("Transformer", "Small LSTM"),
            )
            for part in (exceeds(PERPLEXITY, lstm, transformer), exceeds(A, lstm, transformer))
        ),
    ),
    Claim(
        "C3",
        "Size hurts Transformers, and helps LSTMs slightly",
        "✓ Table 1",
        (
            *(exceeds(of, "Small Transformer", "Transformer") for of in (D, A)),
            exceeds(A, "LSTM", "Small LSTM", below=SLIGHTLY),
        ),
    ),
    Claim(
        "C7",
        "All fit the training sentences well; Transformers lose more from there to the test set than LSTMs",
        "✓ Tables 1, 7",
        (
            *(_good(of, family) for of in TRAIN.values() for family in FAMILIES),
            *(exceeds(GAP, transformer, lstm) for transformer, lstm in zip(TRANSFORMERS, LSTMS, strict=True)),
        ),
    ),
    Claim(
        "C9a",
        "LSTM-taught Transformers beat those from labels and those of their own kind, in A-accuracy",
        "✓ Tables 1, 3",
        _helped("Transformer"),
    ),
    Claim(
        "C9b",
        "The same of Small Transformers",
        "✓ over their own kind; ✗ below those from labels (Tables 1, 3)",
        _helped("Small Transformer"),
    ),
    Claim(
        "C10",
        "Self-distillation lowers A-accuracy",
        "✓ Tables 1, 3",
        tuple(exceeds(A, family, f"{family} → {family}") for family in FAMILIES),
    ),
    Claim(
        "C11",
        "A-accuracy rises even where the student's perplexity is worse than from labels: Small LSTM → Transformer",
        "✓ Tables 1, 3",
        tuple(exceeds(of, "Small LSTM → Transformer", "Transformer") for of in (PERPLEXITY, A)),
    ),
    Claim(
        "C16",
        "LSTM-taught Transformers are nearer to LSTMs than Transformers are, and far from Transformers",
        "figure only (6a)",
        (
            *(_apart((student, teacher), (f"{teacher} → {student}", teacher)) for teacher, student in LESSONS),
            *(_apart((f"{teacher} → {student}", student), (student, student)) for teacher, student in LESSONS),
        ),
    ),
    Claim(
        "C35",
        "LSTM teachers give Transformers more than teachers of their own kind: accuracy, nearness to LSTMs",
        "✓ A-accuracy (Table 3); D-accuracy lost, nearness figure only",
        (
            *(exceeds(of, f"{teacher} → {s}", f"{s} → {s}") for of in (D, A) for teacher, s in LESSONS),
            *(_apart((f"{s} → {s}", teacher), (f"{teacher} → {s}", teacher)) for teacher, s in LESSONS),
        ),
    ),
)
