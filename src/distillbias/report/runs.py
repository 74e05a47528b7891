"""What every report says of its runs: which are missing, each one's scores, and where the numbers come from."""

from collections.abc import Iterator, Mapping, Sequence

from distillbias.report.evidence import Evidence, Trials
from distillbias.report.tables import Entry, Table
from distillbias.studies.progress import duration
from distillbias.studies.record import Record
from distillbias.studies.run import Run

More = Mapping[str, Mapping[str, Trials]]  # column -> arm -> {trial: value}


def missing_runs(evidence: Evidence) -> tuple[str, ...]:
    """The warning that names the runs that are not done; none when all are."""
    runs = evidence.study.runs
    arms = {
        run.name: f"{arm}, trial {run.trial}" for arm, each in reversed(evidence.study.arms.items()) for run in each
    }
    missing = [arms.get(run.name, run.label) for run in runs if not evidence.store.done(run)]
    return (f"{len(missing)} of {len(runs)} runs are missing: {some(missing)}",) if missing else ()


def some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def trials_of(evidence: Evidence) -> str:
    return f"{evidence.study.trials} trial{'s' * (evidence.study.trials > 1)}"


def runs_table(evidence: Evidence, caption: str, more: More | None = None) -> Table:
    """Per-trial values of every run, with the name to ask `evaluate` for; `more` are columns after the accuracies."""
    more = more or {}
    rows, cells = [], []
    for arm, runs in evidence.study.arms.items():
        for run in runs:
            record = evidence.records[arm].get(run.trial)
            rows.append(arm)
            further = tuple(_four(by_arm[arm].get(run.trial)) for by_arm in more.values())
            cells.append((run.trial, *_run_cells(run, record, evidence, further)))
    titles = (evidence.title(column) for column in evidence.headline)
    columns = ("trial", "run", *titles, *more, "NLL", "ECE", "training")
    return Table("runs", "Every run", caption, columns, tuple(rows), tuple(cells), "arm")


def _run_cells(run: Run, record: Record | None, evidence: Evidence, further: tuple[str, ...]) -> tuple[Entry, ...]:
    if record is None:
        return (run.name, *["missing"] * (len(evidence.headline) + len(further) + 2), "")
    accuracies = [_four(record.score(test, "accuracy")) for test in evidence.headline.values()]
    first = next(iter(evidence.headline.values()))
    rest = [_four(record.score(first, metric)) for metric in ("nll", "ece")]
    return (run.name, *accuracies, *further, *rest, duration(record.facts["seconds"]["training"]))


def _four(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4f}"


def provenance_table(evidence: Evidence, arms: Sequence[str], hashed: str) -> Table:
    """Where the numbers come from: code, versions, machine, time, data. `arms` are those whose recipes are told,
    `hashed` says what fingerprints are made of."""
    every = {record.folder.name: record for records in evidence.records.values() for record in records.values()}
    facts = [record.facts for record in every.values()]
    made = [fact["provenance"] for fact in facts]
    rows = {
        "runs": f"{len(every)} of {len(evidence.study.runs)}",
        "commit": _distinct(made, "commit"),
        "device": _distinct(made, "device"),
        "torch": _distinct(made, "torch"),
        "python": _distinct(made, "python"),
        "products": ", ".join(sorted({one.get("precision", "as the recipes say") for one in made})) or "none",
        "wall time": duration(wall_seconds([(one["began"], one["ended"]) for one in made])),
        "training time, all runs": duration(sum(fact["seconds"]["training"] for fact in facts)),
        "peak memory of a worker": f"{max((one['peak_megabytes'] for one in made), default=0):,} MB",
        **_efforts(facts),
        "recipes": "; ".join(_recipes(evidence, arms)),
    }
    if others := _of_another_teacher(evidence):
        rows["learned from a teacher whose record here is of other weights: it was trained again"] = "; ".join(others)
    if facts:
        rows["training set"] = f"{facts[0]['train']['origin']} [{facts[0]['train']['fingerprint']}]"
        tests = facts[0]["tests"]
        rows |= {f"test set {name}": f"{test['origin']} [{test['fingerprint']}]" for name, test in tests.items()}
    caption = f"Fingerprints in brackets are hashes of {hashed}. Wall time is while at least one run trained."
    cells = tuple((value,) for value in rows.values())
    return Table("provenance", "Provenance", caption, ("",), tuple(rows), cells)


def _efforts(facts: list[dict]) -> dict[str, str]:
    """How fast, by the records that say it; those of earlier versions do not."""
    told = [fact["speed"] for fact in facts if "speed" in fact]
    if not told:
        return {}
    shares = [one["processor"] for one in told]
    found = {"share of its threads that a worker used in training": f"{min(shares):.0%} to {max(shares):.0%}"}
    for what, key in (("examples", "examples_per_second"), ("words", "words_per_second")):
        if rates := [one[key] for one in told if key in one]:
            found[f"{what} a second, of one worker"] = f"{min(rates):,.0f} to {max(rates):,.0f}"
    return found


def _of_another_teacher(evidence: Evidence) -> list[str]:
    """Students whose teacher has since been trained again, on another machine or by another version, say."""
    found = []
    for arm, records in evidence.records.items():
        for trial, record in records.items():
            taught, teacher = record.facts.get("teacher"), record.run.teacher
            # the weights of one that taught untrained are in no record
            if taught and teacher and taught.get("control") != "untrained" and evidence.store.done(teacher):
                if taught["weights"] != evidence.store.record(teacher).facts["weights"]:
                    found.append(f"{arm}, trial {trial}")
    return found


def _recipes(evidence: Evidence, arms: Sequence[str]) -> Iterator[str]:
    for arm in arms:
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
