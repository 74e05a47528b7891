"""A run's name: other whenever a result could be, the same otherwise, and readable back from JSON."""

import json
from dataclasses import fields, is_dataclass, replace
from typing import get_args, get_type_hints

import pytest
from tests import tiny

from distillbias.errors import InputError
from distillbias.studies import run as runs
from distillbias.studies.catalogue import SCALES, find_study
from distillbias.studies.run import Distillation, Run, from_json, to_json
from distillbias.training.recipe import CosineRestarts, ExponentialDecay

TEACHER = replace(tiny.ALONE, model=tiny.CNN, recipe=replace(tiny.RECIPE, schedule=ExponentialDecay(10, 5)))
BASE = Run(
    tiny.TASK,
    tiny.MLP,
    replace(tiny.RECIPE, schedule=CosineRestarts(), l1=0.0),
    trial=1,
    distillation=Distillation(TEACHER, weight=0.5),
)


def leaves(value, path=()):
    """Paths of all plain fields, whatever they are nested in."""
    for field in fields(value):
        inner = getattr(value, field.name)
        yield from leaves(inner, (*path, field.name)) if is_dataclass(inner) else [(*path, field.name)]


def other(owner, name: str):
    """Another allowed value of a field."""
    value = getattr(owner, name)
    choices = [choice for choice in get_args(get_type_hints(type(owner))[name]) if choice != value]
    if name == "control":
        return "shuffled"
    if value is None:
        return Distillation(tiny.ALONE)
    if isinstance(value, str):
        return choices[0] if choices else value + "!"
    if isinstance(value, tuple):
        return (*value[:-1], value[-1] + 1)
    return value + 1 if isinstance(value, int) else value / 2 or 0.25


def changed(owner, path: tuple[str, ...]):
    name, *rest = path
    return replace(owner, **{name: changed(getattr(owner, name), tuple(rest)) if rest else other(owner, name)})


LEAVES = list(leaves(BASE))


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_every_field_decides_the_name(path) -> None:
    assert changed(BASE, path) != BASE
    assert changed(BASE, path).name != BASE.name


def test_no_two_changes_share_a_name() -> None:
    assert {".".join(path) for path in LEAVES} >= {"recipe.l1", "distillation.teacher.model.filters", "repeat"}
    assert len({changed(BASE, path).name for path in LEAVES} | {BASE.name}) == len(LEAVES) + 1


def test_other_kinds_with_the_same_fields_have_other_names() -> None:
    names = {replace(BASE, model=model).name for model in (tiny.MLP, tiny.CNN)}
    names |= {replace(BASE, distillation=None).name, tiny.STUDENT.name, tiny.ALONE.name}
    assert len(names) == 5


def test_equal_values_have_equal_names() -> None:
    again = from_json(json.loads(json.dumps(to_json(BASE))))
    assert again == BASE and again is not BASE and again.name == BASE.name
    assert hash(again) == hash(BASE)
    assert len(BASE.name) == 12 and set(BASE.name) <= set("0123456789abcdef")


def test_a_change_of_the_engine_renames_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BASE.name
    monkeypatch.setattr(runs, "ENGINE", runs.ENGINE + 1)
    assert BASE.name != before


@pytest.mark.parametrize("scale", SCALES)
def test_every_declared_run_survives_json(scale: str) -> None:
    for run in find_study("vision", scale).runs:
        assert from_json(json.loads(json.dumps(to_json(run)))) == run


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (
            {"kind": "Popen", "args": "true"},
            "unknown kind 'Popen' in a run; it is one of Run, Distillation, .*MLPConfig",
        ),
        ({"widths": [3]}, "unknown kind None"),
        ({"kind": "Vision", "source": "digits", "colour": "red"}, "another version.*colour"),
        ({"kind": "Run", "trial": 0}, "another version.*task"),
        ({"kind": "MLPConfig", "widths": {"kind": "os.system"}}, "unknown kind 'os.system'"),
    ],
)
def test_only_what_a_run_is_made_of_is_ever_built(plain, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_json(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"weight": 0.0}, "weight is 0.0"),
        ({"weight": 1.5}, "weight is 1.5"),
    ],
)
def test_impossible_lessons_are_refused(change, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Distillation(tiny.ALONE, **change)


def test_labels_are_for_people() -> None:
    assert tiny.ALONE.label == "MLP · trial 0"
    assert replace(BASE, repeat=1).label == "CNN → MLP · trial 1 · second order"
    free = replace(BASE, recipe=replace(BASE.recipe, l2=0.0), distillation=replace(BASE.distillation, factor="one"))
    assert free.label == "CNN → MLP · factor one · no penalty · trial 1"


@pytest.mark.parametrize("scale", SCALES)
def test_labels_of_a_study_are_unambiguous(scale: str) -> None:
    labels = [run.label for run in find_study("vision", scale).runs]
    assert len(set(labels)) == len(labels)
