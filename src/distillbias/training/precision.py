"""In which type a training makes its products: what its recipe asks for, where the device has instructions for it."""

from functools import cache
from platform import machine
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]

AMPERE = 8, 0  # the first of NVIDIA's to multiply bfloat16; all of AMD's that torch is built for say more


def precision_on(device: torch.device, asked: Precision) -> Precision:
    """`asked`, but float32 where bfloat16 would be emulated.

    A recipe asks for bfloat16 to save time. Emulated it takes several times as long as float32 does
    (docs/benchmarks.md), which is also nearer to what the recipe means.
    """
    return asked if asked == "float32" or has_bfloat16(device) else "float32"


@cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 itself: x86 by AVX512_BF16, others where oneDNN says so, GPUs since Ampere.

    Of other kinds of device the answer is yes: they are left to do what they are asked for.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    if device.type != "cpu":
        return True
    if machine().lower() in ("x86_64", "amd64"):  # oneDNN would say yes to any AVX-512, and emulate
        return torch.cpu._is_avx512_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
