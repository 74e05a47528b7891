"""Every claim of the paper with a verdict, for the head of a report. The rule is that of `claims_judge`."""

from math import isnan

from distillbias.errors import InputError
from distillbias.report import claims_agreement, claims_lm, claims_vision
from distillbias.report.claims_judge import FEWEST, LEVEL, Claim, Judged, Tested, judge
from distillbias.report.claims_values import Quantities
from distillbias.report.evidence import Evidence
from distillbias.report.html import Section
from distillbias.report.tables import Entry, Table

CASES = {"vision": claims_vision.CLAIMS, "agreement": claims_agreement.CLAIMS, "agreement-lm": claims_lm.CLAIMS}
CONTROLS = "transfer-"  # a study of this prefix has the main arms of the other, and controls
RULE = (
    "A claim is the conjunction of its parts, each a quantity that should be positive or within the bounds told. "
    "For it speaks the largest of its parts' one-sided p-values, against it the smallest times their number; p is "
    "twice the smaller of these two, adjusted after Holm over all claims that could be tested. Supported or "
    f"contradicted: p < {LEVEL:g}. Too few trials: any other p, and the estimate shows which way the trials lean, or "
    f"fewer than {FEWEST} trials. Not run: no part has a value. A claim is judged by the parts that ran."
)
TESTS = (
    "Estimates are means over trials that share their seeds, with 95 % t-intervals that are not adjusted; where a part "
    "compares models of different trials, jackknife over trials; where it compares standard deviations, ln of their "
    "ratio with the interval of the F-test."
)
FLIPS = (
    "The exact sign-flip test assumes less than the t-test, but with n trials its p cannot be below 2 / 2ⁿ: .125 with "
    "4 trials, whatever they show. Verdicts therefore rest on the t-test, which takes differences as normal."
)


def claims(study_name: str) -> tuple[Claim, ...]:
    """The claims that a declared study can judge.

    Raises:
        InputError: a study without claims of the paper.
    """
    case = study_name.removeprefix(CONTROLS)
    if case not in CASES:
        raise InputError(f"no claims for the study {study_name!r}; there are for {', '.join(CASES)}")
    return CASES[case]


def judged(evidence: Evidence) -> list[Judged]:
    """The verdict on every claim of the evidence's study."""
    return judge(Quantities(evidence), claims(evidence.study.name))


def claims_table(evidence: Evidence) -> Table:
    """Rows are claims, with the part that decides."""
    return verdicts_table(judged(evidence))


def claims_section(evidence: Evidence) -> Section:
    """The verdicts, and all parts behind them."""
    found = judged(evidence)
    counts = [f"{sum(each.verdict == verdict for each in found)} {verdict}" for verdict in _verdicts(found)]
    text = f"Of {len(found)} claims of the paper: {', '.join(counts)}. A verdict follows from the numbers alone."
    return Section("The paper's claims", (text,), (verdicts_table(found), parts_table(found)))


def _verdicts(found: list[Judged]) -> list[str]:
    return [v for v in ("supported", "contradicted", "too few trials", "not run") if any(j.verdict == v for j in found)]


def verdicts_table(found: list[Judged]) -> Table:
    """One row a claim; `n` is the smallest over the parts that ran."""
    rows = tuple(f"{each.claim.name} {each.claim.text}" for each in found)
    columns = ("verdict", "estimate [95 %], weakest part", "weakest part", "p (Holm)", "n", "parts", "in the paper")
    cells = tuple(_verdict_cells(each) for each in found)
    return Table("claims", "The paper's claims", f"{RULE} {TESTS}", columns, rows, cells, "claim")


def _verdict_cells(each: Judged) -> tuple[Entry, ...]:
    ran, every, weakest = each.ran, len(each.tested), each.weakest
    parts = str(every) if len(ran) == every else f"{len(ran)} of {every}"
    if weakest is None:
        return each.verdict, "", "", None, None, parts, each.claim.paper
    n = min(part.n for part in ran)
    return each.verdict, interval(weakest), weakest.part.title, _known(each.p_value), n, parts, each.claim.paper


def interval(tested: Tested) -> str:
    """The estimate and its interval, as far as n allows."""
    if isnan(tested.mean):
        return "undefined: no spread"
    known = "" if isnan(tested.low) else f" [{tested.low:+.4f}, {tested.high:+.4f}]"
    return f"{tested.mean:+.4f}{known}".replace("-", "−")


def parts_table(found: list[Judged]) -> Table:
    """One row a part, not adjusted."""
    columns = ("estimate [95 %]", "n", "p", "p for", "p, sign flip")
    rows, cells = [], []
    for each in found:
        for tested in each.tested:
            rows.append(f"{each.claim.name} {tested.part.title}")
            cells.append(_part_cells(tested))
    caption = (
        f"{TESTS} p is two-sided, p for is that of the claim's side; neither is adjusted. {FLIPS} A part without an "
        "entry is not run: an arm, a run, its weights or its training path is not there, or the quantity is undefined."
    )
    return Table("claims-parts", "All parts of the claims", caption, columns, tuple(rows), tuple(cells), "part")


def _part_cells(tested: Tested) -> tuple[Entry, ...]:
    if not tested.n:
        return "not run", None, None, None, None
    p_values = (tested.p_value, tested.between, tested.sign_flip)
    return interval(tested), tested.n, *(_known(p) for p in p_values)


def _known(p_value: float) -> float | None:
    return None if isnan(p_value) else p_value
