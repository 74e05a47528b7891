"""Claims about CNN and MLP: in a world as the paper tells it, with two arms exchanged, in noise, and with holes."""

from dataclasses import replace

import pytest
from tests.report import claims_made as made

from distillbias.report import claims_values
from distillbias.report.claims import claims_section, claims_table
from distillbias.report.claims_judge import Judged, judge
from distillbias.report.claims_values import Quantities
from distillbias.report.claims_vision import CLAIMS
from distillbias.report.published import PUBLISHED
from distillbias.report.vision_evidence import VisionEvidence

STUDY = made.image_study()
RECORDS = made.image_records()
EXCHANGED = {  # with these two arms exchanged the claim is false
    **dict.fromkeys(("C18", "C19", "C20", "C26", "C27b", "C27c", "C29"), ("CNN", "MLP")),
    **dict.fromkeys(("C21", "C22", "C23", "C27a", "C28", "C30", "C31", "C34"), ("CNN → MLP", "MLP")),
    "C24": ("MLP → MLP", "MLP"),
    "C25": ("CNN → CNN", "CNN"),
    "C35": ("CNN → MLP", "MLP → MLP"),
}
NAMES = [claim.name for claim in CLAIMS]


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    made.with_lines(monkeypatch, made.lines(STUDY, {}))


def judged(evidence: VisionEvidence) -> dict[str, Judged]:
    return {each.claim.name: each for each in judge(Quantities(evidence), CLAIMS)}


def test_all_hold_where_they_were_made_to() -> None:
    found = judged(made.vision(STUDY, RECORDS))
    assert {name: each.verdict for name, each in found.items()} == dict.fromkeys(NAMES, "supported")
    assert all(each.ran == each.tested and all(part.n == made.TRIALS for part in each.ran) for each in found.values())


@pytest.mark.parametrize("arms", sorted(set(EXCHANGED.values())))
def test_what_two_exchanged_arms_contradict(arms: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    made.with_lines(monkeypatch, made.lines(STUDY, dict([arms, arms[::-1]])))
    found = judged(made.vision(STUDY, made.exchanged(RECORDS, *arms)))
    wrong = [name for name, exchanged in EXCHANGED.items() if exchanged == arms]
    assert {name: found[name].verdict for name in wrong} == dict.fromkeys(wrong, "contradicted")
    assert set(EXCHANGED) == set(NAMES)


def test_noise_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made.with_lines(monkeypatch, made.lines(STUDY, {}, sd=4.0))
    records = {arm: {t: made.noisy(each, t, arm, 0.3) for t, each in RECORDS[arm].items()} for arm in RECORDS}
    found = judged(made.vision(STUDY, records))
    assert {name: each.verdict for name, each in found.items()} == dict.fromkeys(NAMES, "too few trials")


def test_two_trials_are_too_few_and_none_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for trials, verdict in ((2, "too few trials"), (0, "not run")):
        records = {arm: {t: each for t, each in found.items() if t < trials} for arm, found in RECORDS.items()}
        monkeypatch.setattr(made.MadeStore, "has_weights", lambda self, run, trials=trials: run.trial < trials)
        found = judged(made.vision(STUDY, records))
        assert {name: each.verdict for name, each in found.items()} == dict.fromkeys(NAMES, verdict)


@pytest.mark.parametrize("arm", made.IMAGES)
def test_a_missing_arm_leaves_its_parts_out(arm: str) -> None:
    """Whether the study never had it or none of its runs is done."""
    declared = replace(STUDY, arms={name: runs for name, runs in STUDY.arms.items() if not name.startswith(arm)})
    others = {name: each for name, each in RECORDS.items() if name != arm}
    for found in (judged(made.vision(declared, others)), judged(made.vision(STUDY, others))):
        assert {each.verdict for each in found.values()} <= {"supported", "not run"}
    if arm == "CNN → MLP":
        assert found["C21"].verdict == found["C28"].verdict == "not run" and found["C18"].verdict == "supported"
    if arm == "CNN → CNN":
        assert len(found["C25"].ran) == 3 and len(found["C25"].tested) == 6


def test_no_weights_no_basins_and_no_stages_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made.MadeStore, "has_weights", lambda self, run: False)
    packed = {arm: {t: replace(each, path=None) for t, each in found.items()} for arm, found in RECORDS.items()}
    found = judged(made.vision(STUDY, packed))
    assert {name for name, each in found.items() if each.verdict == "not run"} == {"C28", "C29", "C30", "C31"}


def test_barriers_are_of_the_second_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(claims_values, "line", lambda *call: asked.append(call) or made.lines(STUDY, {})(*call))
    heights = Quantities(made.vision(STUDY, RECORDS)).barrier("CNN → MLP", "MLP")
    assert [(call[0], call[1]) for call in asked] == [
        (STUDY.arms["CNN → MLP"][t], STUDY.arms["MLP, second order"][t]) for t in range(made.TRIALS)
    ]
    assert heights == pytest.approx(dict.fromkeys(range(made.TRIALS), 1.5), rel=0.02)


def test_no_order_of_trials_changes_a_verdict() -> None:
    backwards = {arm: dict(reversed(found.items())) for arm, found in RECORDS.items()}
    ours, theirs = judged(made.vision(STUDY, RECORDS)), judged(made.vision(STUDY, backwards))
    assert [each.verdict for each in ours.values()] == [each.verdict for each in theirs.values()]
    assert [each.p_value for each in ours.values()] == pytest.approx([each.p_value for each in theirs.values()])


def test_the_papers_numbers_bear_out_what_is_ticked() -> None:
    """Published accuracies as the means: C18, C21, C24 and C25 are ticked for Tables 5a and 6a."""
    records = {arm: {t: replace(each, scores={}) for t, each in found.items()} for arm, found in RECORDS.items()}
    for (arm, column, metric), number in PUBLISHED.items():
        if metric == "accuracy":
            test = made.COLUMNS[column]
            for trial, value in made.around(number.mean, 1e-5, arm, column).items():
                records[arm][trial].scores[test, "accuracy"] = value
    ticked = [claim for claim in CLAIMS if claim.name in ("C18", "C21", "C24", "C25")]
    found = judge(Quantities(made.vision(STUDY, records)), ticked)
    assert [each.verdict for each in found] == ["supported"] * 4 and all(c.paper.startswith("✓") for c in ticked)


def test_the_section_counts_and_lists() -> None:
    evidence = made.vision(STUDY, RECORDS)
    section = claims_section(evidence)
    assert section.paragraphs[0].startswith(f"Of {len(CLAIMS)} claims of the paper: {len(CLAIMS)} supported.")
    verdicts, parts = section.tables
    assert verdicts == claims_table(evidence) and len(verdicts.rows) == len(CLAIMS)
    assert "C21 CNN-taught MLPs beat MLPs from labels on all three sets" in verdicts.rows
    assert len(parts.rows) == sum(len(claim.parts) for claim in CLAIMS)
