"""The two present forms of an English verb: told from data where possible, else by rule.

is / are      carries / carry      reaches / reach      keeps / keep
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from distillbias.data.sentences import Sentences

IRREGULAR = {"is": "are", "was": "were", "has": "have", "does": "do", "goes": "go"}  # singular: plural
_TO_SINGULAR = {plural: singular for singular, plural in IRREGULAR.items()}
_VOWELS = "aeiou"


def third_person(plural: str) -> str:
    """The singular form of a plural one, by rule: keep -> keeps, carry -> carries, reach -> reaches."""
    if plural in _TO_SINGULAR:
        return _TO_SINGULAR[plural]
    before = plural[-2:-1]
    if plural.endswith("y") and before not in _VOWELS:
        return plural[:-1] + "ies"
    if plural.endswith(("s", "x", "zz", "ch", "sh")) or (plural.endswith("o") and before not in _VOWELS):
        return plural + "es"
    return plural + "s"


def _base(singular: str) -> str:
    """The plural form of a singular one, by rule; "" if it has not the look of one."""
    if singular in IRREGULAR:
        return IRREGULAR[singular]
    if singular.endswith("ies"):
        return singular[:-1] if len(singular) < 5 else singular[:-3] + "y"  # dies, lies, ties; carries
    if singular.endswith(("sses", "xes", "zzes", "ches", "shes", "oes")):
        return singular[:-2]
    return singular[:-1] if singular.endswith("s") and not singular.endswith("ss") else ""


def other_form(form: str, plural: bool, pairs: Mapping[str, str]) -> str:
    """The form of the same verb in the other number: from `pairs` {singular: plural}, else by rule.

    "" where the form has not the look of its number ("occurs" tagged as plural: a slip of the tagger).
    """
    return _other(form, plural, pairs, _turned(pairs))


def _turned(pairs: Mapping[str, str]) -> dict[str, str]:
    """{plural: singular}; of several singular forms the first."""
    return {many: one for one, many in reversed(list(pairs.items()))}


def _other(form: str, plural: bool, pairs: Mapping[str, str], turned: Mapping[str, str]) -> str:
    if not form:
        return ""
    if plural:
        return turned.get(form) or (third_person(form) if is_plural(form) else "")
    return pairs.get(form) or _base(form)


def other_forms(forms: Sequence[str], plural: Sequence[bool]) -> list[str]:
    """`other_form` of each; the plural forms among them tell the singular ones: with carry, carries is no riddle."""
    seen = set(zip(forms, plural, strict=True))
    pairs = {third_person(form): form for form, many in sorted(seen) if many and is_plural(form)}
    turned = _turned(pairs)
    others = {(form, many): _other(form, many, pairs, turned) for form, many in seen}
    return [others[form, many] for form, many in zip(forms, plural, strict=True)]


def is_plural(right: str, wrong: str = "") -> bool:
    """Whether `right` is the plural form, told by its shape and that of `wrong`, its other form, where there is one.

    Without `wrong`, a form that ends in s is singular, but for -ss and -us (discuss, focus).
    """
    if wrong and third_person(right) == wrong:
        return True
    if (wrong and third_person(wrong) == right) or right in IRREGULAR:
        return False
    return right in _TO_SINGULAR or not right.endswith("s") or right.endswith(("ss", "us"))


def verb_pairs(sentences: Iterable[Sentences]) -> dict[str, str]:
    """{singular form: plural form} from all rows that know both; each form is in one pair at most.

    A form with several partners gets the most frequent one that is free; at equal counts, alphabetical order decides.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for part in sentences:
        for right, wrong, plural in zip(part.right, part.wrong, part.plural.tolist(), strict=True):
            if right and wrong:
                counts[(wrong, right) if plural else (right, wrong)] += 1
    pairs: dict[str, str] = {}
    taken: set[str] = set()
    for (one, many), _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if not taken & {one, many}:
            pairs[one] = many
            taken |= {one, many}
    return pairs
