"""Which kernel computes attention, by what the device can do; measured once on it and remembered.

cuDNN's attention is the faster one on Hopper and slower than FlashAttention on cards before and after it, so it is not
taken for granted: both are timed on shapes of Stable Diffusion's and a transformer's attention.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

_SAFE = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
_CUDNN_FIRST = (SDPBackend.CUDNN_ATTENTION, *_SAFE)
_SHAPES = ((2, 10, 4096, 64), (1, 24, 4608, 128))
"""(batch, heads, tokens, channels a head): SDXL at 1024 px, a flow transformer at 1024 px."""
_REPEATS = 5
CUDNN, FLASH = "cudnn", "flash"


@contextmanager
def attention_by(name: str) -> Iterator[None]:
    """Within the context attention is computed by `name`: a result of `best_attention`, "" for PyTorch's own choice."""
    if not name:
        yield
        return
    with sdpa_kernel(list(_CUDNN_FIRST if name == CUDNN else _SAFE), set_priority=True):
        yield


@functools.cache
def best_attention(device: torch.device, dtype: torch.dtype) -> str:
    """The faster one on this device: "cudnn" or "flash"; "" where PyTorch is left to choose."""
    if device.type != "cuda" or torch.version.hip is not None or dtype is torch.float32:
        return ""
    if torch.cuda.get_device_capability(device) < (8, 0):  # neither of them runs there
        return ""
    try:
        cudnn, flash = (_seconds(device, dtype, order) for order in (_CUDNN_FIRST, _SAFE))
    except RuntimeError:
        return ""
    return CUDNN if cudnn < flash else FLASH


def _seconds(device: torch.device, dtype: torch.dtype, order: Sequence[SDPBackend]) -> float:
    total = 0.0
    with sdpa_kernel(list(order), set_priority=True):
        for shape in _SHAPES:
            given = torch.randn(shape, device=device, dtype=dtype)
            start, end = torch.cuda.Event(True), torch.cuda.Event(True)  # type: ignore[no-untyped-call]
            for _ in range(2):
                scaled_dot_product_attention(given, given, given)
            start.record()
            for _ in range(_REPEATS):
                scaled_dot_product_attention(given, given, given)
            end.record()
            end.synchronize()
            total += start.elapsed_time(end)
    return total
