"""Sections on probes: how teacher, independent model and student behave as images move and as words are changed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from distillbias.evaluation.agreement import GroupScore
from distillbias.evaluation.probes import EquivarianceProbe, ScaleProbe, ShiftProbe, by_distance, within
from distillbias.evaluation.sentence_probes import PHRASES, LengthProbe, Occlusion, PlaceProbe
from distillbias.report.agreement_evidence import AgreementEvidence
from distillbias.report.evidence import Evidence, Trials
from distillbias.report.figures_probes import Curves, draw_curves, draw_shift_maps
from distillbias.report.figures_style import student_of
from distillbias.report.html import Section
from distillbias.report.runs import some
from distillbias.report.tables import Entry, Table
from distillbias.report.writing import Gallery
from distillbias.studies import probing
from distillbias.studies.run import Run
from distillbias.studies.store import Store
from distillbias.tasks.agreement_classification import AgreementClassification
from distillbias.tasks.vision import CLEAN

NEAR = 3  # pixels
FEWEST = 20  # sentences behind a point that is drawn
SMALL = 0.7  # MNIST-C's published scale
Found = TypeVar("Found")
Probed = dict[str, dict[int, Found]]  # arm -> trial -> probe
Column = dict[str, Trials]  # arm -> {trial: value}


def vision_probes(evidence: Evidence, gallery: Gallery, arms: Sequence[str]) -> Section:
    """What moving and resizing does to answers and representations; `arms` are drawn in their order."""
    title = "Probes: moved and resized images"
    arms = [arm for arm in arms if arm in evidence.study.arms]
    shifts: Probed[ShiftProbe] = _probed(evidence, arms, probing.shift)
    scales: Probed[ScaleProbe] = _probed(evidence, arms, probing.scale)
    inside: Probed[EquivarianceProbe] = _probed(evidence, arms, probing.equivariance)
    notes = _unprobed(evidence, arms, shifts)
    if not any(shifts.values()):
        return Section(title, (*notes, "No run of this section can be probed."))
    maps = {
        "error rate": _mean_maps(shifts, lambda probe: probe.error),
        "output change": _mean_maps(shifts, lambda probe: probe.change),
    }
    pictures = (
        gallery.add(
            draw_shift_maps(maps, NEAR),
            "probe-shifts",
            "Answers to moved images",
            f"Each square is an offset of up to {probing.REACH} pixels on each axis, mean over trials; the middle is "
            f"the image as it is. Above: error rate. Below: total-variation distance from the answer to the image as "
            f"it is. The line is where the value is one half, the frame is at {NEAR} pixels; far offsets push ink out "
            "of the image.",
        ),
        gallery.add(
            draw_curves(_vision_panels(shifts, scales, inside)),
            "probe-curves",
            "Against distance and size",
            "Thin lines are single trials, thick ones their mean. Distance is the larger of the two axes'; all offsets "
            "of a distance are averaged.",
        ),
    )
    text = (
        f"Probed on {_used(evidence, CLEAN, probing.IMAGES)} fixed test images. Output change is the mean "
        "total-variation distance between a model's softmax and its own on the image as it is: a model may stay wrong "
        "without changing, or change without becoming wrong.",
        "Representation: how far the penultimate activations go when the image moves, as a share of how far apart "
        "two images are (0 is invariant). They are vectors, which have no places to move, so it is invariance that is "
        "measured there. Maps: equivariance of the last layer that has places, ‖f(Tx) − Tf(x)‖ / ‖f(Tx)‖ inside, for "
        "offsets that are multiples of its stride; where nothing is padded, weights shared over places make it 0 "
        "whatever the training, and a model without such a layer has none.",
    )
    return Section(title, (*notes, *text), (_vision_table(evidence, shifts, scales, inside),), pictures)


def sentence_probes(evidence: AgreementEvidence, gallery: Gallery, arms: Sequence[str]) -> Section:
    """Which words before the verb an answer hangs on; for classifiers. `arms` are drawn in their order."""
    title = "Probes: sentences"
    arms = [arm for arm in arms if arm in evidence.study.arms]
    if not isinstance(evidence.task, AgreementClassification):
        return Section(title, ("These probes are for models that classify, not for language models.",))
    hidden: Probed[Occlusion] = _probed(evidence, arms, probing.occlusion)
    places: Probed[PlaceProbe] = _probed(evidence, arms, probing.place)
    lengths: Probed[LengthProbe] = _probed(evidence, arms, probing.length)
    notes = _unprobed(evidence, arms, hidden)
    groups = evidence.by_group(arms, evidence.task.by_attractors)
    panels = _sentence_panels(groups, hidden, places, lengths)
    if not any(hidden.values()):
        return Section(title, (*notes, "No run of this section can be probed."))
    picture = gallery.add(
        draw_curves(panels),
        "probe-sentences",
        "What an answer hangs on",
        "Thin lines are single trials, thick ones their mean. Occlusion: one word becomes <unk>; the change is that of "
        "the probability of the right number.",
    )
    test = probing.distances_of(evidence.task)
    text = [
        f"Occlusion is on {_used(evidence, test, probing.SENTENCES)} fixed sentences of {test}; a word k "
        f"words before the verb is replaced where there is one. Points of fewer than {FEWEST} sentences are not drawn.",
    ]
    if any(places.values()):
        text.append(
            f"Place and length are on made sentences: a subject and phrases of a preposition and a noun ({PHRASES} for "
            f"the place), {probing.MADE} for each point, of words that the model's vocabulary has, put together "
            "whatever their sense. For the place all nouns but the attractor have the subject's number; for "
            "the length either all have it, or none but the subject (attractors only). Such a sentence is longer "
            "than any in training by having more phrases, for the embedded grammar makes no long sentences without "
            "attractors; so length is tested together with a run of phrases that training hardly has."
        )
    else:
        text.append("Place and length are left out: the vocabulary knows too few words of the embedded lexicon.")
    return Section(title, (*notes, *text), (_sentence_table(evidence, hidden, places, lengths),), (picture,))


def _probed(
    evidence: Evidence, arms: Sequence[str], probe: Callable[[Run, Store, Path | None], Found | None]
) -> Probed[Found]:
    """What of the finished runs can be probed."""
    found = {
        arm: {t: probe(run, evidence.store, evidence.data) for t, run in evidence.runs(arm).items()} for arm in arms
    }
    return {arm: {t: each for t, each in trials.items() if each is not None} for arm, trials in found.items()}


def _unprobed(evidence: Evidence, arms: Sequence[str], found: Mapping[str, Mapping[int, object]]) -> tuple[str, ...]:
    """The sentence that names the finished runs that are left out."""
    left = [f"{arm}, trial {t}" for arm in arms for t in evidence.runs(arm) if t not in found[arm]]
    return (f"Left out, as they came without their weights: {some(left)}.",) if left else ()


def _used(evidence: Evidence, test: str, most: int) -> str:
    """How many examples of a test set are probed on."""
    assert evidence.first is not None
    return f"{min(most, evidence.first.facts['tests'][test]['n']):,}"


def _mean_maps(shifts: Probed[ShiftProbe], of: Callable[[ShiftProbe], np.ndarray]) -> dict[str, np.ndarray]:
    return {arm: np.mean([of(each) for each in trials.values()], axis=0) for arm, trials in shifts.items() if trials}


def _rows(probed: Probed[Found], of: Callable[[Found], np.ndarray]) -> dict[str, list[np.ndarray]]:
    """{arm: one row of values a trial}."""
    return {arm: [np.asarray(of(each), float) for each in trials.values()] for arm, trials in probed.items() if trials}


def _column(probed: Probed[Found], of: Callable[[Found], float]) -> Column:
    """{arm: {trial: value}}; nan where it is undefined."""
    return {arm: {t: float(of(each)) for t, each in trials.items()} for arm, trials in probed.items()}


def _first(probed: Mapping[str, Mapping[int, Found]]) -> Found | None:
    """Any of them: what is asked of it is the same for all."""
    return next((each for trials in probed.values() for each in trials.values()), None)


def _vision_panels(
    shifts: Probed[ShiftProbe], scales: Probed[ScaleProbe], inside: Probed[EquivarianceProbe]
) -> list[Curves]:
    pixels, far, size = np.arange(probing.REACH + 1), probing.DISTANCES, np.array(probing.SCALES)
    moved, sized = "distance moved, pixels", "size, 1 is as it is"
    error, change = "error rate", "output change"
    return [
        Curves("Moved: errors", pixels, moved, error, _rows(shifts, lambda p: by_distance(p.error))),
        Curves("Moved: answers", pixels, moved, change, _rows(shifts, lambda p: by_distance(p.change))),
        Curves("Moved: representation", np.array(far), moved, "change of representation", _rows(inside, _by_far)),
        Curves("Resized: errors", size, sized, error, _rows(scales, lambda p: p.error)),
        Curves("Resized: answers", size, sized, change, _rows(scales, lambda p: p.change)),
    ]


def _by_far(probe: EquivarianceProbe) -> np.ndarray:
    """Invariance at each of DISTANCES, mean over directions."""
    far = np.abs(probe.offsets).max(1)
    return np.array([probe.invariance[far == each].mean() for each in probing.DISTANCES])


def _last_map(probe: EquivarianceProbe) -> float:
    """Equivariance of the last map, mean over the offsets that are multiples of its stride; nan without maps."""
    if not probe.maps:
        return float("nan")
    errors = list(probe.maps.values())[-1]
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else float("nan")


def _vision_table(
    evidence: Evidence, shifts: Probed[ShiftProbe], scales: Probed[ScaleProbe], inside: Probed[EquivarianceProbe]
) -> Table:
    small = probing.SCALES.index(SMALL)
    columns = {
        f"error within {NEAR} pixels": _column(shifts, lambda p: within(p.error, NEAR)),
        f"output change within {NEAR} pixels": _column(shifts, lambda p: within(p.change, NEAR)),
        "change of representation": _column(inside, lambda p: float(p.invariance.mean())),
        "equivariance error of the last map": _column(inside, _last_map),
        f"error at size {SMALL}": _column(scales, lambda p: p.error[small]),
        f"output change at size {SMALL}": _column(scales, lambda p: p.change[small]),
    }
    caption = (
        f"Means over all offsets of 1 to {NEAR} pixels on either axis; representation and map over offsets of "
        f"{probing.DISTANCES[0]} to {probing.DISTANCES[-1]} pixels in eight directions. Lower is more invariant. "
        "Differences are within trials."
    )
    return _table(evidence, "probes", "Moved and resized images", caption, columns)


def _sentence_panels(
    groups: Mapping[str, Mapping[int, Mapping[int, GroupScore]]],
    hidden: Probed[Occlusion],
    places: Probed[PlaceProbe],
    lengths: Probed[LengthProbe],
) -> list[Curves]:
    accuracy, change, before = "accuracy", "change of probability", "words before the verb"
    attractors = next((list(each) for trials in groups.values() for each in trials.values()), [])
    by_count = {
        arm: [np.array([score.accuracy for score in each.values()]) for each in trials.values()]
        for arm, trials in groups.items()
        if trials
    }
    steps = np.arange(1, probing.WORDS + 1)
    panels = [
        Curves("By number of attractors", attractors, "attractors", accuracy, by_count),
        Curves("Occlusion: any word", steps, before, change, _rows(hidden, lambda p: _enough(p.change, p.n))),
        Curves(
            "Occlusion: the subject", steps, before, change, _rows(hidden, lambda p: _enough(p.subject, p.subject_n))
        ),
    ]
    place, length = _first(places), _first(lengths)
    if place is not None:
        where = "words from the attractor to the verb"
        panels.append(
            Curves("By place of the attractor", place.places, where, accuracy, _rows(places, lambda p: p.accuracy))
        )
    if length is not None:
        mark = float(length.longest), "longest in training"
        panels += [
            Curves(title, length.lengths, before, accuracy, _rows(lengths, of), mark)
            for title, of in (
                ("By length, no attractor", lambda p: p.without),
                ("By length, attractors only", lambda p: p.attracted),
            )
        ]
    return panels


def _enough(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """nan where fewer than FEWEST sentences stand behind a value: such a point would be noise."""
    return np.where(n >= FEWEST, values, np.nan)


def _sentence_table(
    evidence: Evidence, hidden: Probed[Occlusion], places: Probed[PlaceProbe], lengths: Probed[LengthProbe]
) -> Table:
    columns = {
        "word before the verb occluded": _column(hidden, lambda p: p.change[0]),
        "subject occluded": _column(hidden, lambda p: p.whole_subject),
    }
    if any(places.values()):
        columns |= {
            "no attractor": _column(places, lambda p: p.without),
            "attractor at the verb": _column(places, lambda p: p.accuracy[0]),
            "attractor farthest away": _column(places, lambda p: p.accuracy[-1]),
            "longer than training, no attractor": _column(lengths, lambda p: float(p.without[p.beyond].mean())),
            "longer than training, attractors only": _column(lengths, lambda p: float(p.attracted[p.beyond].mean())),
        }
    caption = (
        "Occluded: mean change of the probability of the right number, the higher the more the answer hangs on that "
        "word. The other columns are accuracies on made sentences. Differences are within trials."
    )
    return _table(evidence, "probes", "What an answer hangs on", caption, columns)


def _table(evidence: Evidence, name: str, title: str, caption: str, columns: Mapping[str, Column]) -> Table:
    """Arms, then each student minus the same model from labels, trial by trial."""
    arms = list(next(iter(columns.values())))
    rows: dict[str, tuple[Entry, ...]] = {}
    for arm in arms:
        rows[arm] = tuple(_cell(evidence, column[arm]) for column in columns.values())
    for arm in arms:
        alone = student_of(arm)
        if alone != arm and alone in arms:
            gains = (_minus(column[arm], column[alone]) for column in columns.values())
            rows[f"{arm} minus {alone}"] = tuple(_cell(evidence, gain) for gain in gains)
    return Table(name, title, caption, tuple(columns), tuple(rows), tuple(rows.values()), "model")


def _minus(ones: Trials, others: Trials) -> Trials:
    return {trial: ones[trial] - others[trial] for trial in ones if trial in others}


def _cell(evidence: Evidence, values: Trials) -> Entry:
    """Empty where the quantity is undefined for all that were probed, such as maps of a model that has none."""
    known = {trial: value for trial, value in values.items() if np.isfinite(value)}
    return evidence.cell_of(known, 3) if known or not values else None
