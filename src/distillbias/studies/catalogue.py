"""The declared studies by name. A new one: a file beside `vision.py` and a line here."""

from collections.abc import Callable
from typing import NamedTuple

from distillbias.errors import InputError
from distillbias.studies import (
    agreement,
    agreement_lm,
    dial_agreement,
    dial_vision,
    transfer_agreement,
    transfer_vision,
    vision,
)
from distillbias.studies.study import Study

SCALES = ("demo", "laptop", "paper")


class Entry(NamedTuple):
    question: str
    build: Callable[[str, int | None, int | None], Study]  # (scale, trials, epochs)


STUDIES: dict[str, Entry] = {
    "vision": Entry(vision.QUESTION, vision.study),
    "agreement": Entry(agreement.QUESTION, agreement.study),
    "agreement-lm": Entry(agreement_lm.QUESTION, agreement_lm.study),
    "transfer-vision": Entry(transfer_vision.QUESTION, transfer_vision.study),
    "transfer-agreement": Entry(transfer_agreement.QUESTION, transfer_agreement.study),
    "dial-vision": Entry(dial_vision.QUESTION, dial_vision.study),
    "dial-agreement": Entry(dial_agreement.QUESTION, dial_agreement.study),
}


def find_study(name: str, scale: str, trials: int | None = None, epochs: int | None = None) -> Study:
    """The declared study `name`; `epochs` shortens (or lengthens) every run, for a quick look."""
    if name not in STUDIES:
        raise InputError(f"unknown study {name!r}; it is one of {', '.join(STUDIES)}")
    return STUDIES[name].build(scale, trials, epochs)
