"""Section on what a teacher has to say: how sure it is of its training sentences, and what students of it learn."""

import numpy as np

from distillbias.evaluation.metrics import log_softmax
from distillbias.report import figures
from distillbias.report.agreement_evidence import TITLES, TRAIN, AgreementEvidence
from distillbias.report.evidence import Trials
from distillbias.report.html import Section
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery
from distillbias.studies.agreement import PATIENT, SOFT, SOFT_STUDENTS, patient, soft_arm
from distillbias.studies.record import Record

METRICS = ("micro", "D", "A")
SURE = 0.99
TEXT = (
    "A student of pure distillation sees its teacher's answers on the training sentences and nothing else. Where the "
    "teacher fits these nearly perfectly, its answers are nearly the labels, and there is little else to learn from. "
    "The paper's LSTM is held back by dropout of .8, and the authors left that on while it taught. In these arms such "
    "an LSTM teaches, with its dropout off and on; students and their recipes are those of the main arms. The arms "
    "called longer have the LSTM of the main arms again and a student that is trained for more epochs."
)


def softness(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """How sure each teacher is, and students of a softer one beside those of the LSTM of the main arms."""
    arms = [*(arm for student in SOFT_STUDENTS for arm in _arms(student)), *map(patient, PATIENT)]
    panels = {
        f"{TITLES[metric]}-accuracy": {arm: list(evidence.metric(metric)[arm].values()) for arm in arms}
        for metric in ("micro", "A")
    }
    drawn = gallery.add(
        figures.draw_points(panels, {}, one_scale=False),
        "softness",
        "Students of an LSTM, by how it was held back",
        "Dots are single trials, the tick is their mean.",
    )
    return Section("How soft the teacher is", (TEXT,), (sureness(evidence), _students(evidence)), (drawn,))


def _arms(student: str) -> tuple[str, ...]:
    return (student, f"LSTM → {student}", soft_arm(student, "eval"), soft_arm(student, "train"))


def sureness(evidence: AgreementEvidence) -> Table:
    """Of each model from labels, on the sample of training sentences, dropout off."""
    rows, cells = [], []
    for arm in (*evidence.families, SOFT):
        told = {trial: _sure(record) for trial, record in evidence.records[arm].items()}
        entropy: Trials = {trial: found[0] for trial, found in told.items()}
        share: Trials = {trial: found[1] for trial, found in told.items()}
        row: list[Entry] = [evidence.cell_of(entropy), evidence.cell_of(share)]
        rows.append(arm)
        cells.append((*row, evidence.cell_of(evidence.values(arm, TRAIN, "accuracy"))))
    columns = ("entropy of its answers (nats)", f"share of answers above {SURE}", "accuracy")
    caption = "On a fixed sample of training sentences, dropout off. Entropy 0 is a label, 0.69 a coin."
    return Table("sureness", "How sure teachers are of what they teach", caption, columns, tuple(rows), tuple(cells))


def _sure(record: Record) -> tuple[float, float]:
    """Mean entropy of the answers in nats, and the share of answers above SURE."""
    log_p = log_softmax(record.predictions(TRAIN).logits)
    p = np.exp(log_p)
    return float(-(p * log_p).sum(1).mean()), float((p.max(1) > SURE).mean())


def _students(evidence: AgreementEvidence) -> Table:
    rows = ("LSTM", SOFT, *(arm for student in SOFT_STUDENTS for arm in _arms(student)), *map(patient, PATIENT))
    cells = tuple(tuple(evidence.cell_of(evidence.metric(metric)[arm]) for metric in METRICS) for arm in rows)
    caption = (
        "The two teachers, and for each student: from labels, taught by the one, taught by the other. Last, a student "
        "and the same model from labels when both are trained longer."
    )
    columns = tuple(TITLES[metric] for metric in METRICS)
    return Table("soft-students", "Students of a softer teacher", caption, columns, tuple(rows), cells, "arm")
