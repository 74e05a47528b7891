from itertools import combinations, permutations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distillbias.analysis.barrier import barrier_height, loss_path
from distillbias.analysis.permute import align, permuted
from distillbias.errors import InputError
from distillbias.models.cnn import CNNConfig
from distillbias.models.mlp import MLPConfig
from distillbias.models.output import fresh
from distillbias.tasks.task import Spec

SPEC = Spec(shape=(14, 14), classes=3)
WEIGHTS = [k / 4 for k in range(5)]
CONFIGS = {
    "MLP": MLPConfig(widths=(9, 7, 5)),
    "CNN": CNNConfig(filters=(5, 6, 12), maxout=(5, 3, 4), pools=(1, 2, 1)),  # groups of 1, 2 and 3 filters
}
both = pytest.mark.parametrize("name", CONFIGS)
quick = settings(derandomize=True, deadline=None, max_examples=5)
seeds = st.integers(0, 999)


def random(seed):
    return torch.Generator().manual_seed(seed)


def model_of(config):
    return fresh(config, SPEC).eval()


def state_of(config, seed):
    """Every number of its own: weights, shifts and running statistics."""
    stream, state = random(seed), {}
    for name, value in model_of(config).state_dict().items():
        if not value.is_floating_point():
            state[name] = torch.tensor(seed)
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(value.shape, generator=stream)
        else:
            state[name] = torch.randn(value.shape, generator=stream) / max(1, value[0].numel()) ** 0.5
    return state


@torch.no_grad()
def logits(config, state):
    model = model_of(config)
    model.load_state_dict(state)
    return model(torch.rand(16, 14, 14, generator=random(7))).logits


def inner(a, b):
    """Sum of inner products of the trained weights."""
    trained = [name for name, value in a.items() if value.is_floating_point() and "running" not in name]
    return sum((a[name].double() * b[name].double()).sum().item() for name in trained)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@both
@quick
@given(seed=seeds)
def test_a_permuted_state_is_the_same_function(name, seed):
    config, state = CONFIGS[name], state_of(CONFIGS[name], seed)
    other = permuted(model_of(config), state, seed)
    torch.testing.assert_close(logits(config, other), logits(config, state), rtol=1e-5, atol=1e-5)
    assert not same(other, state) and same(permuted(model_of(config), state, seed), other)
    assert same(state, state_of(config, seed))  # what was given is as it was


@both
@quick
@given(seed=seeds)
def test_alignment_recovers_a_permuted_copy_in_every_bit(name, seed):
    config, a = CONFIGS[name], state_of(CONFIGS[name], seed)
    copy = permuted(model_of(config), a, seed + 1)
    assert same(align(model_of(config), a, copy, seed), a)
    assert same(align(model_of(config), a, a, seed), a)


@both
def test_a_permuted_copy_has_a_barrier_and_its_alignment_has_none(name):
    config, a = CONFIGS[name], state_of(CONFIGS[name], 0)
    model, inputs = model_of(config), torch.rand(32, 14, 14, generator=random(1))
    labels = logits(config, a).argmax(1)[torch.arange(32) % 16]

    @torch.no_grad()
    def loss(model):
        return nn.functional.cross_entropy(10 * model(inputs).logits, labels).item()

    copy = permuted(model, a, 1)
    heights = [barrier_height(loss_path(model, a, b, WEIGHTS, loss), WEIGHTS) for b in (copy, align(model, a, copy, 0))]
    assert heights[0] > 0.01 and heights[1] == 0
    assert len(set(loss_path(model, a, align(model, a, copy, 0), WEIGHTS, loss))) == 1


@both
@quick
@given(seed=seeds)
def test_alignment_keeps_the_function_and_never_moves_away(name, seed):
    config, model = CONFIGS[name], model_of(CONFIGS[name])
    a, b = state_of(config, seed), state_of(config, seed + 1)
    aligned = align(model, a, b, seed)
    torch.testing.assert_close(logits(config, aligned), logits(config, b), rtol=1e-5, atol=1e-5)
    assert inner(a, aligned) > inner(a, b)
    assert inner(aligned, aligned) == pytest.approx(inner(b, b))
    assert same(align(model, a, b, seed), aligned)
    again = align(model, a, aligned, seed)
    assert inner(a, again) >= inner(a, aligned) - 1e-9


def orders(units, members):
    """All orders of filters that keep the companies of consecutive `members` together, written out."""
    groups = [list(range(unit * members, (unit + 1) * members)) for unit in range(units)]
    for chosen in permutations(groups):
        for inside in product(*(permutations(group) for group in chosen)):
            yield [filter for group in inside for filter in group]


@pytest.mark.parametrize(
    ("config", "units", "members", "weights", "norm", "count"),
    [
        (MLPConfig(widths=(4,)), 4, 1, "hidden.0.0", "hidden.0.2", 24),
        (CNNConfig(filters=(6,), maxout=(3,), pools=(2,)), 3, 2, "stages.0.convolution", "stages.0.norm", 48),
        (CNNConfig(filters=(6,), maxout=(2,), pools=(1,)), 2, 3, "stages.0.convolution", "stages.0.norm", 72),
    ],
)
def test_of_one_hidden_layer_every_order_is_tried(config, units, members, weights, norm, count):
    model = model_of(config)
    every = list(orders(units, members))
    assert len(every) == count

    def moved(state, order):
        unit = [filter // members for filter in order[::members]]
        new = dict(state)
        for name in (f"{weights}.weight", f"{weights}.bias"):
            new[name] = state[name][order]
        for name in ("weight", "bias", "running_mean", "running_var"):
            new[f"{norm}.{name}"] = state[f"{norm}.{name}"][unit]
        new["answer.weight"] = state["answer.weight"][:, unit]
        return new

    for seed in range(3):
        a, b = state_of(config, seed), state_of(config, seed + 10)
        best = max((moved(b, order) for order in every), key=lambda state: inner(a, state))
        assert same(align(model, a, b, seed), best)
    biases = {tuple(b[f"{weights}.bias"][order].tolist()) for order in every}
    drawn = [tuple(permuted(model, b, seed)[f"{weights}.bias"].tolist()) for seed in range(10 * count)]
    assert set(drawn) == biases  # every order that is allowed, and no other
    assert max(drawn.count(bias) for bias in biases) < 30  # about 10 each


def test_units_alike_in_what_they_see_are_told_apart_by_what_sees_them():
    config = CONFIGS["MLP"]
    a = state_of(config, 0)
    for name in ("hidden.0.0.weight", "hidden.0.0.bias", "hidden.0.2.weight", "hidden.0.2.bias"):
        a[name][1] = a[name][0]
    for seed in range(5):
        assert same(align(model_of(config), a, permuted(model_of(config), a, seed), seed), a)


def test_loud_weights_between_permuted_layers_do_not_hide_a_copy():
    config = CONFIGS["MLP"]  # from the order as it is they drown the pixels' and the classes' sides, which are in place
    for seed in range(10):
        a = state_of(config, seed)
        for name in ("hidden.1.0.weight", "hidden.2.0.weight"):
            a[name] = 100 * a[name]
        assert same(align(model_of(config), a, permuted(model_of(config), a, seed), seed), a)


def test_an_order_that_is_good_already_is_never_made_worse():
    config = CONFIGS["MLP"]  # what b sees is unlike a, what sees it is a's: incoming weights alone would mislead
    for seed in range(10):
        a, other = state_of(config, seed), state_of(config, seed + 1)
        b = {name: other[name] if name.startswith("hidden.0") else value for name, value in a.items()}
        for state in (a, b):
            for name in ("hidden.1.0.weight", "hidden.2.0.weight"):
                state[name] = 3 * state[name]
        assert inner(a, align(model_of(config), a, b, seed)) >= inner(a, b)


def test_no_swap_of_two_units_brings_an_aligned_model_nearer():
    config = MLPConfig(widths=(20, 20, 20))
    for seed in range(3):
        a, b = state_of(config, seed), state_of(config, seed + 1)
        b = align(model_of(config), a, b, seed)
        for depth, width in enumerate(config.widths):
            outgoing = f"hidden.{depth + 1}.0.weight" if depth < 2 else "answer.weight"
            for i, j in combinations(range(width), 2):
                swap = torch.arange(width)
                swap[[i, j]] = swap[[j, i]]
                own = {name: value[swap] for name, value in b.items() if name[:8] == f"hidden.{depth}" and value.ndim}
                assert inner(a, {**b, **own, outgoing: b[outgoing][:, swap]}) <= inner(a, b) + 1e-9


def test_running_statistics_move_but_do_not_choose():
    config, model = CONFIGS["MLP"], model_of(CONFIGS["MLP"])
    a, b = state_of(config, 0), state_of(config, 1)
    loud = {name: 1000 * value if "running" in name else value for name, value in b.items()}
    quiet, louder = align(model, a, b, 0), align(model, a, loud, 0)
    for name, value in quiet.items():
        assert torch.equal(louder[name], 1000 * value if "running" in name else value)


def test_wrong_input_is_refused():
    a = state_of(CONFIGS["MLP"], 0)
    with pytest.raises(InputError, match="no permutations are known for Linear; choose one of MLP, CNN"):
        permuted(nn.Linear(2, 2), a, 0)
    with pytest.raises(InputError, match="must have the same tensors"):
        align(model_of(CONFIGS["MLP"]), a, state_of(CONFIGS["CNN"], 0), 0)
    with pytest.raises(InputError, match="must have the same tensors"):
        permuted(model_of(MLPConfig(widths=(9, 7, 4))), a, 0)
