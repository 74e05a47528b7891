"""Claims about agreement: in a world as the paper tells it, with two arms exchanged, in noise, and with holes."""

from dataclasses import replace

import numpy as np
import pytest
from tests.report import claims_made as made

from distillbias.analysis.overlap import error_consistency, jaccard
from distillbias.report import claims_agreement, claims_lm
from distillbias.report.claims import claims_section
from distillbias.report.claims_judge import Judged, judge
from distillbias.report.claims_values import Quantities
from distillbias.report.published_agreement import CLASSIFICATION, LANGUAGE_MODEL

CASES = {
    "agreement": (made.sentence_study(), made.sentence_records(), made.sentence_scores(), claims_agreement.CLAIMS),
    "agreement-lm": (made.word_study(), made.word_records(), made.word_scores(), claims_lm.CLAIMS),
}
TAUGHT, SELF = "LSTM → Transformer", "Transformer → Transformer"
EXCHANGED = {
    "agreement": {
        **dict.fromkeys(("C4", "C5", "C6", "C8", "C13a", "C32", "C33"), ("LSTM", "Transformer")),
        **dict.fromkeys(("C12a", "C14b", "C14c", "C35"), (TAUGHT, SELF)),
        **dict.fromkeys(("C12b", "C14a", "C15"), (TAUGHT, "Transformer")),
        "C13b": ("LSTM → LSTM", "LSTM"),
    },
    "agreement-lm": {
        **dict.fromkeys(("C1", "C7"), ("LSTM", "Transformer")),
        "C2": ("LSTM", "Small Transformer"),
        "C3": ("Transformer", "Small Transformer"),
        **dict.fromkeys(("C9a", "C16"), (TAUGHT, "Transformer")),
        "C9b": ("LSTM → Small Transformer", "Small Transformer"),
        "C10": ("LSTM → LSTM", "LSTM"),
        "C11": ("Small LSTM → Transformer", "Transformer"),
        "C35": (TAUGHT, SELF),
    },
}
SWAPS = [(case, arms) for case, entries in EXCHANGED.items() for arms in sorted(set(entries.values()))]


def judged(case: str, study=None, records=None, scores=None) -> dict[str, Judged]:
    declared, all_records, all_scores, claims = CASES[case]
    evidence = made.of_agreement(
        study or declared,
        all_records if records is None else records,
        all_scores if scores is None else scores,
    )
    return {each.claim.name: each for each in judge(Quantities(evidence), claims)}


def verdicts(found: dict[str, Judged]) -> dict[str, str]:
    return {name: each.verdict for name, each in found.items()}


@pytest.mark.parametrize("case", CASES)
def test_all_hold_where_they_were_made_to(case: str) -> None:
    found = judged(case)
    assert verdicts(found) == dict.fromkeys(found, "supported")
    assert all(each.ran == each.tested and all(part.n == made.TRIALS for part in each.ran) for each in found.values())


@pytest.mark.parametrize(("case", "arms"), SWAPS)
def test_what_two_exchanged_arms_contradict(case: str, arms: tuple[str, str]) -> None:
    _, records, scores, claims = CASES[case]
    found = judged(case, None, made.exchanged(records, *arms), made.exchanged(scores, *arms))
    wrong = [name for name, exchanged in EXCHANGED[case].items() if exchanged == arms]
    assert {name: found[name].verdict for name in wrong} == dict.fromkeys(wrong, "contradicted")
    assert EXCHANGED[case].keys() | {"C17"} >= {claim.name for claim in claims}


def test_students_amid_their_likes_contradict_c17() -> None:
    """Where Transformers scatter and the LSTM's student stands in their middle."""
    records = {arm: dict(found) for arm, found in CASES["agreement"][1].items()}
    for trial in range(made.TRIALS):
        for arm, noise in (("Transformer", 0.3), (TAUGHT, 0.0)):
            activations = made.inside(0.0, noise, arm, trial).astype(np.float32)
            records[arm][trial] = replace(records[arm][trial], inside=activations)
    assert judged("agreement", None, records)["C17"].verdict == "contradicted"


@pytest.mark.parametrize("case", CASES)
def test_noise_tells_nothing(case: str) -> None:
    _, records, scores, claims = CASES[case]
    lost = {arm: {t: made.noisy(each, t, arm, 0.3) for t, each in found.items()} for arm, found in records.items()}
    noise = {key: made.around(0.5, 0.3, "noise", *key) for key in scores}
    for (arm, name), values in noise.items():  # means differ, too, as by chance
        shift = float(made.random("shift", arm, name).normal(0, 0.3 / made.TRIALS**0.5))
        noise[arm, name] = {trial: value + shift for trial, value in values.items()}
    found = verdicts(judged(case, None, lost, noise))
    expected = dict.fromkeys(found, "too few trials")
    if case == "agreement-lm":
        expected["C7"] = found["C7"] = "training scores of .5 are not good"
    assert found == expected


@pytest.mark.parametrize("case", CASES)
def test_two_trials_are_too_few_and_none_is_not_run(case: str) -> None:
    _, records, scores, _ = CASES[case]
    for trials, verdict in ((2, "too few trials"), (0, "not run")):
        fewer = {arm: {t: each for t, each in found.items() if t < trials} for arm, found in records.items()}
        less = {key: {t: value for t, value in values.items() if t < trials} for key, values in scores.items()}
        found = judged(case, None, fewer, less)
        assert verdicts(found) == dict.fromkeys(found, verdict)


@pytest.mark.parametrize("case", CASES)
def test_a_missing_arm_leaves_its_parts_out(case: str) -> None:
    study, records, scores, _ = CASES[case]
    for arm in ("LSTM", "Transformer", TAUGHT, SELF):
        less = replace(study, arms={name: runs for name, runs in study.arms.items() if name != arm})
        others = {name: found for name, found in records.items() if name != arm}
        found = judged(case, less, others, {key: value for key, value in scores.items() if key[0] != arm})
        assert set(verdicts(found).values()) <= {"supported", "not run"}, arm
        assert any(len(each.ran) < len(each.tested) for each in found.values())


def test_one_size_of_each_language_model_is_judged_by_what_there_is() -> None:
    study, records, scores, _ = CASES["agreement-lm"]
    one = replace(study, arms={arm: runs for arm, runs in study.arms.items() if "Small" not in arm})
    found = judged("agreement-lm", one, {arm: each for arm, each in records.items() if "Small" not in arm})
    absent = {"C2", "C3", "C9b", "C11"}
    assert verdicts(found) == {name: "not run" if name in absent else "supported" for name in found}
    counts = {name: (len(each.ran), len(each.tested)) for name, each in found.items() if name not in absent}
    assert counts == {"C1": (2, 8), "C7": (5, 10), "C9a": (2, 4), "C10": (2, 4), "C16": (2, 8), "C35": (3, 12)}


PAPER = {
    "agreement": (CLASSIFICATION, {"C14c", "C6"}, {"C4", "C8", "C12a", "C12b", "C13a", "C13b"}),
    "agreement-lm": (LANGUAGE_MODEL, {"C9b"}, {"C1", "C2", "C3", "C7", "C9a", "C10", "C11"}),
}


@pytest.mark.parametrize("case", PAPER)
def test_the_papers_numbers_bear_out_ticks_and_crosses(case: str) -> None:
    """Published means and deviations, the latter made so small that they cannot hide a difference."""
    numbers, crossed, ticked = PAPER[case]
    scores = {
        (arm, metric): made.around(number.mean, 1e-3 * (number.sd or 1e-3), arm, metric)
        for (arm, metric), number in numbers.items()
    }
    found = judged(case, None, {}, scores)
    assert {name: found[name].verdict for name in ticked} == dict.fromkeys(ticked, "supported")
    assert all(found[name].claim.paper.startswith("✓") for name in ticked)
    assert all("✗" in found[name].claim.paper for name in crossed)
    for name in crossed - {"C6"}:
        assert found[name].verdict == "contradicted"
    a = [part for part in found["C6"].ran if "A-accuracy: Transformer-seq" in part.part.text] if "C6" in found else []
    assert all(part.mean < 0 for part in a) and len(a) == ("C6" in found)


def test_overlaps_are_of_the_right_models() -> None:
    study, records, scores, _ = CASES["agreement"]
    quantities = Quantities(made.of_agreement(study, records, scores))
    wrong = {
        (arm, t): record.rows.logits[:, 1] > record.rows.logits[:, 0]
        for arm in ("LSTM", TAUGHT)
        for t, record in records[arm].items()
    }
    own = quantities.overlap(TAUGHT, "LSTM", "numpred-val", "Jaccard")
    assert own[3] == jaccard(wrong[TAUGHT, 3], wrong["LSTM", 3])
    across = quantities.overlap_across(TAUGHT, "LSTM", "numpred-val", "kappa")
    pair = [error_consistency(wrong[TAUGHT, i], wrong["LSTM", j]) for i, j in ((2, 5), (5, 2))]
    assert across[2, 5] == pytest.approx(sum(pair) / 2) and len(across) == made.TRIALS * (made.TRIALS - 1) / 2


def test_reliability_is_measured_as_it_is_drawn() -> None:
    """Errors are made with about these excesses at every confidence: Transformers .2, students .05, LSTMs 0."""
    diagonal, curve = judged("agreement")["C15"].tested
    assert diagonal.mean == pytest.approx(0.15, abs=0.02) and curve.mean == pytest.approx(0.15, abs=0.02)


def test_the_section_says_how_many_hold() -> None:
    study, records, scores, claims = CASES["agreement-lm"]
    section = claims_section(made.of_agreement(study, records, scores))
    assert section.paragraphs[0].startswith(f"Of {len(claims)} claims of the paper: {len(claims)} supported.")
