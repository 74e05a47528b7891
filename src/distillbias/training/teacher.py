"""The teacher's signal: its logits on every training example, computed once, keyed by example, and checked before use.

Of a language model: its state at every training word, from which the logits are made again, chunk by chunk.
A cached signal is only as good as its key. Ours is a hash of the teacher's weights, its mode and the
data; before a student sees it, some random rows are computed again by the teacher itself.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save as serialize
from torch import Tensor, nn

from distillbias.errors import RunError
from distillbias.evaluation.predict import outputs, predict
from distillbias.models.output import Factored
from distillbias.tasks.agreement_lm import NextWordExamples
from distillbias.tasks.task import Examples
from distillbias.training.batching import Signal

CHECKED_ROWS = 64
MOST_STATES = 12 * 10**9  # bytes on disk for the states of one language model: of 512, at 5.8 million words


def weights_fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def signal_fingerprint(teacher: nn.Module, mode: str, examples: Examples) -> str:
    key = f"{weights_fingerprint(teacher)} {mode} {examples.fingerprint}"
    return hashlib.sha256(key.encode()).hexdigest()


Change = Callable[[np.ndarray], np.ndarray]  # logits [n, classes] -> what the student hears instead


def cached_signal(
    teacher: nn.Module,
    examples: Examples,
    path: Path,
    save: Callable[[Path, Callable], None],
    change: Change | None = None,
) -> Signal:
    """The teacher in evaluation mode: logits from `path` if they are there, else computed and saved there.

    Of a language model the states, see `states_signal`. `change` makes a control of the logits, which are checked
    before. `save` writes a file whole or not at all. Raises RunError if
    the file belongs to another teacher, mode or data, or if recomputed rows differ.
    """
    if isinstance(examples, NextWordExamples):
        if change is not None:
            raise RunError("controls are for classifiers: a language model's signal is not changed word by word")
        return states_signal(teacher, examples, path, save)
    fingerprint = signal_fingerprint(teacher, "eval", examples)
    if not path.exists():
        logits, _ = predict(teacher, examples)
        tensors = {"logits": logits, "ids": examples.ids}
        save(path, lambda part: part.write_bytes(serialize(tensors, {"fingerprint": fingerprint})))
    logits = read_signal(path, fingerprint, examples)
    check_rows(teacher, logits, examples, path)
    logits = change(logits) if change else logits
    resident = torch.as_tensor(logits, device=next(teacher.parameters()).device)
    return lambda rows, inputs: resident.index_select(0, rows)


def read_signal(path: Path, fingerprint: str, examples: Examples) -> np.ndarray:
    """Logits in the order of `examples`, whatever the order in the file."""
    _check_fingerprint(path, fingerprint)
    tensors = load_file(path)
    order = np.argsort(tensors["ids"], kind="stable")
    places = order[np.searchsorted(tensors["ids"], examples.ids, sorter=order).clip(max=len(order) - 1)]
    if not np.array_equal(tensors["ids"][places], examples.ids):
        raise RunError(f"the signal in {path.name} lacks some of the {len(examples)} training examples")
    return tensors["logits"][places]


def check_rows(teacher: nn.Module, logits: np.ndarray, examples: Examples, path: Path) -> None:
    """Ask the teacher again for a few random rows. The rows are new at each call: a check is no part of a result."""
    rows = _some_rows(examples)
    again, _ = predict(teacher, examples, rows)
    _refuse(_differ(again, logits[rows]), examples.ids[rows], path)


def states_signal(teacher: nn.Module, examples: NextWordExamples, path: Path, save: Callable) -> Signal:
    """A language model's states at all training words, from which its logits are made again.

    From disk, like `cached_signal`, memory-mapped and never loaded whole; a file of more than MOST_STATES is not made,
    then the teacher is asked at every look. Under an LSTM of 256 a step of an LSTM student took 208 us a token with
    the file and 234 without, of a Transformer of 128 227 and 244 (`benchmarks/next_word.py --steps`, one thread of a
    busy machine).
    """
    starts, matrix = row_starts(examples), _matrix(teacher, examples)
    shape = int(starts[-1]), matrix.shape[1]
    if 4 * shape[0] * shape[1] > MOST_STATES:
        return asked_signal(teacher)
    fingerprint = signal_fingerprint(teacher, "eval", examples)
    if not path.exists():
        save(path, lambda part: write_states(part, teacher, examples, fingerprint))
    states = read_states(path, fingerprint, shape)
    check_states(teacher, states, examples, path)

    def signal(rows: Tensor, inputs: Tensor) -> Factored:
        rows = rows.cpu()
        places = starts[rows, None] + torch.arange(inputs.shape[1] - 1)
        places = places.minimum(starts[rows + 1, None] - 1)  # behind the end of a row, where nothing is asked
        return Factored(states[places].to(matrix.device), matrix)

    return signal


def row_starts(examples: NextWordExamples) -> Tensor:
    """[n + 1] int64: where each row's states begin in the file; a row has one for each word that it must predict."""
    counts = torch.as_tensor((examples.inputs != 0).sum(1)) - 1
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def write_states(path: Path, teacher: nn.Module, examples: NextWordExamples, fingerprint: str) -> None:
    """All states, [words to predict, width] float32, as a safetensors file that is filled piece by piece."""
    starts, room = row_starts(examples).tolist(), None
    for part, output in outputs(teacher, examples, torch.arange(len(examples)), batch=256):
        states = output.hidden["penultimate"].float().cpu().numpy()
        if room is None:
            room = _room(path, fingerprint, (starts[-1], states.shape[-1]))
        for row, found in zip(part.tolist(), states, strict=True):
            room[starts[row] : starts[row + 1]] = found[: starts[row + 1] - starts[row]]
    assert room is not None, "there are training examples"
    room.flush()


def _room(path: Path, fingerprint: str, shape: tuple[int, int]) -> np.memmap:
    """An empty safetensors file with one tensor of this shape, opened for writing."""
    size = 4 * shape[0] * shape[1]
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": (0, size)}
    header = json.dumps({"__metadata__": {"fingerprint": fingerprint}, "states": tensor}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)
    return np.memmap(path, np.float32, "r+", 8 + len(header), shape)


def read_states(path: Path, fingerprint: str, shape: tuple[int, int]) -> Tensor:
    """The states of a file, memory-mapped."""
    _check_fingerprint(path, fingerprint)
    with safe_open(path, framework="pt") as opened:
        states = opened.get_tensor("states")
    if tuple(states.shape) != shape:
        raise RunError(f"the signal in {path.name} has shape {list(states.shape)}, not {list(shape)}: delete the file")
    return states


def _matrix(teacher: nn.Module, examples: NextWordExamples) -> Tensor:
    """What the teacher multiplies its states by, [words, width]."""
    for _, output in outputs(teacher, examples, torch.zeros(1, dtype=torch.int64), batch=1):
        if isinstance(output.logits, Factored):
            return output.logits.matrix.detach()
    raise RunError("a language model can only learn from a language model")


def check_states(teacher: nn.Module, states: Tensor, examples: NextWordExamples, path: Path) -> None:
    """Ask the teacher again for a few random rows, as `check_rows` does."""
    rows = _some_rows(examples)
    starts, off = row_starts(examples).tolist(), np.zeros(len(rows), bool)
    for part, output in outputs(teacher, examples, torch.as_tensor(rows), batch=CHECKED_ROWS):
        for place, again in zip(part.tolist(), output.hidden["penultimate"].float().cpu(), strict=True):
            kept = states[starts[rows[place]] : starts[rows[place] + 1]]
            off[place] = _differ(again[: len(kept)].numpy(), kept.numpy()).any()
    _refuse(off, examples.ids[rows], path)


def _some_rows(examples: Examples) -> np.ndarray:
    return np.sort(np.random.default_rng().choice(len(examples), min(CHECKED_ROWS, len(examples)), replace=False))


def _differ(again: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """[n] bool: float32 sums differ in their last bits with the batch they were computed in, not in more."""
    return np.abs(again - kept).max(axis=1) > 1e-3 * max(1.0, float(np.abs(again).max()))


def _refuse(off: np.ndarray, ids: np.ndarray, path: Path) -> None:
    if off.any():
        raise RunError(
            f"the signal in {path.name} does not match its teacher on {int(off.sum())} of {len(off)} rows, "
            f"the first is example {ids[off][0]}: delete the file and run again"
        )


def asked_signal(teacher: nn.Module) -> Signal:
    """The teacher in evaluation mode, asked at every look."""
    teacher.eval()
    return _ask(teacher)


def live_signal(teacher: nn.Module) -> Signal:
    """The teacher in training mode, as the authors ran it: other dropout at each look, statistics of the batch (T7).

    Its own batch-norm averages stay as they are; nothing reads them in this mode.
    """
    teacher.train()
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 0.0
    return _ask(teacher)


def _ask(teacher: nn.Module) -> Signal:
    @torch.no_grad()
    def signal(rows: Tensor, inputs: Tensor) -> Tensor | Factored:
        logits = teacher(inputs).logits
        return logits.detach() if isinstance(logits, Factored) else logits.float()

    return signal


def _check_fingerprint(path: Path, fingerprint: str) -> None:
    found = _metadata(path)
    if found != fingerprint:
        raise RunError(
            f"the signal in {path.name} has fingerprint {found[:12]}, this teacher, mode and data have "
            f"{fingerprint[:12]}: delete the file and run again"
        )


def _metadata(path: Path) -> str:
    try:
        with safe_open(path, framework="np") as opened:
            return (opened.metadata() or {}).get("fingerprint", "none")
    except Exception as error:  # a damaged file: safetensors raises its own, undocumented kinds
        raise RunError(f"the signal in {path.name} cannot be read ({error}): delete the file and run again") from None
