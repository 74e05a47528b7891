"""Named random streams: every draw of a run has a name, and no global seed is touched."""

import hashlib

import torch


def seed(*names: str | int) -> int:
    """A 63-bit seed that depends on the names alone: `seed("order", "mnist", 3)`."""
    digest = hashlib.sha256(repr(names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(*names: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """A fresh generator on `device`, seeded by the names."""
    return torch.Generator(device).manual_seed(seed(*names))
