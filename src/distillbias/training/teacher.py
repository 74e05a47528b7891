"""The teacher's signal: its logits on every training example, computed once, keyed by example, and checked before use.

A cached signal is only as good as its key. Ours is a hash of the teacher's weights, its mode and the
data; before a student sees it, some random rows are computed again by the teacher itself.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save as serialize
from torch import Tensor, nn

from distillbias.errors import RunError
from distillbias.evaluation.predict import predict
from distillbias.tasks.task import Examples
from distillbias.training.batching import Signal

CHECKED_ROWS = 64


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


def cached_signal(teacher: nn.Module, examples: Examples, path: Path, save: Callable[[Path, Callable], None]) -> Signal:
    """The teacher in evaluation mode: logits from `path` if they are there, else computed and saved there.

    `save` writes a file whole or not at all. Raises RunError if the file belongs to another teacher, mode
    or data, or if recomputed rows differ.
    """
    fingerprint = signal_fingerprint(teacher, "eval", examples)
    if not path.exists():
        logits, _ = predict(teacher, examples)
        tensors = {"logits": logits, "ids": examples.ids}
        save(path, lambda part: part.write_bytes(serialize(tensors, {"fingerprint": fingerprint})))
    logits = read_signal(path, fingerprint, examples)
    check_rows(teacher, logits, examples, path)
    resident = torch.as_tensor(logits, device=next(teacher.parameters()).device)
    return lambda rows, inputs: resident[rows]


def read_signal(path: Path, fingerprint: str, examples: Examples) -> np.ndarray:
    """Logits in the order of `examples`, whatever the order in the file."""
    with_metadata = _metadata(path)
    if with_metadata != fingerprint:
        raise RunError(
            f"the signal in {path.name} has fingerprint {with_metadata[:12]}, this teacher, mode and data have "
            f"{fingerprint[:12]}: delete the file and run again"
        )
    tensors = load_file(path)
    order = np.argsort(tensors["ids"], kind="stable")
    places = order[np.searchsorted(tensors["ids"], examples.ids, sorter=order).clip(max=len(order) - 1)]
    if not np.array_equal(tensors["ids"][places], examples.ids):
        raise RunError(f"the signal in {path.name} lacks some of the {len(examples)} training examples")
    return tensors["logits"][places]


def check_rows(teacher: nn.Module, logits: np.ndarray, examples: Examples, path: Path) -> None:
    """Ask the teacher again for a few random rows. The rows are new at each call: a check is no part of a result."""
    rows = np.sort(np.random.default_rng().choice(len(examples), min(CHECKED_ROWS, len(examples)), replace=False))
    again, _ = predict(teacher, examples, rows)
    # float32 sums differ in their last bits with the batch they were computed in
    off = np.abs(again - logits[rows]).max(axis=1) > 1e-3 * max(1.0, float(np.abs(again).max()))
    if off.any():
        raise RunError(
            f"the signal in {path.name} does not match its teacher on {int(off.sum())} of {len(rows)} rows, "
            f"the first is example {examples.ids[rows][off][0]}: delete the file and run again"
        )


def live_signal(teacher: nn.Module) -> Signal:
    """The teacher in training mode, as the authors ran it: other dropout at each look, statistics of the batch (T7).

    Its own batch-norm averages stay as they are; nothing reads them in this mode.
    """
    teacher.train()
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 0.0

    @torch.no_grad()
    def signal(rows: Tensor, inputs: Tensor) -> Tensor:
        return teacher(inputs).logits.float()

    return signal


def _metadata(path: Path) -> str:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="np") as opened:
            return (opened.metadata() or {}).get("fingerprint", "none")
    except Exception as error:  # a damaged file: safetensors raises its own, undocumented kinds
        raise RunError(f"the signal in {path.name} cannot be read ({error}): delete the file and run again") from None
