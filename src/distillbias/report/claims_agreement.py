"""Claims C4 to C6, C8, C12 to C15, C17, C32, C33 and C35 as they are about agreement as classification: section 2.

ECE is that with 20 bins; which number of bins the paper's Figure 3b has is not known (paper-facts 7.4).
"""

import numpy as np

from distillbias.evaluation.calibration import Reliability
from distillbias.report.claims_judge import Claim, Part
from distillbias.report.claims_values import (
    MEASURES,
    Measure,
    Quantities,
    exceeds,
    farther,
    in_order,
    jackknife,
    minus,
    varies_more,
)
from distillbias.report.evidence import Trials
from distillbias.studies.agreement import FAMILIES

STUDENTS = FAMILIES[:3]  # the Transformers, from the weakest bias up
UP, DOWN = FAMILIES, FAMILIES[::-1]
SLIGHTLY = 0.005  # µ-accuracy and ECE: "only slightly" is by less
STEP = -0.002  # µ-accuracy: "does not fall" is by no more, about twice the paper's deviations
MAPPED = (*FAMILIES, *(f"LSTM → {student}" for student in STUDENTS), *(f"{family} → {family}" for family in STUDENTS))


def metric(name: str, title: str) -> Measure:
    def of(q: Quantities, arm: str) -> Trials:
        return q.metric(arm, name)

    return Measure(title, of)


MICRO, D, A = metric("micro", "µ-accuracy"), metric("D", "D-accuracy"), metric("A", "A-accuracy")
ECE = metric("ece20", "ECE, 20 bins")
TRAIN = metric("train micro", "µ-accuracy in training")


def _of(student: str, teachers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{teacher} → {student}" for teacher in teachers)


def _self(family: str) -> str:
    return f"{family} → {family}"


def _apart(far: tuple[str, str], near: tuple[str, str]) -> Part:
    return farther(far, near, None, "", MAPPED)


def _reliability(diagonal: bool) -> Part:
    """How much nearer LSTM → Transformer's curve is than Transformer's to another arm's, or to the diagonal: mean over
    the bins in which all three have an example, each bin with the same weight, as the curve is seen."""

    def values(q: Quantities) -> Trials:
        arms = ("Transformer", "LSTM → Transformer", "LSTM")
        curves = [q.reliability(arm, q.evidence.micro_test) for arm in arms]
        both = sorted(set.intersection(*(set(found) for found in curves)))
        return {trial: _nearer([found[trial] for found in curves], diagonal) for trial in both}

    target = "the diagonal" if diagonal else "LSTM's curve"
    return Part(f"distance from {target}: Transformer minus LSTM → Transformer", values)


def _nearer(curves: list[Reliability], diagonal: bool) -> float:
    alone, taught, teacher = curves
    common = (alone.count > 0) & (taught.count > 0) & (teacher.count > 0)
    if not common.any():
        return float("nan")
    far, near = (
        np.abs(curve.accuracy - (curve.confidence if diagonal else teacher.accuracy))[common].mean()
        for curve in (alone, taught)
    )
    return float(far - near)


def _alike(measure: str) -> Part:
    def values(q: Quantities) -> Trials:
        lstm, transformer = (
            q.overlap_across(family, family, q.evidence.micro_test, measure) for family in ("LSTM", "Transformer")
        )
        return jackknife(minus(lstm, transformer))

    return Part(f"{measure} of errors over pairs of trials: LSTMs minus Transformers", values)


def _follows(measure: str, own: bool) -> Part:
    """A student's errors are shared with an LSTM rather than with a Transformer from labels."""
    student, others = "LSTM → Transformer", ("LSTM", "Transformer")

    def values(q: Quantities) -> Trials:
        test = q.evidence.micro_test
        if own:
            return minus(*(q.overlap(student, other, test, measure) for other in others))
        return jackknife(minus(*(q.overlap_across(student, other, test, measure) for other in others)))

    trial = "its teacher minus the trial's Transformer" if own else "other trials' LSTMs minus their Transformers"
    return Part(f"{measure} of errors, {student}: with {trial}", values)


CLAIMS = (
    Claim(
        "C4",
        "Accuracy rises with the recurrent bias: Transformer, Transformer-seq, UniversalTransformer-seq, LSTM",
        "✓ Table 2",
        tuple(part for measure in (MICRO, D, A) for part in in_order(measure, UP)),
    ),
    Claim("C5", "ECE falls in the same order", "figure only (3b)", in_order(ECE, DOWN)),
    Claim(
        "C6",
        "Variation over trials falls in the same order, in accuracy and ECE",
        "✓ Table 2, µ-accuracy; ✗ one step of A-accuracy; ECE figure only (3b)",
        tuple(
            varies_more(measure, wide, narrow)
            for measure in (MICRO, A, ECE)
            for wide, narrow in zip(UP, UP[1:], strict=False)
        ),
    ),
    Claim(
        "C8",
        "Transformers fit the training sentences better than LSTMs and generalise worse",
        "✓ Tables 2, 8; Table 8 contradicts the authors' logs",
        (
            *(exceeds(TRAIN, student, "LSTM") for student in STUDENTS),
            *(exceeds(MICRO, "LSTM", student) for student in STUDENTS),
        ),
    ),
    Claim(
        "C12a",
        "A student's accuracy does not fall with the bias of its teacher, and is higher at its end",
        "✓ Table 4",
        (
            *(part for student in UP for part in in_order(MICRO, _of(student, UP), above=STEP)),
            *(exceeds(MICRO, f"LSTM → {student}", f"Transformer → {student}") for student in UP),
        ),
    ),
    Claim(
        "C12b",
        "LSTM-taught Transformers beat Transformers from labels",
        "✓ Tables 2, 4",
        tuple(exceeds(MICRO, f"LSTM → {student}", student) for student in STUDENTS),
    ),
    Claim(
        "C13a",
        "Self-distillation changes accuracy only slightly",
        "✓ Tables 2, 4",
        tuple(exceeds(MICRO, _self(family), family, above=-SLIGHTLY, below=SLIGHTLY) for family in UP),
    ),
    Claim(
        "C13b",
        "Any teacher lowers an LSTM's accuracy",
        "✓ Tables 2, 4",
        tuple(exceeds(MICRO, "LSTM", arm) for arm in _of("LSTM", UP)),
    ),
    Claim(
        "C14a",
        "The ECE of Transformers falls, and most with an LSTM teacher",
        "figure only (3b)",
        tuple(
            exceeds(ECE, other, f"LSTM → {student}")
            for student in STUDENTS
            for other in (student, *_of(student, STUDENTS))
        ),
    ),
    Claim(
        "C14b",
        "The weaker the teacher's bias, the higher the ECE of a Transformer student",
        "figure only (3b); in part in the authors' logs",
        tuple(part for student in STUDENTS for part in in_order(ECE, _of(student, DOWN))),
    ),
    Claim(
        "C14c",
        "Self-distillation changes the ECE of Transformers only slightly",
        "figure only (3b); ✗ in the authors' logs for UniversalTransformer-seq",
        tuple(exceeds(ECE, _self(family), family, above=-SLIGHTLY, below=SLIGHTLY) for family in STUDENTS),
    ),
    Claim(
        "C15",
        "The reliability curve of LSTM → Transformer is nearer to the diagonal, and to LSTM's, than Transformer's",
        "✓ Figure 5, from recovered data of one run",
        (_reliability(diagonal=True), _reliability(diagonal=False)),
    ),
    Claim(
        "C17",
        "LSTM-taught Transformers lie farther from Transformers of labels than those from one another",
        "figure only (6b)",
        tuple(_apart((f"LSTM → {student}", student), (student, student)) for student in STUDENTS),
    ),
    Claim(
        "C32",
        "Two LSTMs err more alike than two Transformers",
        "figure only (10)",
        tuple(_alike(measure) for measure in MEASURES),
    ),
    Claim(
        "C33",
        "LSTM → Transformer errs more like its teacher, and like other LSTMs, than like Transformers from labels",
        "figure only (10)",
        tuple(_follows(measure, own) for measure in MEASURES for own in (True, False)),
    ),
    Claim(
        "C35",
        "A teacher with the better bias gives Transformers more than one of their own kind: accuracy, ECE, nearness to "
        "LSTMs",
        "✓ µ-accuracy (Table 4); the rest figure only or lost",
        (
            *(exceeds(of, f"LSTM → {student}", _self(student)) for of in (MICRO, D, A) for student in STUDENTS),
            *(exceeds(ECE, _self(student), f"LSTM → {student}") for student in STUDENTS),
            *(_apart((_self(student), "LSTM"), (f"LSTM → {student}", "LSTM")) for student in STUDENTS),
        ),
    ),
)
