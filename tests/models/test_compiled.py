"""What is compiled for a CPU, beside torch's operators in double precision; and what comes without it."""

import contextlib
import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor, nn

from distillbias.models import compiled, native, passes
from distillbias.models.dropout import Dropout, LockedDropout, _draws_as_torch, fill, give_stream
from distillbias.models.mlp import MLP, Layer
from distillbias.models.native import put_aside
from distillbias.models.nonlinear import gelu
from distillbias.models.recurrence import lstm
from distillbias.tasks.task import Spec
from distillbias.training.distillation import kl_from_teacher

BF16, FLOAT = torch.bfloat16, torch.float32
LAST_BIT = {FLOAT: 2.0**-23, BF16: 2.0**-8}
KINDS = list(LAST_BIT)

pytestmark = pytest.mark.skipif(native.native(torch.zeros(1)) is None, reason="no C compiler here")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dropout(rate: float, layer: type[Dropout] = Dropout) -> Dropout:
    made = layer(rate)
    made.stream = torch.Generator().manual_seed(5)
    return made


def both_ways(function: Callable[..., Tensor], tensors: list[Tensor], upstream: Tensor) -> list[Tensor]:
    """What it says, and its gradients, in double precision."""
    tensors = [each.clone().requires_grad_() for each in tensors]
    said = function(*tensors)
    found = [said.detach(), *torch.autograd.grad(said, tensors, upstream.to(said.dtype))]
    return [each.double() for each in found]


def assert_near(found: list[Tensor], right: list[Tensor], apart: float) -> None:
    """To `apart` of the largest of each."""
    for one, other in zip(found, right, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= apart * other.abs().max().clamp(min=1e-30)


@given(some.integers(0, 2**63), some.integers(0, 1300), some.lists(some.integers(0, 2000), min_size=1, max_size=4))
def test_random_words_are_torchs(seed: int, before: int, counts: list[int]) -> None:
    """To the bit, wherever the generator stands among its 624 numbers, and so is what it draws next."""
    streams = [torch.Generator().manual_seed(seed) for _ in range(2)]
    for stream in streams:
        torch.randint(2, (before,), generator=stream, dtype=torch.int32)
    for count in counts:
        found, right = torch.zeros(2, count, dtype=torch.int64)
        assert fill(found, streams[0]) is found
        with put_aside():
            fill(right, streams[1])
        assert torch.equal(found, right)
    assert torch.equal(streams[0].get_state(), streams[1].get_state())


def test_random_words_of_another_torch_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distillbias.models.dropout.STATE_BYTES", 5000)
    _draws_as_torch.cache_clear()
    found, right = (torch.Generator().manual_seed(1) for _ in range(2))
    words = fill(torch.zeros(9, dtype=torch.int64), found)
    assert torch.equal(words, torch.zeros(9, dtype=torch.int64).random_(-(2**63), None, generator=right))
    assert not _draws_as_torch(native.native(torch.zeros(1)))
    _draws_as_torch.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_dropout_keeps_and_scales_what_torchs_operators_do(kind: torch.dtype, rate: float) -> None:
    x, upstream = drawn(7, 33).to(kind), drawn(7, 33, seed=1).to(kind)
    found = both_ways(dropout(rate), [x], upstream)
    with put_aside():
        right = both_ways(dropout(rate), [x.double()], upstream.double())
    assert 0.5 * rate < float((found[0] == 0).double().mean()) < 2 * rate
    for one, other in zip(found, right, strict=True):
        assert torch.equal(one == 0, other == 0)
        torch.testing.assert_close(one, other, rtol=LAST_BIT[kind], atol=0)


def test_dropout_goes_by_the_order_of_memory() -> None:
    maps = drawn(3, 4, 5, 6).float().contiguous(memory_format=torch.channels_last)
    y = dropout(0.5)(maps)
    assert y.stride() == maps.stride()
    flat = dropout(0.5)(maps.permute(0, 2, 3, 1).contiguous())
    assert torch.equal(y.permute(0, 2, 3, 1), flat)
    maps.requires_grad_()  # a gradient may come in any order
    (down,) = torch.autograd.grad(dropout(0.5)(maps), maps, torch.ones(3, 4, 5, 6))
    assert torch.equal(down != 0, y != 0) and set(down.unique().tolist()) == {0.0, 2.0}


def test_locked_dropout_has_one_mask_for_all_words() -> None:
    y = dropout(0.5, LockedDropout)(torch.ones(4, 9, 32))
    assert torch.equal(y, y[:, :1].expand_as(y)) and set(y.unique().tolist()) == {0.0, 2.0}


def norm_of(weight: Tensor, bias: Tensor) -> nn.LayerNorm:
    """With these tensors themselves, so that gradients come to them."""
    norm = nn.LayerNorm(len(weight))
    for name, value in (("weight", weight), ("bias", bias)):
        delattr(norm, name)
        setattr(norm, name, value)
    return norm


@pytest.mark.parametrize("read", [(0, 1), (0,), (1,)])
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("width", [16, 48, 128])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_added_is_dropped_out_and_normed(
    kind: torch.dtype, width: int, rate: float, read: tuple[int, ...]
) -> None:
    """And what comes down where the answer is made of the sum and its norm, or of one of them alone."""
    shape = 5, 2, width
    given = [3 * drawn(*shape), drawn(*shape, seed=1), *(drawn(width, seed=seed) for seed in (2, 3, 4))]
    found, right = summed(given, kind, rate, read)
    assert_near(found, right, 4 * LAST_BIT[kind])  # of float32 a norm is several roundings


@pytest.mark.parametrize("kind", KINDS)
def test_norm_of_what_is_far_from_zero(kind: torch.dtype) -> None:
    far = 3 * drawn(18, 48) + 100 * drawn(18, 1, seed=1)
    found, right = summed([far, drawn(18, 48, seed=2), *(drawn(48, seed=seed) for seed in (5, 3, 4))], kind)
    # a mean a hundred times the deviation costs two digits of float32
    assert_near(found, right, max(2 * LAST_BIT[kind], 1e3 * LAST_BIT[FLOAT]))


def summed(
    given: list[Tensor], kind: torch.dtype, rate: float = 0.0, read: tuple[int, ...] = (0, 1)
) -> tuple[list[Tensor], list[Tensor]]:
    """What is said of (x, added of a kind, its bias, the norm's weight and bias), and the gradients by them; both in
    double precision."""
    kinds = [FLOAT, kind, FLOAT, FLOAT, FLOAT]
    given = [each.to(exact) for each, exact in zip(given, kinds, strict=True)]
    upstream = [drawn(*given[0].shape, seed=8).float(), drawn(*given[0].shape, seed=9).to(kind)]

    def by(kinds: list[torch.dtype]) -> list[Tensor]:
        x, added, bias, *of_norm = tensors = [
            each.to(to).requires_grad_() for each, to in zip(given, kinds, strict=True)
        ]
        said = compiled.add_and_norm(x, added, bias, dropout(rate), norm_of(*of_norm))
        chosen, above = [said[i] for i in read], [upstream[i].to(said[i].dtype) for i in read]
        return [*said, *torch.autograd.grad(chosen, tensors, above, materialize_grads=True)]

    found = by(kinds)
    with put_aside():
        return found, by([torch.float64] * 5)


def test_a_norm_is_what_the_product_after_it_wants() -> None:
    norm, x = nn.LayerNorm(16), torch.randn(2, 16)
    for way in (contextlib.nullcontext, put_aside):
        with way(), torch.autocast("cpu", BF16):
            said = compiled.add_and_norm(x, x.bfloat16(), None, Dropout(0.0), norm)
        assert [each.dtype for each in said] == [FLOAT, BF16]
    assert [each.dtype for each in compiled.add_and_norm(x, x, None, Dropout(0.0), norm)] == [FLOAT, FLOAT]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.6])
@given(
    time=some.integers(1, 16) | some.integers(17, 64),
    heads=some.sampled_from([1, 3]),
    size=some.sampled_from([16, 32]),
    seed=some.integers(0, 9),
)
def test_attention(kind: torch.dtype, rate: float, time: int, heads: int, size: int, seed: int) -> None:
    """Of sentences of every length that it is for, each word looking at those before it, or at those that are there."""
    qkv, upstream = drawn(3, time, 3 * heads * size, seed=seed).to(kind), drawn(3, time, heads * size, seed=seed + 10)
    before = torch.ones(time, time, dtype=torch.bool).tril()[None, None]
    there = (torch.arange(time) < torch.tensor([[time], [1], [(time + 1) // 2]]))[:, None, None]
    for seen in (before, there):
        hidden = torch.zeros_like(seen, dtype=FLOAT).masked_fill_(~seen, -1e4)
        found = both_ways(lambda x, h=hidden: compiled.attend(x, h, heads, dropout(rate)), [qkv], upstream.to(kind))
        right = both_ways(lambda x, h=hidden: by_torch(x, h, heads, dropout(rate)), [qkv.double()], upstream.to(kind))
        assert_near(found, right, 2 * LAST_BIT[kind] if kind == BF16 else 2e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.6])
@given(
    time=some.integers(1, 16) | some.integers(17, 64),
    sizes=some.sampled_from([(1, 16), (6, 8), (8, 6), (3, 16), (16, 3)]),
    own=some.booleans(),
    seed=some.integers(0, 9),
)
def test_attention_of_one_word(
    kind: torch.dtype, rate: float, time: int, sizes: tuple[int, int], own: bool, seed: int
) -> None:
    """As if keys and contents of all words were made, of sentences of every length that it is for; each looks at what
    is there of its `own`, or at what all of its place look at."""
    heads, size = sizes
    width = heads * size
    x, upstream = drawn(3, time, width, seed=seed).to(kind), drawn(3, width, seed=seed + 10).to(kind)
    qkv = nn.Linear(width, 3 * width)
    weights = [drawn(*each.shape, seed=seed + 20) / width**0.5 for each in qkv.parameters()]
    read, place = torch.tensor([time, 1, (time + 1) // 2]) - 1, torch.arange(time)
    seen = (place <= read[:, None])[:, None, None] if own else (place <= place[:, None])[None, None]
    hidden = torch.zeros_like(seen, dtype=FLOAT).masked_fill_(~seen, -1e4)

    def natively(x: Tensor, *weights: Tensor) -> Tensor:
        with torch.autocast("cpu", BF16, enabled=kind == BF16):
            for name, weight in zip(("weight", "bias"), weights, strict=True):
                del qkv._parameters[name]
                setattr(qkv, name, weight)
            return compiled.ask(x, read, qkv, hidden, heads, dropout(rate))

    def by_operators(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        query, key, value = (x @ weight.T + bias).view(3, time, 3, heads, size).permute(2, 0, 3, 1, 4)
        query = query[[0, 1, 2], :, read][:, :, None]
        scores = (
            query @ key.transpose(2, 3) / size**0.5 + hidden.expand(3, 1, time, time)[[0, 1, 2], :, read][:, :, None]
        )
        with put_aside():
            return (dropout(rate)(scores.softmax(-1).squeeze(2))[:, :, None] @ value).reshape(3, width)

    weights[0] = weights[0].to(BF16).double()  # which bf16 has all digits of
    found = both_ways(natively, [x, *(each.float() for each in weights)], upstream)
    right = both_ways(by_operators, [x.double(), *weights], upstream)
    assert_near(found, right, 4 * LAST_BIT[kind] if kind == BF16 else 4e-6)


def at_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if registers were those that products in float32 are made on."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


def on_amds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this were a processor that products in bf16 are made on, too."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(compiled, "_is_amds", lambda: True)


def by_torch(qkv: Tensor, hidden: Tensor, heads: int, drop: Dropout) -> Tensor:
    batch, time, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    query, key, value = qkv.view(batch, time, 3, heads, -1).permute(2, 0, 3, 1, 4)
    shares = (query @ key.transpose(-1, -2) / (width // heads) ** 0.5 + hidden).softmax(-1)
    with put_aside():
        return (drop(shares.contiguous()) @ value).transpose(1, 2).reshape(batch, time, width)


def test_block_takes_torchs_products_where_attention_is_not_native() -> None:
    hidden = torch.zeros(1, 1, 65, 65)
    assert compiled.attend(torch.randn(2, 65, 48), hidden, 1, dropout(0.5)) is None  # more words than it has room for
    assert (
        compiled.attend(torch.randn(2, 9, 24), hidden[..., :9, :9], 1, dropout(0.5)) is None
    )  # a size of half of them
    assert compiled.attend(torch.randn(2, 9, 48), hidden[..., :9, :9], 1, dropout(0.5)) is not None


def by_double(function: Callable[..., Tensor], x: Tensor, module: nn.Module, upstream: Tensor) -> tuple[list, list]:
    """What is said of x, and all gradients: as it is trained in its type, and in double precision."""
    exact, tensors = copy.deepcopy(module).double(), [x.requires_grad_(), *module.parameters()]
    for each in (module, exact):
        give_stream(each, torch.Generator().manual_seed(5))
    with torch.autocast("cpu", BF16, enabled=x.dtype == BF16):
        said = function(x, module)
    assert said.dtype == x.dtype and type(said.grad_fn).__name__ in ("LayersBackward", "ConvolveBackward")
    found = [said.detach(), *torch.autograd.grad(said, tensors, upstream)]
    tensors = [x.detach().double().requires_grad_(), *exact.parameters()]
    with put_aside():
        said = function(tensors[0], exact)
    right = [said.detach(), *torch.autograd.grad(said, tensors, upstream.double())]
    for name, buffer in exact.named_buffers():
        torch.testing.assert_close(module.get_buffer(name), buffer.to(module.get_buffer(name).dtype), msg=name)
    return [each.double() for each in found], right


def wide(module: nn.Module) -> nn.Module:
    """With random weights, which bf16 has all digits of where products are made of them."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn_ = drawn(*parameter.shape, seed=len(name)) / parameter.shape[-1] ** 0.5
            parameter.copy_(drawn_.to(BF16) if parameter.ndim > 1 else 1 + drawn_)
    return module


SIZES = [
    (2, 1, 1),
    (5, 7, 3),
    (37, 33, 17),
    (128, 96, 80),
    (129, 65, 50),
    (300, 130, 66),
    (1931, 20, 10),
]  # (rows, before, after)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_layers_of_an_mlp(
    sizes: tuple[int, int, int], rate: float, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where sizes are no multiples of anything that is done at once; running statistics follow."""
    at_any_width(monkeypatch)
    rows, before, after = sizes
    layer = wide(Layer(before, after, rate))
    upstream = drawn(rows, after, seed=2).to(kind)
    found, right = by_double(by_itself, drawn(rows, before, seed=1).to(kind), layer, upstream)
    for one, other in zip(found, right, strict=True):
        # of two examples a norm leaves almost nothing of what goes through it; sums of 1,931 rows in float32 are 22
        # last bits from double precision, torch's 19
        assert (one - other).norm() <= (2 if kind == BF16 else 30) * LAST_BIT[kind] * other.norm() + 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [*SIZES[:-1], (300, 530, 66)], ids=str)
def test_layers_of_inputs_that_are_mostly_zero(
    sizes: tuple[int, int, int], kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows and columns are empty, of the others a tenth is left; of all 1,931 rows above gradients cancel each
    other so far that float32 does not have them, by torch either."""
    at_any_width(monkeypatch)
    rows, before, after = sizes
    layer, empty = wide(Layer(before, after, 0.3)), slice(before // 3, before // 2)
    x = 4 * drawn(rows, before, seed=1) * (drawn(rows, before, seed=3) > 1.3)
    x[: rows // 6] = x[:, empty] = 0
    found, right = by_double(by_itself, x.to(kind), layer, drawn(rows, after, seed=2).to(kind))
    assert not found[2][:, empty].any()
    for one, other in zip(found, right, strict=True):
        assert (one - other).norm() <= (2 if kind == BF16 else 30) * LAST_BIT[kind] * other.norm() + 1e-4


@pytest.mark.parametrize(("share", "left_out"), [(0.2, True), (0.3, False)])
def test_what_no_input_has_is_left_out_where_most_are_zero(
    share: float, left_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown by a weight that is no number, and is multiplied with zeros alone."""
    at_any_width(monkeypatch)
    layer = wide(Layer(100, 20, 0.0))
    x = torch.zeros(12, 100)
    x[:, : int(100 * share)] = drawn(12, int(100 * share)).float()
    with torch.no_grad():
        layer[0].weight[:, 99] = torch.nan
    assert bool(by_itself(x, layer).isfinite().all()) == left_out


def by_itself(x: Tensor, layer: nn.Module) -> Tensor:
    assert isinstance(layer, Layer)
    made = compiled.layers(x, [layer.parts])
    return layer(x) if made is None else made[0]


def multiply(x: Tensor, linear: nn.Module) -> Tensor:
    assert isinstance(linear, nn.Linear)
    made = compiled.layers(x, [], linear)
    return linear(x) if made is None else made[0]


def test_an_mlp_is_its_layers_one_by_one() -> None:
    """To the bit, its gradients, too, whichever of what it makes they come from; and who asks for none gets none."""
    mlp = wide(MLP(Spec((6, 6), 10), (80, 48, 16), 0.25))
    images, upstreams = drawn(20, 6, 6).float(), [drawn(20, width, seed=width).to(BF16) for width in (80, 48, 16, 10)]

    def layer_by_layer(x: Tensor) -> list[Tensor]:
        give_stream(mlp, torch.Generator().manual_seed(3))
        x = x.flatten(1)
        made = [x := by_itself(x, layer) for layer in mlp.hidden]
        return [*made, multiply(x, mlp.answer)]

    def at_once(x: Tensor) -> list[Tensor]:
        give_stream(mlp, torch.Generator().manual_seed(3))
        output = mlp(x)
        assert type(output.logits.grad_fn).__name__ == "LayersBackward"
        assert output.hidden["penultimate"] is output.hidden["hidden2"]
        return [*(output.hidden[f"hidden{depth}"] for depth in range(3)), output.logits]

    with torch.autocast("cpu", BF16):
        for some_of_them in ([3], [0, 3], [1], [0, 1, 2, 3]):
            results = []
            for way in (layer_by_layer, at_once):
                x = images.clone().requires_grad_()
                all_made = way(x)
                made = [all_made[place] for place in some_of_them]
                asked = torch.autograd.grad(
                    made, [x, *mlp.parameters()], [upstreams[place] for place in some_of_them], allow_unused=True
                )
                results.append([*made, *asked])
            for one, other in zip(*results, strict=True):
                assert (one is None) == (other is None) and (one is None or torch.equal(one, other))


def test_a_layer_that_was_replaced_is_called() -> None:
    mlp = wide(MLP(Spec((2, 3), 10), (6, 6), 0.0))
    mlp.hidden[1] = nn.Sequential(nn.Linear(6, 6), nn.Hardtanh(0.25, 0.5))
    with torch.autocast("cpu", BF16):
        output = mlp(torch.rand(5, 2, 3))
    assert output.hidden["hidden1"] is output.hidden["penultimate"]
    assert ((output.hidden["hidden1"] >= 0.25) & (output.hidden["hidden1"] <= 0.5)).all()


def test_sums_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit."""
    at_any_width(monkeypatch)
    layer, answer, back = wide(Layer(90, 200, 0.3)), wide(nn.Linear(200, 70)), wide(nn.Linear(70, 200))
    convolution, norm = last(wide(nn.Conv2d(16, 32, 3))), nn.BatchNorm2d(32)
    images = last(drawn(5, 16, 8, 6).to(BF16))

    def everything() -> list[Tensor]:
        layer[3].stream = torch.Generator().manual_seed(3)
        x, maps = drawn(40, 90).to(BF16).requires_grad_(), images.clone().requires_grad_()
        with torch.autocast("cpu", BF16):
            made = compiled.layers(x, [layer.parts], answer)
            made += compiled.layers(x * (x > 1.3), [layer.parts])  # most are zero
            convolved = compiled.convolve(maps, convolution.weight, convolution.bias)
            finished = compiled.finish(convolved, norm, 2, dropout(0.25))
        rows = drawn(500, 200).float()
        made += [compiled.linear(rows, answer), compiled.feed_forward(rows, answer, back)[0]]
        total = sum(each.float().square().sum() for each in (*made, convolved, finished))
        parameters = [each for module in (layer, answer, convolution, norm) for each in module.parameters()]
        return [*made, convolved, finished, *torch.autograd.grad(total, [x, maps, back.weight, *parameters])]

    alone = everything()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together = everything()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("sizes", [(1, 4, 1), *SIZES], ids=str)
def test_linear_layers(sizes: tuple[int, int, int]) -> None:
    rows, before, after = sizes
    given_, upstream = drawn(rows, before, seed=1).to(BF16), drawn(rows, after, seed=2).to(BF16)
    found, right = by_double(multiply, given_, wide(nn.Linear(before, after)), upstream)
    for one, other in zip(found, right, strict=True):
        assert (one - other).norm() <= LAST_BIT[BF16] * other.norm()
    for one, other in zip(found[2:], right[2:], strict=True):  # in the type of the weights
        assert (one - other).norm() <= 10 * LAST_BIT[FLOAT] * other.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [*SIZES, (384, 48, 24), (400, 26, 150)], ids=str)
def test_feed_forward_layers(sizes: tuple[int, int, int], kind: torch.dtype) -> None:
    """Of few rows and of so many that parts of them have sums of their own."""
    rows, width, many = sizes
    functions = native.native(torch.zeros(1, dtype=kind))
    assert functions
    given_ = [drawn(rows, width, seed=1), *(drawn(*size, seed=2) / 4 for size in ((many, width), (many,)))]
    given_ = [each.to(kind).float() for each in (*given_, drawn(width, many, seed=3) / 4)]
    upstream = drawn(rows, width, seed=4).to(kind)

    def ours(x: Tensor, *weights: Tensor) -> Tensor:
        return passes.Feed.apply(x.to(kind), *weights, functions)

    def torchs(x: Tensor, widen: Tensor, bias: Tensor, narrow: Tensor) -> Tensor:
        return F.gelu(x @ widen.t() + bias, approximate="tanh") @ narrow.t()

    found, right = both_ways(ours, given_, upstream), both_ways(torchs, [each.double() for each in given_], upstream)
    for one, other in zip(found, right, strict=True):
        assert (one - other).norm() <= (3 if kind == BF16 else 10) * LAST_BIT[kind] * other.norm()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("sizes", [*SIZES, (384, 48, 24), (400, 26, 150)], ids=str)
def test_linear_layers_of_rows(
    sizes: tuple[int, int, int], biased: bool, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_amds(monkeypatch)
    rows, before, after = sizes
    layer = wide(nn.Linear(before, after))
    assert isinstance(layer, nn.Linear)
    x, upstream = drawn(rows, before, seed=1).to(kind).requires_grad_(), drawn(rows, after, seed=2).to(kind)
    with torch.autocast("cpu", BF16, enabled=kind == BF16):
        said = compiled.linear(x, layer) if biased else compiled.product(x, layer)[0]
    assert type(said.grad_fn).__name__ == "LinearBackward"
    learnt = [layer.weight, layer.bias] if biased else [layer.weight]
    found = [said, *torch.autograd.grad(said, [x, *learnt], upstream)]
    exact = [each.detach().double().requires_grad_() for each in (x, *learnt)]
    said = F.linear(exact[0], exact[1], exact[2] if biased else None)
    right = [said, *torch.autograd.grad(said, exact, upstream.double())]
    for place, (one, other) in enumerate(zip(found, right, strict=True)):
        rounded = kind == BF16 and place < 2  # gradients by weights and bias are in the type of these
        assert (one - other).norm() <= (LAST_BIT[BF16] if rounded else 10 * LAST_BIT[FLOAT]) * other.norm()


def test_where_products_of_a_transformer_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    x, widen, narrow = torch.randn(3, 4, 16), nn.Linear(16, 32), nn.Linear(32, 16)
    right = narrow(F.gelu(widen(x), approximate="tanh"))

    def who() -> list[str]:
        y, bias = compiled.feed_forward(x, widen, narrow)
        torch.testing.assert_close(y if bias is None else y + bias, right, atol=1e-2, rtol=1e-2)
        made = compiled.linear(x, widen), compiled.product(x, widen)[0], y
        return [type(each.grad_fn).__name__.removesuffix("Backward") for each in made]

    ours = ["Linear", "Linear", "Feed"]
    at_any_width(monkeypatch)
    assert who() == ours
    with torch.no_grad():
        torch.testing.assert_close(compiled.feed_forward(x, widen, narrow)[0] + narrow.bias, right)
    with put_aside():
        assert not set(who()) & set(ours)
    with torch.autocast("cpu", BF16):
        assert not set(who()) & set(ours)
    on_amds(monkeypatch)
    assert who() == ours
    x = x.to(BF16)
    with torch.autocast("cpu", BF16):
        assert who() == ours
        at_any_width(monkeypatch)  # where bf16 is emulated
        assert not set(who()) & set(ours)
    x = x.float()
    on_amds(monkeypatch)
    monkeypatch.setattr(compiled, "_is_amds", lambda: False)
    assert not set(who()) & set(ours)


# (images, rows, columns, before, after, bias): the CNN's; tiles that fill no block; lines longer than one; one tile
MAPS = [
    (3, 26, 26, 128, 64, False),
    (5, 12, 12, 64, 64, True),
    (2, 6, 16, 16, 32, True),
    (1, 4, 104, 32, 16, False),
    (1, 4, 4, 16, 16, True),
]


def last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last)


def through(x: Tensor, convolution: nn.Module) -> Tensor:
    assert isinstance(convolution, nn.Conv2d)
    found = compiled.convolve(x, convolution.weight, convolution.bias)
    return convolution(x) if found is None else found


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("sizes", MAPS, ids=str)
def test_convolutions_of_whole_numbers_are_exact(
    sizes: tuple[int, int, int, int, int, bool], kind: torch.dtype
) -> None:
    """All sums have few enough digits, and what becomes of the weights is whole if they are multiples of four."""
    images, rows, columns, before, after, bias = sizes
    draws = torch.Generator().manual_seed(1)
    whole = lambda most, *shape: torch.randint(-most, most + 1, shape, generator=draws).float()  # noqa: E731
    convolution = last(nn.Conv2d(before, after, 3, bias=bias))
    with torch.no_grad():
        for parameter in convolution.parameters():
            parameter.copy_(4 * whole(2, *parameter.shape))
    x, upstream = last(whole(2, images, before, rows, columns)), last(whole(1, images, after, rows - 2, columns - 2))
    found, right = by_double(through, x.to(kind), convolution, upstream.to(kind))
    for k, (one, other) in enumerate(zip(found, right, strict=True)):
        assert torch.equal(one, other if k > 1 else other.to(kind).double())


@pytest.mark.parametrize("positive", [False, True], ids=["of either sign", "above zero"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("sizes", MAPS, ids=str)
def test_convolutions_round_little_more_than_torchs(
    sizes: tuple[int, int, int, int, int, bool], kind: torch.dtype, positive: bool
) -> None:
    """To some three times the error of torch's; what is above zero is as what passed a ReLU."""
    images, rows, columns, before, after, bias = sizes
    x, upstream = last(drawn(images, before, rows, columns, seed=1)), last(drawn(images, after, rows - 2, columns - 2))
    x, upstream = (x.clamp(min=0) if positive else x).to(kind), upstream.to(kind)
    convolution = last(wide(nn.Conv2d(before, after, 3, bias=bias)))
    found, right = by_double(through, x, convolution, upstream)
    with torch.autocast("cpu", BF16, enabled=kind == BF16):
        said = convolution(x)
    theirs = [said.detach(), *torch.autograd.grad(said, [x, *convolution.parameters()], upstream)]
    for one, other, torchs in zip(found, right, theirs, strict=True):
        apart, torchs_apart = ((each - other).norm() / other.norm() for each in (one, torchs.double()))
        assert apart <= 3 * torchs_apart


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_where_a_convolution_is_torchs(kind: torch.dtype) -> None:
    x, weight = last(torch.randn(2, 16, 6, 4)), last(torch.randn(32, 16, 3, 3)).requires_grad_()
    with torch.autocast("cpu", BF16, enabled=kind == BF16):
        found = compiled.convolve(x, weight, None)
        with torch.no_grad():  # as in evaluation
            again = compiled.convolve(x, weight, None)
        assert found is not None and again is not None and torch.equal(found, again)
        for other in (x[:, :, 1:], x[..., 1:], x.contiguous()):
            assert compiled.convolve(other, weight, None) is None
        for other in (weight[:8], weight.contiguous(), last(torch.randn(32, 16, 5, 5)), weight.double()):
            assert compiled.convolve(x, other, None) is None
        assert compiled.convolve(last(x[:, :8]), last(weight[:, :8]), None) is None
        with put_aside():
            assert compiled.convolve(x, weight, None) is None
    assert compiled.convolve(x.double(), weight, None) is None


WITHOUT = """
import torch
from torch import nn
from distillbias.models import compiled, native
x, linear = torch.randn(50, 33).bfloat16(), nn.Linear(33, 18)
with torch.autocast("cpu", torch.bfloat16):
    (found,) = compiled.layers(x, [], linear)
right = x.double() @ linear.weight.bfloat16().double().T + linear.bias.double()
print(native.native(x) is not None, float((found.double() - right).norm() / right.norm()) < 2**-8)
"""


def quick(folder: Path, before: str = "", *more: str) -> str:
    """A compiler that begins with a line of the shell, has some options more, and optimises less, in less time."""
    compiler = folder / "cc"
    compiler.write_text(f'#!/bin/sh\n{before}\nexec cc "$@" {" ".join(more)} -O1\n')
    compiler.chmod(0o755)
    return str(compiler)


def test_processors_without_products_in_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = quick(tmp_path, "", "-mno-avx512bf16")
    assert told(tmp_path, monkeypatch, WITHOUT, CC=compiler) == ["True True"]


def test_compilers_without_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Apple's are: they do not know `-fopenmp`."""
    compiler = quick(tmp_path, 'for word; do [ "$word" != -fopenmp ] || exit 1; done')
    assert told(tmp_path, monkeypatch, WITHOUT, CC=compiler) == ["True True"]


def test_where_a_layer_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In evaluation, without gradients, of one example, with statistics that processes share, and in float32 where
    torch's products take no more time."""
    parts, x = compiled.Layer(nn.Linear(8, 4), nn.BatchNorm1d(4), Dropout(0.0)), torch.randn(6, 8)
    answer = nn.Linear(4, 3)
    with torch.autocast("cpu", BF16):
        assert compiled.layers(x, [parts], answer) is not None
        assert compiled.layers(x[:1], [parts], answer) is None
        assert compiled.layers(x[:1], [], parts.linear) is not None
        with torch.no_grad():
            assert compiled.layers(x, [parts], answer) is None
        with put_aside():
            assert compiled.layers(x, [parts], answer) is None
    at_any_width(monkeypatch)
    assert compiled.layers(x, [parts], answer) is not None and compiled.layers(x.double(), [parts], answer) is None
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(compiled, "_is_amds", lambda: False)
    assert compiled.layers(x, [parts], answer) is None
    plain = nn.Linear(8, 4, bias=False)
    with torch.autocast("cpu", BF16):
        assert compiled.layers(x, [parts._replace(linear=plain)]) is None
        for other in (nn.Linear(4, 3, bias=False), nn.Linear(4, 3).eval(), nn.Linear(4, 3).double()):
            assert compiled.layers(x, [parts], other) is None
    others = nn.BatchNorm1d(4).eval(), nn.BatchNorm1d(4, track_running_stats=False), nn.BatchNorm1d(4, affine=False)
    shared = nn.BatchNorm1d(4)
    shared.forward = lambda x: x  # type: ignore[method-assign]
    for norm in (*others, nn.BatchNorm1d(4).bfloat16(), nn.Identity(), shared):
        with torch.autocast("cpu", BF16):
            assert compiled.layers(x, [parts._replace(norm=norm)], answer) is None


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_a_classifiers_divergence(temperature: float) -> None:
    student, teacher = (5 * drawn(37, 10, seed=seed).float() for seed in (1, 2))
    upstream = drawn(37, seed=3).float()

    def from_teacher(answers: Tensor) -> Tensor:
        return kl_from_teacher(answers, teacher.to(answers.dtype), temperature)

    found, right = (both_ways(from_teacher, [each], upstream) for each in (student, student.double()))
    assert_near(found, right, 2e-6)
    (slope,) = torch.autograd.grad(kl_from_teacher(teacher.requires_grad_(), teacher.detach()).sum(), teacher)
    assert not slope.any()  # a perfect student has nothing to learn
    for one, other in ((student.to(BF16), teacher), (student.to(BF16), teacher.to(BF16)), (student, teacher.double())):
        assert compiled.divergence(one.detach().requires_grad_(), other.detach(), temperature, 1.0) is None
    assert compiled.divergence(student, teacher.detach(), temperature, 1.0) is None  # evaluation


@pytest.mark.parametrize(("kind", "apart"), [(FLOAT, 1e-6), (BF16, 4e-6)])
def test_losses_over_a_vocabulary_are_as_exact_as_the_exponential(kind: torch.dtype, apart: float) -> None:
    """The one for bf16 has a shorter polynomial, to 3e-6; sums are in float32 whatever the logits are."""
    logits, right, losses = (2 * drawn(40, 300)).to(kind), torch.arange(40), torch.empty(40)
    expected = nn.functional.cross_entropy(logits.double(), right, reduction="none")
    native.native(logits)("cross_entropy", logits, right, losses, 40, 300)
    assert ((losses.double() - expected).abs() <= apart * (1 + expected)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [12, 64, 77])
def test_gelu_far_from_zero_is_the_line_or_nothing(kind: torch.dtype, width: int) -> None:
    far = torch.tensor([-1e4, -300.0, -88.5, -40.0, -13.0, -5.0, 0.0, 5.0, 13.0, 88.5, 300.0, 1e4]).repeat(7)[:width]
    x = torch.stack([far, far.flip(0)]).to(kind).requires_grad_()
    exact = x.detach().double().requires_grad_()
    found, right = gelu(x), F.gelu(exact, approximate="tanh")
    found.sum().backward()
    right.sum().backward()
    for one, other in ((found, right), (x.grad, exact.grad)):  # of 1 - sigmoid a last bit of 1, times 35 at 5
        assert torch.allclose(one.double(), other, rtol=4 * LAST_BIT[kind], atol=35 * LAST_BIT[FLOAT])


def test_not_a_number_stays_one() -> None:
    """A training that has come apart must be seen to have: no maximum and no clamp may hide it."""
    nan = torch.full((2, 16), torch.nan)
    functions = native.native(nan)
    losses = torch.zeros(2)
    assert gelu(nan).isnan().all() and gelu(torch.zeros(2, 16), nan[0]).isnan().all()
    functions("kl_from_teacher", nan, torch.zeros(2, 16), 1.0, 1.0, torch.empty(2, 16), losses, 2, 16)
    assert losses.isnan().all()
    functions("cross_entropy", nan.clone(), torch.zeros(2, dtype=torch.int64), losses, 2, 16)
    assert losses.isnan().all()
    weights = (torch.ones(16, 16), torch.ones(16, 4), torch.zeros(16))
    assert lstm(nan[:, None], *weights, torch.ones(4)).isnan().all()
    hidden = torch.zeros(1, 1, 2, 2)
    assert compiled.attend(torch.full((1, 2, 48), torch.nan), hidden, 1, dropout(0.0)).isnan().all()
    assert all(each.isnan().all() for each in compiled.add_and_norm(nan, nan, None, dropout(0.0), nn.LayerNorm(16)))
    assert dropout(0.5)(nan).isnan().all()
    narrow = nan.to(BF16)
    layer = Layer(16, 4, 0.0)
    with torch.autocast("cpu", BF16):
        assert by_itself(narrow, layer).isnan().all() and multiply(narrow, layer[0]).isnan().all()
    assert kl_from_teacher(nan.requires_grad_(), torch.zeros(2, 16)).isnan().all()
    assert gelu(narrow).isnan().all()


@given(
    sizes=some.tuples(some.integers(1, 9), some.integers(1, 7), some.integers(1, 40)),
    entries=some.integers(1, 50),
    seed=some.integers(0, 9),
    kind=some.sampled_from([torch.int32, torch.int64]),
)
def test_the_gradient_by_an_embedding_is_torchs_to_the_bit(
    sizes: tuple[int, int, int], entries: int, seed: int, kind: torch.dtype
) -> None:
    """Of words that come often, once and never, on one thread and on two."""
    rows, time, width = sizes
    places = torch.randint(entries, (time, rows), generator=torch.Generator().manual_seed(seed)).to(kind).T
    embedding, upstream = nn.Embedding(entries, width), drawn(rows, time, width, seed=seed).float()
    (right,) = torch.autograd.grad(embedding(places), embedding.weight, upstream)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            said = compiled.embed(places, embedding)
            assert type(said.grad_fn).__name__ == "EmbedBackward" and torch.equal(said, embedding(places))
            assert torch.equal(torch.autograd.grad(said, embedding.weight, upstream)[0], right)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "more", [{"padding_idx": 1}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}]
)
def test_an_embedding_of_another_kind_is_torchs(more: dict[str, Any]) -> None:
    places, embedding = torch.tensor([[1, 2, 2]]), nn.Embedding(4, 16, **more)
    said = compiled.embed(places, embedding)
    assert type(said.grad_fn).__name__ == "EmbeddingBackward0" and torch.equal(said, embedding(places))


def test_who_adds_the_bias_of_a_product() -> None:
    linear, x = nn.Linear(16, 32), torch.randn(3, 16)
    found, bias = compiled.product(x, linear)
    torch.testing.assert_close(found + bias, linear(x))
    assert bias is linear.bias
    for at, other in ((x.double(), nn.Linear(16, 32).double()), (x, nn.Linear(16, 32, bias=False))):
        found, bias = compiled.product(at, other)
        assert torch.equal(found, other(at)) and bias is None
    with put_aside():
        assert compiled.product(x, linear)[1] is None
    with torch.autocast("cpu", BF16):
        found, bias = compiled.product(x, linear)
        assert found.dtype == BF16 and bias is linear.bias
    with torch.autocast("cpu", torch.float16):  # which nothing here is native for
        assert compiled.product(x, linear)[1] is None
    hooked = nn.utils.parametrizations.weight_norm(nn.Linear(16, 32))
    assert torch.equal(compiled.product(x, hooked)[0], hooked(x)) and compiled.product(x, hooked)[1] is None


def test_where_torchs_own_operators_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1)
    assert native.native(x) and native.native(x.to(BF16)) and native.native(x, BF16)
    assert native.native(x.double()) is None and native.native(x.half()) is None
    with put_aside():
        assert native.native(x) is None
        with contextlib.suppress(RuntimeError), put_aside():
            raise RuntimeError
        assert native.native(x) is None
    assert native.native(x)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert native.native(x)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert native.native(x) is None and native.native(x, shared=False)


TRY = """
import torch
torch.set_num_threads(1)
from distillbias.models.nonlinear import gelu
from distillbias.models.native import native
gelu(torch.ones(3))
print("native" if native(torch.ones(3)) else "torch")
"""


def told(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str = TRY, **more: str) -> list[str]:
    """What a new process says that keeps what it compiles in `folder`."""
    monkeypatch.setenv("DISTILLBIAS_CACHE", str(folder))
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return said.stdout.splitlines()


def test_what_was_compiled_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", quick(tmp_path))
    assert told(tmp_path, monkeypatch) == ["native"]
    (library,) = (tmp_path / "native").iterdir()  # and nothing half-made beside it
    made = library.stat().st_mtime_ns
    assert told(tmp_path, monkeypatch) == ["native"]
    assert [each.stat().st_mtime_ns for each in (tmp_path / "native").iterdir()] == [made]


@pytest.mark.parametrize(
    ("compiler", "why"),
    [("no-such-compiler", "no-such-compiler"), ("false", "exit status 1"), ("cc -no-such-flag", "no-such-flag")],
)
def test_without_a_compiler_a_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler, why) -> None:
    line, way = told(tmp_path, monkeypatch, CC=compiler)
    assert way == "torch" and line.startswith("torch's own operators are used") and why in line
    assert not [*tmp_path.rglob("*.so")]


def test_where_nothing_can_be_kept_a_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    line, way = told(tmp_path / "file", monkeypatch)
    assert way == "torch" and str(tmp_path / "file") in line
