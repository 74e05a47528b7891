"""The report of the vision study: from the records of its runs to one page. What is missing is a visible hole."""

from collections.abc import Iterator
from pathlib import Path

from distillbias.errors import InputError
from distillbias.report import vision_errors, vision_scores, vision_structure
from distillbias.report.claims import claims_section
from distillbias.report.html import Page, Section
from distillbias.report.published import ARMS
from distillbias.report.runs import missing_runs, provenance_table, runs_table, trials_of
from distillbias.report.vision_evidence import VisionEvidence
from distillbias.report.writing import Gallery
from distillbias.studies.store import Store
from distillbias.studies.study import Study


def claims(evidence: VisionEvidence, gallery: Gallery) -> Section:
    return claims_section(evidence)


SECTIONS = (
    claims,
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
    evidence = VisionEvidence(study, store, data)
    if not any(evidence.records[arm] for arm in ARMS):
        raise InputError(f"nothing to report: no run of {study.title} is finished in {store.where}")
    headline = vision_scores.headline_table(evidence)
    sections = [section(evidence, gallery) for section in SECTIONS]
    every = runs_table(evidence, "Accuracy on the three test sets; NLL and ECE (15 bins) on the test set as it is.")
    return Page(
        title=f"distillbias: {study.title}",
        question=study.question,
        lead=tuple(lead(evidence)),
        headline=headline,
        sections=(*sections, Section("Every run", (), (every,))),
        provenance=provenance_table(evidence, ARMS, "pixels and labels"),
        warnings=(*missing_runs(evidence), *headline.holes),
    )


def lead(evidence: VisionEvidence) -> Iterator[str]:
    """What was trained and tested on, and the one comparison the study is about."""
    first = evidence.first
    if first is None:
        return
    train, clean = first.facts["train"], first.facts["tests"]["clean"]
    yield f"{trials_of(evidence)}, trained on {train['n']:,} images ({train['origin']}), tested on {clean['n']:,}."
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


def _models(evidence: VisionEvidence) -> str:
    """Which models, with their sizes, and where they are smaller than the paper's."""
    told = []
    for arm in ("CNN", "MLP"):
        for record in list(evidence.records[arm].values())[:1]:
            model = record.run.model
            paper = type(model)()
            size = f"The {arm} has {record.facts['parameters']:,} parameters"
            told.append(size + (", as in the paper." if model == paper else f": {model}; the paper's is {paper}."))
    return " ".join(told)
