"""What Transformers compute between products in a launch or two, beside torch's operators in double precision."""

import copy
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from distillbias.models import dropout as dropouts
from distillbias.models import fused_words
from distillbias.models.dropout import Dropout
from distillbias.models.kernels import ready

pytest.importorskip("triton")  # where torch has no builds for GPUs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROUNDED = (
    2**-7 if DEVICE == "cuda" else 2**-6
)  # of bf16, of what is rounded on the way; the interpreter cuts digits off


def dropping(rate: float) -> Dropout:
    dropout = Dropout(rate)
    dropout.stream = torch.Generator(DEVICE).manual_seed(7)
    return dropout


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def apart(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


def masked(x: Tensor, dropout: Dropout) -> Tensor:
    """In double precision, with the draws of a tensor in its memory order."""
    draws = dropout.draws(x.numel(), x.device)
    return x if draws is None else x * (draws.view(x.shape) >= dropout.first_kept) * dropout.scale


@pytest.mark.parametrize("shape", [(5, 3, 24), (7, 128), (2, 1, 40)], ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("tile", [64, 2048])
def test_a_sum_and_its_norm(shape: tuple, rate: float, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_words, "TILE", tile)
    monkeypatch.setattr(fused_words, "PROGRAMS", 3)
    norm = nn.LayerNorm(shape[-1]).to(DEVICE)
    with torch.no_grad():
        norm.weight.copy_(normal(shape[-1], seed=1))
        norm.bias.copy_(normal(shape[-1], seed=2))
    exact = copy.deepcopy(norm).double()
    x, added = (normal(*shape, seed=seed).requires_grad_() for seed in (3, 4))
    again = [each.detach().double().requires_grad_() for each in (x, added)]
    total, y = fused_words.add_and_norm(x, added, dropping(rate), norm)
    right = again[0] + masked(again[1], dropping(rate))
    assert apart(total, right) < 1e-6 and apart(y, exact(right)) < 1e-6
    on_total, on_norm = normal(*shape, seed=5), normal(*shape, seed=6)
    (total * on_total + y * on_norm).sum().backward()
    (right * on_total + exact(right) * on_norm).sum().backward()
    for ours, theirs in ((x, again[0]), (added, again[1]), (norm.weight, exact.weight), (norm.bias, exact.bias)):
        assert ours.grad is not None and theirs.grad is not None
        assert apart(ours.grad, theirs.grad) < 1e-5


@pytest.mark.parametrize("used", ["total", "norm"])
def test_where_one_of_both_is_not_used(used: str) -> None:
    norm = nn.LayerNorm(24).to(DEVICE)
    x, added = (normal(5, 24, seed=seed).requires_grad_() for seed in (3, 4))
    right = [each.detach().double().requires_grad_() for each in (x, added)]
    total, y = fused_words.add_and_norm(x, added, dropping(0.3), norm)
    ((total if used == "total" else y) * normal(5, 24, seed=5)).sum().backward()
    exact = right[0] + masked(right[1], dropping(0.3))
    exact = exact if used == "total" else nn.functional.layer_norm(exact, (24,))
    (exact * normal(5, 24, seed=5)).sum().backward()
    for ours, theirs in zip((x, added), right, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert apart(ours.grad, theirs.grad) < 1e-5


def test_what_is_added_in_bf16() -> None:
    norm = nn.LayerNorm(24).to(DEVICE)
    x, added = normal(5, 24, seed=3).requires_grad_(), normal(5, 24, seed=4).bfloat16().requires_grad_()
    total, y = fused_words.add_and_norm(x, added, dropping(0.3), norm)
    right = x.detach().double() + masked(added.detach().double(), dropping(0.3))
    assert total.dtype == torch.float32 and y.dtype == torch.bfloat16
    assert apart(total, right) < 1e-6 and apart(y, nn.functional.layer_norm(right, (24,))) < ROUNDED
    y.sum().backward()
    assert added.grad is not None and added.grad.dtype == torch.bfloat16 and x.grad is not None


def by_torch(qkv: Tensor, hidden: Tensor, heads: int, dropout: Dropout) -> Tensor:
    batch, time, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    query, key, value = qkv.view(batch, time, 3, heads, -1).permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-1, -2) / sqrt(width // heads) + hidden.double()
    return (masked(scores.softmax(-1), dropout) @ value).transpose(1, 2).reshape(batch, time, width)


@pytest.mark.parametrize("time", [1, 11, 16, 21])
@pytest.mark.parametrize(("heads", "each"), [(3, 16), (2, 32)])
@pytest.mark.parametrize("rate", [0.0, 0.6])
@pytest.mark.parametrize("causal", [True, False])
def test_attention(time: int, heads: int, each: int, rate: float, causal: bool) -> None:
    qkv = normal(4, time, 3 * heads * each, seed=1).requires_grad_()
    if causal:
        seen = torch.ones(time, time, dtype=torch.bool).tril()[None, None]
    else:  # each sentence with a length of its own
        seen = (torch.arange(time) < torch.tensor([time, 1, time // 2 + 1, time])[:, None])[:, None, None, :]
    hidden = torch.zeros(seen.shape).masked_fill_(~seen, -1e4).to(DEVICE)
    right = qkv.detach().double().requires_grad_()
    found, expected = (
        fused_words.attend(qkv, hidden, heads, dropping(rate)),
        by_torch(right, hidden, heads, dropping(rate)),
    )
    assert apart(found, expected) < 1e-6
    upstream = normal(*found.shape, seed=2)
    found.backward(upstream)
    expected.backward(upstream.double())
    assert qkv.grad is not None and right.grad is not None
    assert apart(qkv.grad, right.grad) < 1e-5


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU: Triton's interpreter has no products in bf16")
def test_attention_in_bf16() -> None:
    qkv = normal(3, 13, 96, seed=1).bfloat16().requires_grad_()
    hidden = torch.zeros(1, 1, 1, 13, device=DEVICE)
    right = qkv.detach().double().requires_grad_()
    found, expected = fused_words.attend(qkv, hidden, 2, dropping(0.5)), by_torch(right, hidden, 2, dropping(0.5))
    assert found.dtype == torch.bfloat16 and apart(found, expected) < ROUNDED
    upstream = normal(*found.shape, seed=2).bfloat16()
    found.backward(upstream)
    expected.backward(upstream.double())
    assert qkv.grad is not None and right.grad is not None and qkv.grad.dtype == torch.bfloat16
    assert apart(qkv.grad, right.grad) < ROUNDED


def test_a_word_that_is_no_number_is_not_hidden() -> None:
    qkv = normal(2, 5, 96, seed=1)
    qkv[1, 4, 0] = torch.nan  # of a query: only its own word is lost, in one head
    found = fused_words.attend(qkv, torch.zeros(1, 1, 1, 5, device=DEVICE), 2, dropping(0.0))
    assert found[1, 4, :16].isnan().all() and not found[0].isnan().any() and not found[1, :4].isnan().any()


@pytest.mark.parametrize("last", [False, True])
def test_dropout(last: bool) -> None:
    x = normal(3, 4, 6, 5, seed=1)
    x = (x.contiguous(memory_format=torch.channels_last) if last else x).requires_grad_()
    chosen = dropping(0.3)
    draws = chosen.draws(x.numel(), x.device)
    assert draws is not None
    found = dropouts._DropOnGPU.apply(x, draws, chosen.first_kept, chosen.scale)
    with torch.no_grad():
        expected = x * chosen._mask(x, draws)
    assert found.stride() == x.stride() and torch.allclose(found, expected, rtol=1e-6, atol=0)
    upstream = normal(3, 4, 6, 5, seed=2)
    found.backward(upstream)
    with torch.no_grad():
        assert torch.allclose(x.grad, upstream * chosen._mask(x, draws), rtol=1e-6, atol=0)  # type: ignore[arg-type]


def test_only_what_is_small_and_in_training_on_a_gpu_is_fused() -> None:
    x, qkv = normal(2, 5, 32, seed=1), normal(2, 5, 96, seed=1)
    there = DEVICE == "cuda"
    assert ready(torch.device(DEVICE)) and fused_words.usable(x, x) == there == fused_words.attend_usable(qkv, 2)
    assert not fused_words.usable(x.cpu(), x.cpu()) and not fused_words.attend_usable(qkv.cpu(), 2)
    assert not fused_words.usable(x.double(), x.double())
    assert not fused_words.attend_usable(qkv, 4)  # heads of 8
    assert not fused_words.attend_usable(qkv.repeat(1, 13, 1), 2)
    with torch.no_grad():
        assert not fused_words.usable(x, x) and not fused_words.attend_usable(qkv, 2)
