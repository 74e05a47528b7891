"""Two and three processes against one: the same steps, whatever the parts of a batch weigh.

Weights are compared in double precision. In float32 one process already differs from itself when the rows of a batch
come in another order: Adam turns the rounding of a gradient that should be zero (a bias before a softmax or a batch
norm) into steps of the learning rate, and an MLP with batch norm answers to that with other weights after three steps.
So float32 is held to its losses and gradients, step by step as they begin, and double precision to where they end.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from tests import language, tiny
from tests.ranks import over
from tests.reference import training as twin
from torch import Tensor, nn

from distillbias.errors import InputError, RunError
from distillbias.models.ablated_cnn import AblatedCNNConfig
from distillbias.models.dropout import give_stream
from distillbias.models.lstm import LSTMConfig
from distillbias.models.output import ModelConfig, initialise
from distillbias.models.registry import MODELS
from distillbias.models.transformer import TransformerConfig
from distillbias.models.universal_transformer import UniversalTransformerConfig
from distillbias.tasks.task import Examples, Spec
from distillbias.training.batching import ResidentData
from distillbias.training.loop import train
from distillbias.training.objectives import Batch, Objective, from_labels, from_teacher
from distillbias.training.parallel import ALONE, Ranks, share_batch_norm
from distillbias.training.recipe import Recipe, WarmupCosine
from distillbias.training.seeds import stream
from distillbias.training.teacher import asked_signal, live_signal

WORLDS = (3, 2)
BATCH, RATE, CLIP, L1, L2 = 13, 1e-2, 0.5, 1e-4, 1e-3  # 13 rows: 7 and 6; 5, 4 and 4
RECIPE = Recipe(1, BATCH, RATE, WarmupCosine(0.3), clip=CLIP, l1=L1, l2=L2)
TEMPERATURE, SURE = 3.0, 3000.0
WORDS = Spec(shape=(), classes=2, vocabulary=30)
OFF = {"embedding_dropout": 0.0, "dropout": 0.0}


def sentences(count: int = 4 * BATCH) -> Examples:
    """Noise of 2 to 12 words."""
    draw = np.random.default_rng(0)
    inside = np.arange(12) < draw.integers(2, 13, (count, 1))
    inputs = np.where(inside, draw.integers(3, WORDS.vocabulary, (count, 12)), 0).astype(np.int32)
    return Examples(inputs, draw.integers(0, 2, count), np.arange(count), "noise", "noise")


def images() -> Examples:
    return tiny.examples(4 * BATCH)


def texts() -> Examples:
    return language.examples(9)  # 54 rows


class Case(NamedTuple):
    """A model to train, and what it learns from: labels, or a teacher that is asked, with or without its own batch."""

    model: ModelConfig
    spec: Spec
    examples: Callable[[], Examples]
    teacher: str = ""
    weight: float = 1.0


CASES = {
    "MLP": Case(replace(tiny.MLP, dropout=0.0), tiny.SPEC, images),
    "CNN": Case(replace(tiny.CNN, dropout=0.0), tiny.SPEC, images),
    "AblatedCNN": Case(
        AblatedCNNConfig((4, 4, 8), (4, 4, 4), dropout=0.0, local=False, pooled=False), tiny.SPEC, images
    ),
    "LSTM": Case(LSTMConfig(width=8, output_dropout=0.0, **OFF), WORDS, sentences),
    "Transformer": Case(
        TransformerConfig("first", width=8, layers=2, heads=2, attention_dropout=0.0, **OFF), WORDS, sentences
    ),
    "UniversalTransformer": Case(
        UniversalTransformerConfig(width=8, rounds=3, heads=2, attention_dropout=0.0, **OFF), WORDS, sentences
    ),
    "LSTMLanguageModel": Case(replace(language.LSTM, output_dropout=0.0, **OFF), language.SPEC, texts),
    "TransformerLanguageModel": Case(replace(language.TRANSFORMER, attention_dropout=0.0, **OFF), language.SPEC, texts),
}
STUDENTS = {
    "CNN to MLP": CASES["MLP"]._replace(teacher="CNN"),
    "CNN in training mode to MLP, and labels": CASES["MLP"]._replace(teacher="CNN live", weight=0.6),
    "LSTM to Transformer": CASES["Transformer"]._replace(teacher="LSTM"),
    "LSTM to Transformer, of the next word": CASES["TransformerLanguageModel"]._replace(
        teacher="LSTMLanguageModel", weight=0.7
    ),
}
ALL = CASES | STUDENTS


def built(name: str, dtype: torch.dtype, seed: int = 0) -> nn.Module:
    model = ALL[name].model.build(ALL[name].spec)
    initialise(model, stream("weights", name, seed))
    return model.to(dtype)


def lesson(case: Case, ranks: Ranks, dtype: torch.dtype) -> tuple[Objective, Any]:
    if not case.teacher:
        return from_labels(), None
    teacher = built(case.teacher.removesuffix(" live"), dtype, seed=1)
    if case.teacher == "LSTM":  # untrained it says what its student does: a loss of 6e-5, whose digits are rounding
        with torch.no_grad():
            teacher.head.weight.mul_(SURE)
    share_batch_norm(teacher, ranks)
    signal = live_signal(teacher) if case.teacher.endswith("live") else asked_signal(teacher)
    objective = from_teacher(TEMPERATURE, case.weight, "tau2", True)
    # the pixels of a batch are float32; a model in double precision wants them so
    return objective, lambda rows, inputs: signal(rows, inputs.to(dtype) if inputs.is_floating_point() else inputs)


def exact(batch: Batch, dtype: torch.dtype) -> Batch:
    return batch._replace(inputs=batch.inputs.to(dtype)) if batch.inputs.is_floating_point() else batch


class Trained(NamedTuple):
    weights: dict[str, Tensor]  # and running statistics
    losses: list[float]
    gradients: list[Tensor]  # of the first step, clipped


def trained(ranks: Ranks, name: str, dtype: torch.dtype, steps: int = 4) -> Trained:
    case, model = ALL[name], built(name, dtype)
    share_batch_norm(model, ranks)
    objective, signal = lesson(case, ranks, dtype)
    data = ResidentData(case.examples())
    batches = data.batches(1, BATCH, lambda epoch: stream("order", epoch), signal, ranks=ranks)
    losses: list[float] = []
    gradients: list[Tensor] = []
    for step in train(model, objective, (exact(each, dtype) for each in batches), RECIPE, 4, ranks=ranks):
        losses.append(step.loss.item())
        gradients = gradients or [parameter.grad.clone() for parameter in model.parameters()]
        if step.done == steps:
            break
    return Trained({key: value.clone() for key, value in model.state_dict().items()}, losses, gradients)


# --- batch norm

NORMS = {
    "of the MLP": (lambda: nn.BatchNorm1d(3, eps=1e-3, momentum=0.01), (3,)),
    "of the CNN": (lambda: nn.BatchNorm2d(3, eps=1e-3, momentum=0.01), (3, 4, 5)),
    "over time": (lambda: nn.BatchNorm1d(3), (3, 6)),
    "with the mean of all batches": (lambda: nn.BatchNorm1d(3, momentum=None), (3,)),
    "without weights": (lambda: nn.BatchNorm2d(3, affine=False), (3, 2, 2)),
    "without running statistics": (lambda: nn.BatchNorm1d(3, track_running_stats=False), (3,)),
}


class Normed(NamedTuple):
    said: list[Tensor]  # of each batch, and of the last in evaluation
    to_inputs: list[Tensor]
    to_weights: list[Tensor]
    state: dict[str, Tensor]


def normed(ranks: Ranks, name: str, dtype: torch.dtype = torch.double) -> Normed:
    """Two batches of 4 rows: of three ranks two have one row."""
    kind, shape = NORMS[name]
    norm, draw = kind().to(dtype), torch.Generator().manual_seed(3)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5, generator=draw)
    share_batch_norm(norm, ranks)
    said, to_inputs = [], []
    for _ in range(2):
        x, probe = (torch.randn(4, *shape, generator=draw, dtype=torch.double).to(dtype) * 3 + 5 for _ in range(2))
        x = ranks.part(x).requires_grad_()
        y = norm(x)
        (y * ranks.part(probe)).sum().backward()
        said.append(y.detach())
        to_inputs.append(x.grad)
    to_weights = [parameter.grad for parameter in norm.parameters()]
    said.append(norm.eval()(x.detach()).detach() if norm.running_mean is not None else y.detach())
    return Normed(said, to_inputs, to_weights, norm.state_dict())


# --- what ranks say to each other


def talk(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """Whatever is to be seen of the meetings."""
    seen: dict[str, Any] = {"first": ranks.from_first(lambda: ("said", ranks.rank))}
    seen["agree"] = ranks.agree(lambda: "same"), ranks.agree(lambda: str(ranks.rank))
    own = stream(ranks.own("dropout"), 7)
    torch.rand(3, generator=own)
    told = ranks.gather({ranks.own("dropout"): own})
    seen["streams"] = {name: each.get_state() for name, each in told.items()}, own.get_state()
    note = folder / f"rank 0 of {ranks.world} was here"
    with ranks.in_turn():
        seen["in turn"] = note.exists()
        if ranks.rank == 0:
            note.touch()
    for name, who, error in (
        ("first fails", 0, RunError("no teacher")),
        ("last fails", ranks.world - 1, InputError("no data")),
        ("last breaks", ranks.world - 1, ValueError("no luck")),
    ):
        inside = False
        try:
            with ranks.in_turn():
                inside = True
                if ranks.rank == who:
                    raise error
        except Exception as met:
            seen[name] = type(met), str(met), inside
    ranks.assemble()
    return seen


def draws(ranks: Ranks) -> Tensor:
    """What dropout makes of ones."""
    model = tiny.mlp(dropout=0.5)
    give_stream(model, stream(ranks.own("dropout"), 7))
    return model.hidden[0][3].train()(torch.ones(4, 16))


def everything(ranks: Ranks, folder: Path) -> dict[str, Any]:
    """All that the tests look at, in one go: starting processes takes longer than what they do."""
    return {
        "weights": {name: trained(ranks, name, torch.double) for name in ALL},
        "first": {name: trained(ranks, name, torch.float32, steps=1) for name in ALL},
        "norms": {name: normed(ranks, name) for name in NORMS},
        "bfloat16": normed(ranks, "of the CNN", torch.bfloat16),
        "draws": draws(ranks),
        **({"talk": talk(ranks, folder)} if ranks.world > 1 else {}),
    }


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return everything(ALONE, Path())


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """{world: what each of its ranks found}."""
    return over(WORLDS, everything, tmp_path_factory.mktemp("talk"))


def test_all_models_are_compared() -> None:
    assert set(CASES) == set(MODELS)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ALL)
def test_weights_are_those_of_one_process(alone, together, world: int, name: str) -> None:
    """Up to how far four steps of Adam, RATE at most, can pass on an error of the gradient.

    Objectives of classifiers are float32 whatever the weights are: some roundings of each gradient. Those of language
    models are exact: what should be zero is 1e-17, which Adam divides by its epsilon, 1e-8.
    """
    one, start = alone["weights"][name], built(name, torch.double).state_dict()
    words = name.endswith(("LanguageModel", "next word"))
    near = 4 * RATE * (1e-17 / 1e-8 if words else 100 * torch.finfo(torch.float32).eps)
    for found in together[world]:
        many = found["weights"][name]
        assert len(many.losses) == 4 and many.losses == pytest.approx(one.losses, rel=1e-6)
        assert many.weights.keys() == one.weights.keys()
        for key, wanted in one.weights.items():
            torch.testing.assert_close(many.weights[key], wanted, rtol=0, atol=near, msg=lambda m, k=key: f"{k}: {m}")
        assert max((wanted - start[key]).abs().max().item() for key, wanted in one.weights.items()) > 1e-2


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ALL)
def test_all_ranks_end_with_the_same_bits(together, world: int, name: str) -> None:
    first, *others = (found["weights"][name].weights for found in together[world])
    assert all(torch.equal(value, each[key]) for each in others for key, value in first.items())


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ALL)
def test_loss_and_gradient_of_a_step_in_float32(alone, together, world: int, name: str) -> None:
    """Relative to the whole gradient: sums of some hundred terms of it, each with an error of 6e-8."""
    one, many = alone["first"][name], together[world][0]["first"][name]
    assert many.losses == pytest.approx(one.losses, rel=1e-6)
    whole, other = (torch.cat([each.flatten() for each in found.gradients]) for found in (one, many))
    assert (whole - other).norm() < 1e-5 * whole.norm()


@pytest.mark.parametrize("world", WORLDS)
def test_several_processes_are_the_literal_twin(together, world: int) -> None:
    model = built("MLP", torch.double)
    data = ResidentData(CASES["MLP"].examples())
    made = [exact(each, torch.double)[:3] for each in data.batches(1, BATCH, lambda epoch: stream("order", epoch))]
    rates = [RATE * twin.warmup_cosine(step, 4, 0.3) for step in range(4)]
    twin.train(model, made, twin.label_loss, rates, L1, L2, CLIP, torch.optim.Adam)
    for name, wanted in model.state_dict().items():
        found = together[world][0]["weights"]["MLP"].weights[name]
        near = 4 * RATE * (1e-6 / CLIP + 100 * torch.finfo(torch.float32).eps)  # as in test_loop
        torch.testing.assert_close(found, wanted, rtol=0, atol=near, msg=lambda m, n=name: f"{n}: {m}")


def joined(parts: list[Tensor]) -> Tensor:
    """The rows of all ranks in the order of the batch."""
    whole = torch.empty(sum(map(len, parts)), *parts[0].shape[1:], dtype=parts[0].dtype)
    for rank, part in enumerate(parts):
        whole[rank :: len(parts)] = part
    return whole


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", NORMS)
def test_batch_norm_is_that_of_the_whole_batch(alone, together, world: int, name: str) -> None:
    one, many = alone["norms"][name], [found["norms"][name] for found in together[world]]
    near = {"rtol": 1e-12, "atol": 1e-12}
    for place, wanted in enumerate(one.said):
        torch.testing.assert_close(joined([each.said[place] for each in many]), wanted, **near)
    for place, wanted in enumerate(one.to_inputs):
        torch.testing.assert_close(joined([each.to_inputs[place] for each in many]), wanted, **near)
    for place, wanted in enumerate(one.to_weights):
        torch.testing.assert_close(sum(each.to_weights[place] for each in many), wanted, **near)
    for each in many:
        assert each.state.keys() == one.state.keys()
        for key, wanted in one.state.items():
            torch.testing.assert_close(each.state[key], wanted, **near)


@pytest.mark.parametrize("world", WORLDS)
def test_batch_norm_in_bfloat16_is_near_what_it_should_be(alone, together, world: int) -> None:
    """Values up to 8 in 8 bits."""
    found = joined([each["bfloat16"].said[0] for each in together[world]])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, alone["bfloat16"].said[0], rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["MLP", "LSTM", "LSTMLanguageModel"])
def test_parts_make_the_batch_and_their_shares_one(world: int, name: str) -> None:
    data, order = ResidentData(CASES[name].examples()), lambda epoch: stream("order", epoch)
    row_of = lambda rows, inputs: rows[:, None].float()  # noqa: E731
    whole = data.batches(2, BATCH, order, row_of)
    parts = [data.batches(2, BATCH, order, row_of, ranks=Ranks(rank, world)) for rank in range(world)]
    for batch, *own in zip(whole, *parts, strict=True):
        assert batch.share == 1.0 and sum(each.share for each in own) == pytest.approx(1, abs=1e-15)
        assert torch.equal(joined([each.signal for each in own]), batch.signal)
        assert torch.equal(joined([each.labels for each in own]), batch.labels)
        counts = [(each.inputs[:, 1:] != 0).sum() if name.endswith("Model") else len(each.labels) for each in own]
        assert [each.share for each in own] == pytest.approx([float(count / sum(counts)) for count in counts])


def test_a_batch_of_fewer_rows_than_ranks_is_refused() -> None:
    with pytest.raises(InputError, match="a batch of 2 for 3 processes; each needs at least one"):
        Ranks(0, 3).part(torch.arange(2))


def test_each_rank_has_dropout_of_its_own_and_the_first_that_of_one_process(alone, together) -> None:
    masks = [found["draws"] for found in together[3]]
    assert torch.equal(masks[0], alone["draws"])
    assert not any(torch.equal(masks[one], masks[two]) for one, two in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("world", WORLDS)
def test_what_ranks_tell_each_other(together, world: int) -> None:
    talks = [found["talk"] for found in together[world]]
    for rank, talk in enumerate(talks):
        assert talk["first"] == ("said", 0)
        assert talk["agree"] == (True, False)
        states, own = talk["streams"]
        names = ["dropout"] + [f"dropout of rank {other}" for other in range(1, world)]
        assert list(states) == names and torch.equal(states[names[rank]], own)
        assert talk["in turn"] == (rank > 0)


@pytest.mark.parametrize("world", WORLDS)
def test_what_fails_on_one_rank_fails_on_all(together, world: int) -> None:
    talks = [found["talk"] for found in together[world]]
    for rank, talk in enumerate(talks):
        assert talk["first fails"] == (RunError, "no teacher", rank == 0)  # the others do not even begin
        kind, said, inside = talk["last fails"]
        assert kind is InputError and said.startswith(f"process {world - 1} on ") and said.endswith(": no data")
        kind, said, _ = talk["last breaks"]
        assert kind is RunError and said.endswith(": ValueError: no luck") and inside
