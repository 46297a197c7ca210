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
_SMALL_FIRST = (
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.MATH,
)
_WIDE, _FEW = 128, 128
"""Channels of a head above which, and tokens up to which: Stable Diffusion 1's at its small sizes."""
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


def attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Scaled dot-product attention by what `attention_by` says, but where that is slow on CUDA: wide heads over a
    prompt's few tokens, for which cuDNN takes twice as long. All (batch, heads, tokens, channels of a head)."""
    wide = query.shape[-1] > _WIDE and key.shape[-2] <= _FEW
    if not wide or query.device.type != "cuda" or torch.version.hip is not None:
        return scaled_dot_product_attention(query, key, value)
    with sdpa_kernel(list(_SMALL_FIRST), set_priority=True):
        return scaled_dot_product_attention(query, key, value)


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
