import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from distillbias.analysis.barrier import barrier_height, interpolate, loss_path, refresh_batch_norm
from distillbias.errors import InputError

WEIGHTS = [k / 10 for k in range(11)]
quick = settings(derandomize=True, deadline=None, max_examples=25)


def random(seed):
    return torch.Generator().manual_seed(seed)


def fill(model, seed):
    """All parameters drawn anew, without touching the global seed."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=random(seed))
    return model


def mlp(seed):
    return fill(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), seed)


def normed(seed):
    """With batch norm and dropout, and running statistics that have seen something."""
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5, momentum=0.3), nn.Dropout(0.5), nn.Linear(5, 2))
    fill(model, seed).train()
    for _ in range(seed + 1):
        model(torch.randn(16, 3, generator=random(seed)))
    return model.eval()


def loss_on(seed, n=64):
    inputs, labels = torch.randn(n, 3, generator=random(seed)), torch.randint(2, (n,), generator=random(seed))

    @torch.no_grad()
    def loss(model):
        return nn.functional.cross_entropy(model(inputs), labels).item()

    return loss


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_interpolation_by_hand():  # the paper's convention: weight 1 is the first model
    a = {"w": torch.tensor([4.0, 8.0]), "num_batches_tracked": torch.tensor(7)}
    b = {"w": torch.tensor([0.0, 4.0]), "num_batches_tracked": torch.tensor(9)}
    found = interpolate(a, b, 0.75)
    assert found["w"].tolist() == [3.0, 7.0] and found["num_batches_tracked"] == 7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_end_points_are_exact_copies(dtype):
    a, b = (normed(seed).to(dtype).state_dict() for seed in (0, 1))
    assert same(interpolate(a, b, 1.0), a) and same(interpolate(a, b, 0.0), b)
    kept = {name: value.clone() for name, value in a.items()}
    for value in interpolate(a, b, 1.0).values():
        value.zero_()
    assert same(a, kept)


@quick
@given(weight=st.floats(0, 1), seed=st.integers(0, 99))
def test_what_is_equal_stays_equal_and_the_sides_swap(weight, seed):
    a, b = mlp(seed).state_dict(), mlp(seed + 1).state_dict()
    assert same(interpolate(a, a, weight), a)
    forth, back = interpolate(a, b, weight), interpolate(b, a, 1 - weight)
    for name in forth:
        torch.testing.assert_close(forth[name], back[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("losses", "weights", "height"),
    [
        ([1.0, 3.0, 2.0], [0.0, 0.5, 1.0], 1.5),
        ([1.0, 1.25, 2.0], [0.0, 0.5, 1.0], 0.0),
        ([2.0, 2.0], [0.0, 1.0], 0.0),
        ([0.0, 0.5, 9.0, 4.0], [0.0, 0.25, 0.75, 1.0], 6.0),
    ],
)
def test_barrier_height_by_hand(losses, weights, height):
    assert barrier_height(losses, weights) == height == barrier_height(np.array(losses), np.array(weights))


@quick
@given(seed=st.integers(0, 99))
def test_a_model_has_no_barrier_to_itself(seed):
    model = mlp(seed)
    state = model.state_dict()
    losses = loss_path(mlp(seed + 1), state, state, WEIGHTS, loss_on(seed))
    assert losses == [loss_on(seed)(model)] * len(WEIGHTS)
    assert barrier_height(losses, WEIGHTS) == 0


@quick
@given(seed=st.integers(0, 99))
def test_a_linear_model_has_no_barrier(seed):
    model = nn.Linear(3, 2)  # cross-entropy is convex in its weights: never above the line
    a, b = fill(nn.Linear(3, 2), seed).state_dict(), fill(nn.Linear(3, 2), seed + 1).state_dict()
    assert barrier_height(loss_path(model, a, b, np.array(WEIGHTS), loss_on(seed)), WEIGHTS) <= 1e-6


def test_permuted_hidden_units_keep_the_function_but_not_the_line():
    model, loss = mlp(0), loss_on(0)
    a, order = model.state_dict(), torch.randperm(8, generator=random(0))
    b = {"0.weight": a["0.weight"][order], "0.bias": a["0.bias"][order]}
    b |= {"2.weight": a["2.weight"][:, order], "2.bias": a["2.bias"]}
    losses = loss_path(mlp(1), a, b, WEIGHTS, loss)
    assert losses[0] == pytest.approx(losses[-1], abs=1e-6)
    assert len({round(one, 4) for one in losses}) > 2  # between them it is another function


def test_end_points_of_a_path_are_the_trained_models_and_the_model_is_given_back():
    one, other, used, loss = normed(0), normed(2), normed(4), loss_on(0)
    before = {name: value.clone() for name, value in used.state_dict().items()}
    losses = loss_path(used, one.state_dict(), other.state_dict(), WEIGHTS, loss)
    assert losses[-1] == loss(one) and losses[0] == loss(other)
    assert same(used.state_dict(), before) and not used.training


def test_refreshing_is_the_same_at_every_point_and_the_ends_keep_their_weights():
    one, other, used, loss = normed(0), normed(2), normed(4), loss_on(0)
    batches = [torch.randn(64, 3, generator=random(9))]
    fresh = loss_path(used, one.state_dict(), other.state_dict(), WEIGHTS, loss, batches)
    for model in (one, other):
        refresh_batch_norm(model, batches)
    assert fresh[-1] == loss(one) and fresh[0] == loss(other)
    plain = loss_path(used, normed(0).state_dict(), normed(2).state_dict(), WEIGHTS, loss)
    assert all(abs(p - f) > 1e-6 for p, f in zip(plain, fresh, strict=True))


def test_refreshed_statistics_are_those_of_the_whole_data():
    model, inputs = normed(0), torch.randn(500, 3, generator=random(1))
    refresh_batch_norm(model, [inputs])
    hidden = model[0](inputs).detach().double().numpy()
    np.testing.assert_allclose(model[1].running_mean, hidden.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(model[1].running_var, hidden.var(axis=0, ddof=1), rtol=1e-4)


def test_refreshed_statistics_average_over_batches_of_any_size():
    model, batches = normed(0), [torch.randn(n, 3, generator=random(n)) for n in (10, 20, 70)]
    refresh_batch_norm(model, (one for one in batches))  # read once: a generator will do
    hidden = [model[0](one).detach().double().numpy() for one in batches]
    np.testing.assert_allclose(model[1].running_mean, np.mean([h.mean(axis=0) for h in hidden], axis=0), atol=1e-5)
    variances = [h.var(axis=0, ddof=1) for h in hidden]
    np.testing.assert_allclose(model[1].running_var, np.mean(variances, axis=0), rtol=1e-4)


def test_refreshing_puts_modes_and_momentum_back():
    model = normed(0)
    model[2].train()  # dropout alone in train mode: it must not act meanwhile, and must be so afterwards
    seen = []
    model[2].register_forward_hook(lambda module, inputs, output: seen.append(torch.equal(inputs[0], output)))
    refresh_batch_norm(model, [torch.randn(16, 3, generator=random(0))])
    assert seen == [True]
    assert [module.training for module in model] == [False, False, True, False]
    assert model[1].momentum == 0.3


def test_wrong_input_is_refused():
    a = mlp(0).state_dict()
    with pytest.raises(InputError, match="only one has extra"):
        interpolate(a, {**a, "extra": torch.zeros(1)}, 0.5)
    with pytest.raises(InputError, match=r"0.bias is .*8.* in one and .*9.* in the other"):
        interpolate(a, {**a, "0.bias": torch.zeros(9)}, 0.5)
    with pytest.raises(InputError, match=r"weight must lie in \[0, 1\], got 1.5"):
        interpolate(a, a, 1.5)
    with pytest.raises(InputError, match="weights must increase from 0 to 1"):
        barrier_height([1.0, 2.0], [0.0, 0.9])
    with pytest.raises(InputError, match="got 3 losses and 2 weights"):
        barrier_height([1.0, 2.0, 3.0], [0.0, 1.0])
    with pytest.raises(InputError, match="finite at both ends"):
        barrier_height([float("inf"), 2.0], [0.0, 1.0])
    model = normed(0)
    kept = model[1].running_mean.clone()
    with pytest.raises(InputError, match="at least one batch"):
        refresh_batch_norm(model, [])
    assert torch.equal(model[1].running_mean, kept)
