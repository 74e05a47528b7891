"""Sections on scores of agreement: the headline, Tables 2 and 4 (1 and 3), what distillation changed, training sets."""

from collections.abc import Sequence

from distillbias.report import figures
from distillbias.report.agreement_evidence import TITLES, TRAIN, AgreementEvidence
from distillbias.report.gains import gains_table
from distillbias.report.html import Picture, Section
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery

ARROW = "Arms are teacher → student; a name alone learned from labels."
OTHERS = (
    "The paper's numbers are of its own test set, some 1.4 million sentences, so a difference is no error of either."
)
LABELS = "from labels"


def beside(evidence: AgreementEvidence) -> str:
    return OTHERS if evidence.on_real_data else "The sentences are generated, so no published number stands beside."


def score_table(
    evidence: AgreementEvidence, name: str, title: str, arms: Sequence[str], metrics: Sequence[str], caption: str
) -> Table:
    """Arms by metrics, each cell beside the published one."""
    cells = tuple(tuple(evidence.cell(arm, metric, digits(metric)) for metric in metrics) for arm in arms)
    columns = tuple(TITLES.get(metric, metric) for metric in metrics)
    return Table(name, title, caption, columns, tuple(arms), cells, "arm")


def digits(metric: str) -> int:
    return 2 if metric.endswith("perplexity") else 4


def headline_table(evidence: AgreementEvidence, metrics: Sequence[str]) -> Table:
    """All arms by µ, D and A; further headline test sets, and means over fewer groups where some have no example."""
    arms = (*evidence.families, *evidence.distilled)
    caption = f"Accuracies; what they are is told above. {ARROW} {beside(evidence)}"
    table = score_table(evidence, "headline", "Scores", arms, metrics, caption)
    more: dict[str, list[Entry]] = {}
    for column, test in list(evidence.headline.items())[1:]:
        found = {arm: evidence.values(arm, test, "accuracy") for arm in arms}
        more[f"accuracy on {column}"] = [evidence.cell_of(found[arm]) for arm in arms]
    for which in ("D", "A"):
        if holes := evidence.missing_groups(which):
            partial = evidence.over_present(which)
            without = ", ".join(map(str, holes))
            more[f"{which} over the groups present (not {without})"] = [evidence.cell_of(partial[arm]) for arm in arms]
    cells = tuple((*row, *(column[i] for column in more.values())) for i, row in enumerate(table.cells))
    return Table("headline", "Scores", caption, (*table.columns, *more), arms, cells, "arm")


def matrix(evidence: AgreementEvidence, name: str, title: str, metric: str, caption: str) -> Table:
    """Rows are students, columns teachers; the first column learned from labels."""
    students = evidence.families
    cells = tuple(
        tuple(
            evidence.cell(arm, metric, digits(metric)) if arm in evidence.study.arms else None
            for arm in (student, *(f"{teacher} → {student}" for teacher in students))
        )
        for student in students
    )
    columns = (LABELS, *(f"teacher {teacher}" for teacher in students))
    return Table(name, title, caption, columns, students, cells, "student")


def gains(evidence: AgreementEvidence, metrics: Sequence[str], what: str) -> Table:
    return gains_table(evidence, evidence.distilled, {TITLES[m]: evidence.metric(m) for m in metrics}, what)


def classification(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """Tables 2 and 4, the same matrices for D and A, and gains."""
    metrics = ("micro", "D", "A")
    logs = "Numbers marked as logs are from the authors' logs; the paper shows no such table."
    logs = logs if evidence.on_real_data else beside(evidence)
    tables = (
        score_table(evidence, "table2", "Table 2. From labels", evidence.families, metrics, beside(evidence)),
        matrix(evidence, "table4", "Table 4. µ-accuracy by student and teacher", "micro", beside(evidence)),
        matrix(evidence, "d-matrix", "D-accuracy by student and teacher", "D", logs),
        matrix(evidence, "a-matrix", "A-accuracy by student and teacher", "A", logs),
        gains(evidence, ("A", "D", "micro"), "Accuracy"),
    )
    return Section("Scores", (), tables, (draw_scores(evidence, gallery, metrics),))


def draw_scores(evidence: AgreementEvidence, gallery: Gallery, metrics: Sequence[str]) -> Picture:
    arms = (*evidence.families, *evidence.distilled)
    scores = {f"{TITLES[m]}-accuracy": {arm: list(evidence.metric(m)[arm].values()) for arm in arms} for m in metrics}
    paper = {
        f"{TITLES[m]}-accuracy": {arm: number.mean for arm in arms if (number := evidence.beside(arm, m)) is not None}
        for m in metrics
    }
    return gallery.add(
        figures.draw_points(scores, paper, one_scale=False),
        "scores",
        "Accuracy by arm",
        "Dots are single trials, the tick is their mean, the hollow diamond the published value, of another test set. "
        "Each panel has its own scale.",
    )


def language_model(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """Tables 1 and 3, Figures 2 and 4, and gains."""
    metrics = ("perplexity", "batch_perplexity", "D", "A")
    batches = (
        "Perplexity is exp(total loss / tokens); the paper's is the mean over batches of the exponential, which is "
        f"slightly larger, and of another text. {beside(evidence)}"
    )
    square = "Rows are students, columns their teachers, at temperature 1."
    tables = (
        score_table(evidence, "table1", "Table 1. From labels", evidence.families, metrics, batches),
        matrix(evidence, "table3a", "Table 3. A-accuracy by student and teacher", "A", square),
        matrix(evidence, "table3b", "Table 3. Perplexity by student and teacher", "perplexity", square),
        gains(evidence, ("A", "D", "perplexity"), "Score"),
    )
    text = "Lower perplexity is better; accuracies are higher for better."
    return Section("Scores", (text,), tables, tuple(_tradeoffs(evidence, gallery)))


def _tradeoffs(evidence: AgreementEvidence, gallery: Gallery) -> list[Picture]:
    """Figures 2 and 4: A-accuracy against perplexity, which falls to the right."""
    perplexity, accuracy = evidence.metric("perplexity"), evidence.metric("A")

    def points(arms: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
        both = {arm: sorted(perplexity[arm].keys() & accuracy[arm].keys()) for arm in arms}
        return {arm: [(perplexity[arm][t], accuracy[arm][t]) for t in trials] for arm, trials in both.items()}

    student = "Transformer"
    lessons = [arm for arm in evidence.distilled if arm.endswith(f"LSTM → {student}")]
    teachers = [arm.split(" → ")[0] for arm in lessons]
    caption = "Small dots are single trials, large ones their mean; the best corner is at the top right."
    return [
        gallery.add(
            figures.draw_tradeoff(points(evidence.families)),
            "figure2",
            "Figure 2. A-accuracy against perplexity, from labels",
            caption,
        ),
        gallery.add(
            figures.draw_tradeoff(points([student, *lessons, *teachers]), [(student, arm) for arm in lessons]),
            "figure4",
            "Figure 4. What LSTM teachers do to a Transformer",
            f"{caption} Arrows go from the Transformer from labels to its like with a teacher.",
        ),
    ]


def train_split(evidence: AgreementEvidence, gallery: Gallery) -> Section:
    """Tables 7 and 8: the same scores on training sentences, to tell a lack of fit from a lack of bias."""
    lm = any(f"{TRAIN} perplexity" == metric for _, metric in evidence.numbers)
    metrics = ("perplexity", "D", "A") if lm else ("micro", "D", "A")
    name, title = ("table7", "Table 7. On training sentences") if lm else ("table8", "Table 8. On training sentences")
    n = evidence.test_facts.get(TRAIN, {}).get("n", 0)
    caption = f"On {n:,} sentences of the training set, in evaluation mode, models from labels."
    if holes := evidence.missing_groups("A", TRAIN):
        caption += f" The sample has no example with {', '.join(map(str, holes))} attractors that is known to be one."
    if not lm:
        caption += " The paper's Table 8 and its logs contradict each other: no target."
    found = score_table(evidence, name, title, evidence.families, [f"{TRAIN} {m}" for m in metrics], caption)
    return Section("Training sentences", (), (found,))
