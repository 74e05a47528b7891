"""One LSTM layer in training on a CPU, where recurrent dropout leaves only some units to be carried on.

With one mask for a batch (T18), dropping a unit empties its column of the recurrent weights, and products with empty
columns need not be computed: at the paper's rate of .8 that is two fifths of a layer's arithmetic. Products with inputs
that are dropped out for a whole sentence are left out, too, another two fifths, where `takes_few` says so. By
`benchmarks/nonlinear.py`, forward and backward, one thread of an AMD EPYC (Zen 5, commit b69f387): nine words at width
256 and rate .8 in 3.49 ms in bf16, 6.19 if all inputs are multiplied, 8.98 without `native.c`, where torch's layer
takes 9.76; thirty words at width 512 and rate .5 in 74, 86, 103 and 113; in float32 in 6.52, 20.4, 24.7 and 17.4, and
in 146, 275, 347 and 203.
"""

from math import ceil
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from distillbias.models.compiled import multiplied, on_wide_amds
from distillbias.models.native import Native, native

TOGETHER = 8  # units
LANES = 32  # values of a vector of native.c, on processors where they are most
FEW = 0.5  # rate of input dropout from which on the products of what it leaves alone take less time than those of all


def lstm(
    x: Float[Tensor, "batch time inputs"],
    weight_ih: Float[Tensor, "gates inputs"],
    weight_hh: Float[Tensor, "gates width"],
    bias: Float[Tensor, " gates"],
    mask: Float[Tensor, " width"],
    entering: Float[Tensor, "batch inputs"] | None = None,
) -> Float[Tensor, "batch time width"]:
    """What `torch.lstm` says from a state of zeros if its recurrent weights are weight_hh * mask, to rounding.

    With `entering` it reads x * entering, a factor for each input of a sentence; natively products are made of those
    alone that are not zero. Gates in the order input, forget, cell, output. Under autocast gates are kept in its type,
    cells in float32.
    """
    kind = multiplied(x)
    x = x.to(kind)
    exact = all(each.dtype == torch.float32 for each in (weight_ih, weight_hh, bias, mask))
    functions = native(x) if exact else None
    if entering is not None and (functions is None or len(bias) % LANES):
        x, entering = x * entering[:, None].to(kind), None
    if functions is not None:
        return _NativeLstm.apply(x, weight_ih, weight_hh.contiguous(), bias, mask, entering, functions)
    # dropped units fill up the last eight, with empty columns: each number of units that is new is a product for which
    # code is made anew, which takes longer than the product does
    many = ceil(int(mask.count_nonzero()) / TOGETHER) * TOGETHER
    kept = mask.argsort(descending=True, stable=True)[:many]
    carried = weight_hh.index_select(1, kept) * mask[kept]
    return _Lstm.apply(x, weight_ih, carried, bias, kept)


def takes_few(x: Float[Tensor, "batch time inputs"], rate: float) -> bool:
    """Whether a layer whose inputs are dropped out at `rate` should be given them and their factors apart.

    On AMD's registers of 64 bytes a layer of 256 or 512 took .63 to .69 of the time in bf16 at a rate of .8, .84 to .96
    at .5, more at .2; in float32 .35 to .39, .50 to .54 and, with no input dropped, .68 to .76. On other processors
    it was tried in float32 alone.
    """
    kind = multiplied(x)
    if native(x, kind) is None:
        return False
    if kind == torch.float32:
        return on_wide_amds() or rate >= FEW
    return on_wide_amds() and rate >= FEW


class _NativeLstm(torch.autograd.Function):
    """`native.c` chooses the kept units itself, so that no shape here depends on them and steps can be recorded."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
        mask: Tensor,
        entering: Tensor | None,
        functions: Native,
    ) -> Tensor:
        batch, time, inputs = x.shape
        width = len(mask)
        if entering is None:
            x, weight_ih = x.transpose(0, 1).reshape(time * batch, inputs), weight_ih.to(x.dtype)
            gates = (x @ weight_ih.t()).view(time, batch, 4 * width)
        else:
            x, weight, entering = x.contiguous(), weight_ih.contiguous(), entering.float().contiguous()
            gates, weight_ih = x.new_empty(time, batch, 4 * width), x.new_empty(inputs, 4 * width)  # that on its side
            functions("enter", x, entering, weight, weight_ih, gates, batch, time, inputs, 4 * width)
        cells = torch.empty(time, batch, width)
        said, squashed = x.new_empty(batch, time, width), x.new_empty(time, batch, width)
        states = x.new_empty(time, batch, width + width % 2)  # room for all units in pairs
        functions("lstm", gates, bias, weight_hh, mask, cells, squashed, said, states, time, batch, width)
        ctx.save_for_backward(x, weight_ih, entering, weight_hh, mask, gates, cells, squashed, states)
        ctx.functions = functions
        return said

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_ih, entering, weight_hh, mask, gates, cells, squashed, states = ctx.saved_tensors
        slopes, on_hh, on_bias = torch.empty_like(gates), torch.empty_like(weight_hh), mask.new_empty(4 * len(mask))
        given = (upstream.contiguous(), weight_hh, mask, gates, cells, squashed, states)
        ctx.functions("lstm_back", *given, slopes, on_hh, on_bias, *cells.shape)
        if entering is None:
            on_x, on_ih = _entered(slopes, x, weight_ih)
        else:
            on_x, on_ih = torch.empty_like(x), on_hh.new_empty(4 * len(mask), x.shape[2])
            ctx.functions("enter_back", slopes, x, entering, weight_ih, on_x, on_ih, *x.shape, 4 * len(mask))
        return on_x, on_ih.float(), on_hh, on_bias, None, None, None


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_ih: Tensor, carried: Tensor, bias: Tensor, kept: Tensor) -> Tensor:
        """`carried`, [gates, kept]: the columns of the recurrent weights that are left. Gates are of the type of x."""
        batch, time, inputs = x.shape
        width = len(bias) // 4
        steps, entering = x.transpose(0, 1).reshape(time * batch, inputs), weight_ih.to(x.dtype)
        # torch first writes the bias to every row of the sums
        gates = torch.addmm(bias.to(x.dtype), steps, entering.t()).view(time, batch, 4 * width)
        cells = torch.empty(time, batch, width, dtype=torch.promote_types(x.dtype, torch.float32))
        said, squashed = x.new_empty(batch, time, width), x.new_empty(time, batch, width)
        states = x.new_empty(time, batch, len(kept))
        ctx.save_for_backward(steps, entering, carried, kept, gates, cells, squashed, states)
        ctx.kind = weight_ih.dtype
        carrying = carried.to(x.dtype).t()
        for t, (gate, cell) in enumerate(zip(gates, cells, strict=True)):
            if t:
                torch.addmm(gate, states[t - 1], carrying, out=gate)
            gate[:, : 2 * width].sigmoid_()
            gate[:, 2 * width : 3 * width].tanh_()
            gate[:, 3 * width :].sigmoid_()
            enter, forget, new, leave = gate.chunk(4, 1)
            torch.mul(enter.to(cell.dtype), new, out=cell)
            if t:
                cell.addcmul_(forget.to(cell.dtype), cells[t - 1])
            torch.tanh(cell.to(x.dtype), out=squashed[t])
            state = leave * squashed[t]
            said[:, t] = state
            torch.index_select(state, 1, kept, out=states[t])
        return said

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        steps, entering, carried, kept, gates, cells, squashed, states = ctx.saved_tensors
        slopes = torch.empty_like(gates)  # of the sums that the gates are made of
        carrying = carried.to(upstream.dtype)
        through_sigmoid = torch.ops.aten.sigmoid_backward.grad_input
        through_tanh = torch.ops.aten.tanh_backward
        on_cell = torch.zeros_like(cells[0])
        on_states = upstream.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        for t in reversed(range(len(gates))):
            on_state = on_states[t]
            if t + 1 < len(gates):
                on_state.index_add_(1, kept, slopes[t + 1] @ carrying)
            enter, forget, new, leave = gates[t].chunk(4, 1)
            to_enter, to_forget, to_new, to_leave = slopes[t].chunk(4, 1)
            through_sigmoid(on_state * squashed[t], leave, grad_input=to_leave)
            on_cell.add_(through_tanh(on_state * leave, squashed[t]))
            narrow = on_cell.to(upstream.dtype)
            through_sigmoid(narrow * new, enter, grad_input=to_enter)
            through_tanh.grad_input(narrow * enter, new, grad_input=to_new)
            if t:
                through_sigmoid(narrow * cells[t - 1].to(upstream.dtype), forget, grad_input=to_forget)
                on_cell.mul_(forget)
            else:
                to_forget.zero_()
        on_x, on_ih = _entered(slopes, steps, entering)
        on_carried = slopes[1:].flatten(0, 1).t() @ states[:-1].flatten(0, 1)
        on_bias = slopes.flatten(0, 1).sum(0)
        return on_x, on_ih.to(ctx.kind), on_carried.to(ctx.kind), on_bias.to(ctx.kind), None


def _entered(slopes: Tensor, steps: Tensor, entering: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients by x and by the weights that it met."""
    flat = slopes.flatten(0, 1)
    return (flat @ entering).view(*slopes.shape[:2], -1).transpose(0, 1), flat.t() @ steps
