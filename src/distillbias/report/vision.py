"""The report of the vision study: from the records of its runs to one page. What is missing is a visible hole."""

from collections.abc import Iterator
from pathlib import Path

from distillbias.errors import InputError
from distillbias.report import vision_errors, vision_scores, vision_structure
from distillbias.report.evidence import Evidence
from distillbias.report.html import Page, Section
from distillbias.report.published import ARMS
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery
from distillbias.studies.progress import duration
from distillbias.studies.run import Run
from distillbias.studies.store import Record, Store
from distillbias.studies.study import Study

SECTIONS = (
    vision_scores.accuracy,
    vision_scores.calibration,
    vision_scores.factors,
    vision_structure.representations,
    vision_structure.paths,
    vision_structure.basins,
    vision_errors.errors,
    vision_scores.training,
)


def make_page(study: Study, store: Store, data: Path | None, gallery: Gallery) -> Page:
    evidence = Evidence(study, store, data)
    if not any(evidence.records[arm] for arm in ARMS):
        raise InputError(f"nothing to report: no run of {study.title} is finished in {store.root}")
    headline = vision_scores.headline_table(evidence)
    sections = [section(evidence, gallery) for section in SECTIONS]
    missing = [run.label for run in study.runs if not store.done(run)]
    warnings = (f"{len(missing)} of {len(study.runs)} runs are missing: {_some(missing)}",) if missing else ()
    return Page(
        title=f"distillbias: {study.title}",
        question=study.question,
        lead=tuple(lead(evidence)),
        headline=headline,
        sections=(*sections, Section("Every run", (), (runs_table(evidence),))),
        provenance=provenance_table(evidence),
        warnings=(*warnings, *headline.holes),
    )


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def lead(evidence: Evidence) -> Iterator[str]:
    """What was trained and tested on, and the one comparison the study is about."""
    first = next((record for records in evidence.records.values() for record in records.values()), None)
    if first is None:
        return
    train, clean = first.facts["train"], first.facts["tests"]["clean"]
    trials = f"{evidence.study.trials} trial{'s' * (evidence.study.trials > 1)}"
    yield f"{trials}, trained on {train['n']:,} images ({train['origin']}), tested on {clean['n']:,}."
    yield _models(evidence)
    for column in ("scaled", "translated"):
        test = evidence.headline[column]
        gains = {
            arm: [
                evidence.values(arm, test, "accuracy")[trial] - evidence.values("MLP", test, "accuracy")[trial]
                for trial in evidence.both(arm, "MLP")
            ]
            for arm in ("CNN → MLP", "MLP → MLP")
        }
        if all(gains.values()):
            told = (f"{sum(values) / len(values):+.3f} from {arm[:3]} teachers" for arm, values in gains.items())
            gained = " and ".join(told).replace("-", "−")
            yield f"{column.capitalize()}: against the MLP from labels, MLP students gain {gained}."


def _models(evidence: Evidence) -> str:
    """Which models, with their sizes, and where they are smaller than the paper's."""
    told = []
    for arm in ("CNN", "MLP"):
        for record in list(evidence.records[arm].values())[:1]:
            model = record.run.model
            paper = type(model)()
            size = f"The {arm} has {record.facts['parameters']:,} parameters"
            told.append(size + (", as in the paper." if model == paper else f": {model}; the paper's is {paper}."))
    return " ".join(told)


def runs_table(evidence: Evidence) -> Table:
    """Per-trial values of every run, with the name to ask `evaluate` for."""
    rows, cells = [], []
    for arm, runs in evidence.study.arms.items():
        for run in runs:
            record = evidence.records[arm].get(run.trial)
            rows.append(arm)
            cells.append((run.trial, *_run_cells(run, record, evidence)))
    columns = (
        "trial",
        "run",
        *(evidence.title(column) for column in evidence.headline),
        "NLL",
        "ECE",
        "training",
    )
    caption = "Accuracy on the three test sets; NLL and ECE (15 bins) on the test set as it is."
    return Table("runs", "Every run", caption, columns, tuple(rows), tuple(cells), "arm")


def _run_cells(run: Run, record: Record | None, evidence: Evidence) -> tuple[Entry, ...]:
    if record is None:
        return (run.name, *["missing"] * (len(evidence.headline) + 2), "")
    accuracies = [f"{record.score(test, 'accuracy'):.4f}" for test in evidence.headline.values()]
    clean = next(iter(evidence.headline.values()))
    rest = [f"{record.score(clean, metric):.4f}" for metric in ("nll", "ece")]
    return (run.name, *accuracies, *rest, duration(record.facts["seconds"]["training"]))


def provenance_table(evidence: Evidence) -> Table:
    """Where the numbers come from: code, versions, machine, time, data."""
    every = {record.folder.name: record for records in evidence.records.values() for record in records.values()}
    facts = [record.facts for record in every.values()]
    made = [fact["provenance"] for fact in facts]
    rows = {
        "runs": f"{len(every)} of {len(evidence.study.runs)}",
        "commit": _distinct(made, "commit"),
        "device": _distinct(made, "device"),
        "torch": _distinct(made, "torch"),
        "python": _distinct(made, "python"),
        "wall time": duration(wall_seconds([(one["began"], one["ended"]) for one in made])),
        "training time, all runs": duration(sum(fact["seconds"]["training"] for fact in facts)),
        "peak memory of a worker": f"{max((one['peak_megabytes'] for one in made), default=0):,} MB",
        "recipes": "; ".join(_recipes(evidence)),
    }
    if facts:
        rows["training set"] = f"{facts[0]['train']['origin']} [{facts[0]['train']['fingerprint']}]"
        tests = facts[0]["tests"]
        rows |= {f"test set {name}": f"{test['origin']} [{test['fingerprint']}]" for name, test in tests.items()}
    caption = "Fingerprints in brackets are hashes of pixels and labels. Wall time is while at least one run trained."
    cells = tuple((value,) for value in rows.values())
    return Table("provenance", "Provenance", caption, ("",), tuple(rows), cells)


def _recipes(evidence: Evidence) -> Iterator[str]:
    for arm in ARMS:
        for record in list(evidence.records[arm].values())[:1]:
            yield f"{arm}: {record.run.recipe}"


def _distinct(made: list[dict], key: str) -> str:
    return ", ".join(sorted({str(one[key]) for one in made})) or "none"


def wall_seconds(spans: list[tuple[float, float]]) -> float:
    """Length of the union of time spans: pauses between sessions do not count."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total
