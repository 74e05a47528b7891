"""What follows a convolution, in a few kernels or compiled, beside torch's operators: values, slopes, statistics."""

import copy
import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distillbias.models import compiled, fused
from distillbias.models.cnn import Maxout, one_channel, product
from distillbias.models.dropout import Dropout
from distillbias.models.kernels import _found, ready
from distillbias.models.native import native, put_aside
from distillbias.models.output import batch_norm

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
triton = pytest.mark.skipif(find_spec("triton") is None, reason="torch has no builds for GPUs here")
compiler = pytest.mark.skipif(native(torch.zeros(1)) is None, reason="no C compiler here")


class Way(NamedTuple):
    finish: Callable[..., Tensor | None]
    device: str
    rounded: float  # of bf16, relative


KERNELS = Way(fused.finish, DEVICE, 2**-8 if DEVICE == "cuda" else 2**-7)  # Triton's interpreter cuts digits off
NATIVE = Way(compiled.finish, "cpu", 2**-8)
both_ways = pytest.mark.parametrize(
    "way", [pytest.param(KERNELS, marks=triton, id="kernels"), pytest.param(NATIVE, marks=compiler, id="native")]
)
# (images, channels, maxout's group, rows, columns, pool, rate)
SHAPES = [
    (5, 8, 1, 6, 6, 1, 0.3),
    (3, 4, 4, 4, 6, 2, 0.3),
    (3, 6, 1, 4, 6, 2, 0.0),
    (2, 5, 3, 3, 6, 3, 0.5),
    (5, 64, 1, 6, 4, 1, 0.3),
    (2, 1, 1, 2, 2, 2, 0.0),
    (2, 19, 2, 5, 7, 1, 0.3),
]


def layers(channels: int, rate: float, device: str) -> tuple[nn.BatchNorm2d, Dropout]:
    norm, dropout = batch_norm(nn.BatchNorm2d, channels).to(device), Dropout(rate)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels, generator=draws))  # of either sign
        norm.bias.copy_(torch.randn(channels, generator=draws))
    dropout.stream = torch.Generator(device).manual_seed(7)
    return norm, dropout


def maps(images: int, channels: int, rows: int, columns: int, dtype: torch.dtype, device: str) -> Tensor:
    """Channels-last, each with a mean and a deviation of its own."""
    draws = torch.Generator().manual_seed(2)
    x = torch.randn(images, channels, rows, columns, generator=draws)
    x = 5 * torch.randn(channels, 1, 1, generator=draws) + x * torch.rand(channels, 1, 1, generator=draws).add(0.1)
    return x.to(device, dtype).contiguous(memory_format=torch.channels_last)


def by_torch(x: Tensor, norm: nn.BatchNorm2d, pool: int, dropout: Dropout) -> Tensor:
    """Maxout by channels-last, so that draws come in the same order."""
    x = Maxout(norm.num_features)(x).contiguous(memory_format=torch.channels_last)
    return dropout(F.relu(F.max_pool2d(norm(x), pool)))


def nearness(x: Tensor, norm: nn.BatchNorm2d, rate: float) -> Tensor:
    """[channels, 1, 1]: four times what rounding of `x` and its mean to float32 makes of their difference."""
    apart = x.unflatten(1, (norm.num_features, -1)).abs().amax((0, 2, 3, 4)) * 2**-24
    deviation = Maxout(norm.num_features)(x).double().std((0, 2, 3), correction=0)
    return (4 * apart / deviation * norm.weight.abs() / (1 - rate) + 1e-6).detach()[:, None, None]


@both_ways
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("tile", [256, 4096])
def test_values_slopes_and_statistics_are_those_of_torch(
    way: Way, shape: tuple, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, channels, group, rows, columns, pool, rate = shape
    monkeypatch.setattr(fused, "TILE", tile)
    monkeypatch.setattr(fused, "SUMMED", 2 * tile)
    monkeypatch.setattr(fused, "PROGRAMS", 5)
    x = maps(images, channels * group, rows, columns, torch.float32, way.device)
    norm, dropout = layers(channels, rate, way.device)
    # in float64, but with the draws of float32
    exact, right = copy.deepcopy(norm).double(), x.double().requires_grad_()
    dropout_again = layers(channels, rate, way.device)[1]
    expected = by_torch(right, exact, pool, dropout_again)
    x.requires_grad_()
    found = way.finish(x, norm, pool, dropout)
    near = nearness(x.detach(), exact, rate)
    assert found is not None and ((found - expected).abs() <= near).all()
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3)).to(way.device)
    found.backward(upstream)
    expected.backward(upstream.double())
    for ours, theirs in ((x, right), (norm.weight, exact.weight), (norm.bias, exact.bias)):
        assert ours.grad is not None and theirs.grad is not None
        assert (ours.grad.double() - theirs.grad).norm() < 1e-5 * theirs.grad.norm()
    for name, buffer in exact.named_buffers():
        assert torch.allclose(norm.get_buffer(name).double(), buffer.double(), rtol=1e-5, atol=1e-7), name


@both_ways
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bf16_is_rounded_once(way: Way, shape: tuple) -> None:
    images, channels, group, rows, columns, pool, rate = shape
    x = maps(images, channels * group, rows, columns, torch.bfloat16, way.device)
    norm, dropout = layers(channels, rate, way.device)
    exact, right = copy.deepcopy(norm).double(), x.detach().double().requires_grad_()
    expected = by_torch(right, exact, pool, layers(channels, rate, way.device)[1])
    found = way.finish(x.requires_grad_(), norm, pool, dropout)
    assert found is not None and found.dtype == torch.bfloat16
    assert (found.double() - expected).abs().le(expected.abs() * way.rounded + 1e-6).all()
    expected.sum().backward()
    found.sum().backward()
    assert x.grad is not None and right.grad is not None and x.grad.dtype == torch.bfloat16
    # of two that are equal in bf16 ours gives all to the first, torch half to each
    ours, theirs = (each.double().unflatten(1, (channels, group)).sum(2) for each in (x.grad, right.grad))
    assert (ours - theirs).norm() < way.rounded * theirs.norm()


@compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_evaluation_values_are_those_of_torch(shape: tuple, dtype: torch.dtype) -> None:
    images, channels, group, rows, columns, pool, rate = shape
    x = maps(images, channels * group, rows, columns, dtype, "cpu")
    norm, dropout = layers(channels, rate, "cpu")
    norm(2 * maps(7, channels, 3, 5, torch.float32, "cpu") + 1)  # statistics that are not those of x
    norm.eval(), dropout.eval()
    exact = copy.deepcopy(norm).double()
    with torch.no_grad():
        found, expected = compiled.finish(x, norm, pool, dropout), by_torch(x.double(), exact, pool, dropout)
    assert found is not None and found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)
    apart = x.double().abs().amax() + exact.running_mean.abs()
    near = (4 * 2**-24 * apart * norm.weight.abs() / exact.running_var.sqrt() + 1e-6)[:, None, None]
    assert ((found.double() - expected).abs() <= near + (0 if dtype == torch.float32 else 2**-8 * expected)).all()
    for name, buffer in exact.named_buffers():
        assert torch.equal(norm.get_buffer(name).double(), buffer.double()), name


@both_ways
@pytest.mark.parametrize("pool", [1, 2])
def test_of_equal_values_the_first_gets_the_slope(way: Way, pool: int) -> None:
    x, (norm, dropout) = torch.zeros(3, 8, 4, 6, device=way.device), layers(4, 0.0, way.device)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.no_grad():
        x[1] = 1  # or the norm would have nothing to scale
        norm.bias.fill_(5)
    found = way.finish(x, norm, pool, dropout)
    assert found is not None
    (down,) = torch.autograd.grad(found, x, torch.randn_like(found))
    assert not down[:, 1::2].any() and down[:, ::2].any()  # pairs of channels; batch norm gives to all pixels
    plain = torch.zeros(3, 8, 4, 6, device=way.device)
    plain[1] = 1
    right = plain.requires_grad_()
    expected = F.relu(F.max_pool2d(norm(right[:, ::2]), pool))
    (theirs,) = torch.autograd.grad(expected, right, torch.ones_like(expected))
    (down,) = torch.autograd.grad(way.finish(x, norm, pool, dropout), x, torch.ones_like(expected))
    assert torch.allclose(down, theirs, atol=1e-5)


@both_ways
@pytest.mark.parametrize("pool", [1, 2])
def test_what_is_not_a_number_is_not_hidden(way: Way, pool: int) -> None:
    x, (norm, dropout) = maps(2, 4, 4, 4, torch.float32, way.device), layers(4, 0.3, way.device)
    x[1, 2, 3, 3] = torch.nan
    found = way.finish(x.requires_grad_(), norm, pool, dropout)
    assert found is not None and found[:, 2].isnan().any() and not found[:, [0, 1, 3]].isnan().any()
    (down,) = torch.autograd.grad(found, x, torch.ones_like(found))
    assert down[:, 2].isnan().all() and not down[:, [0, 1, 3]].isnan().any()


def test_where_what_follows_a_convolution_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training without gradients, in evaluation with them, where windows do not fill the maps, and with statistics
    that processes share; whichever way would be there."""
    monkeypatch.setattr("distillbias.models.compiled.native", lambda x: print)
    monkeypatch.setattr("distillbias.models.passes.Finish.apply", lambda *given: given[0])
    x, (norm, dropout) = maps(2, 4, 4, 4, torch.float32, "cpu"), layers(4, 0.3, "cpu")
    assert compiled.finish(x, norm, 2, dropout) is not None
    assert compiled.finish(x.contiguous(), norm, 2, dropout) is None
    assert compiled.finish(x, norm, 3, dropout) is None
    assert compiled.finish(x[:1, :, :1, :1], norm, 1, dropout) is None  # of one value there is no deviation
    with torch.no_grad():
        assert compiled.finish(x, norm, 2, dropout) is None
        monkeypatch.setattr("distillbias.models.passes.finish_known", lambda *given: given[0])
        norm.eval()
        assert compiled.finish(x, norm, 2, dropout) is None  # a teacher whose dropout is left on
        dropout.eval()
        assert compiled.finish(x, norm, 2, dropout) is not None
        for unlike in (nn.BatchNorm2d(4, track_running_stats=False), nn.BatchNorm2d(4, affine=False), nn.Identity()):
            assert compiled.finish(x, unlike.eval(), 2, dropout) is None
    assert compiled.finish(x, norm, 2, dropout) is None
    norm.train(), dropout.train()
    others = nn.BatchNorm2d(4, track_running_stats=False), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4).eval()
    others += (nn.BatchNorm2d(4).bfloat16(),)  # native.c reads float32
    for other in (*others, nn.BatchNorm2d(4, momentum=None), nn.Identity()):
        assert compiled.finish(x, other, 2, dropout) is None
    norm.forward = lambda x: x  # type: ignore[method-assign]
    assert compiled.finish(x, norm, 2, dropout) is None


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("half", [False, True])
def test_a_convolution_of_one_channel_as_a_product(side: int, half: bool) -> None:
    x = one_channel(torch.rand(3, 9, 8, device=DEVICE))
    weight = torch.randn(6, 1, side, side, device=DEVICE, requires_grad=True)
    again = weight.detach().clone().requires_grad_()
    with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
        found, expected = product(x, weight), F.conv2d(x, again)
    assert found.dtype == expected.dtype and found.is_contiguous(memory_format=torch.channels_last)
    found.float().square().sum().backward()
    expected.float().square().sum().backward()
    near = 2e-2 if half else 1e-5
    for ours, theirs in ((found, expected), (weight.grad, again.grad)):
        assert ours is not None and theirs is not None
        assert (ours - theirs).norm() < near * theirs.norm()


@triton
def test_where_triton_cannot_compile_torchs_operators_are_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __getitem__(self, grid: tuple[int, ...]) -> None:
            raise RuntimeError("Python.h: No such file or directory\nand more")

    found = importlib.import_module("distillbias.models.kernels.maps")
    monkeypatch.setattr(found, "add", Broken())
    _found.cache_clear()
    assert not ready(torch.device(DEVICE))
    _found.cache_clear()
    said = capsys.readouterr().out
    assert (
        said == "Triton cannot compile, torch's own operators take their place: Python.h: No such file or directory\n"
    )


def test_another_gpu_than_the_current_one_has_torchs_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton launches on the current one, whatever its tensors say."""
    monkeypatch.setattr("distillbias.models.kernels._found", lambda device: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert [ready(torch.device(name)) for name in ("cuda:0", "cuda:1", "cuda")] == [False, True, True]
    with put_aside():
        assert not ready(torch.device("cuda:1"))
