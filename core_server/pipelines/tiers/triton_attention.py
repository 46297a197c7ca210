"""Attention of one wide head, as autoencoders have: two matrix products around our Triton kernel for the weights.

The fused kernels of cuDNN and FlashAttention end at 256 channels of a head; the one that takes 512 is made for older
cards. On Hopper two products with the scores in memory, in single precision, take a third of its time: 1.5 instead of
4.4 ms for SDXL's 16384 tokens.
"""

from __future__ import annotations

import functools
import logging

import torch
import triton
import triton.language as tl

from core_server.errors import on_one_line
from core_server.pipelines.tiers.graphs import is_close
from core_server.pipelines.tiers.operations import TorchOperations

log = logging.getLogger(__name__)

_HOPPER = (9, 0)
_PRODUCTS = "2.8"
"""PyTorch's products of half precision can give single precision from here on."""
_MOST_TOKENS = 16384
"""Scores of a query that one program reads; more are left to PyTorch."""
_ALIGNED = 8
"""Tokens that there are a multiple of: products want rows of 16 bytes."""
_AT_ONCE = 2**26
"""Scores that are in memory at a time: 256 MiB, and half of that for the weights."""
_TOLERANCE = 2e-3
_FEW, _WARPS, _MORE_WARPS = 8192, 8, 16


@triton.jit
def _weights(x, y, columns, scale, COLUMNS: tl.constexpr):
    """softmax(scale * x), a row a program."""
    row = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, COLUMNS)
    inside = lane < columns
    value = tl.load(x + row * columns + lane, mask=inside, other=-float("inf"))
    value = tl.exp((value - tl.max(value, axis=0)) * scale)
    value = value / tl.sum(value, axis=0)
    tl.store(y + row * columns + lane, value.to(y.dtype.element_ty), mask=inside)


def single_head(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(query key^T / sqrt(channels)) value; all (tokens, channels)."""
    tokens = key.shape[0]
    if tokens > _MOST_TOKENS or tokens % _ALIGNED or not _is_fast(query.device):
        return TorchOperations().single_head(query, key, value)
    return _by_products(query, key, value)


def _by_products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    tokens = key.shape[0]
    found = torch.empty_like(query)
    rows = max(1, _AT_ONCE // tokens)
    for first in range(0, query.shape[0], rows):
        some = query[first : first + rows]
        scores = torch.mm(some, key.t(), out_dtype=torch.float32)
        weights = torch.empty_like(scores, dtype=query.dtype)
        _weights[(some.shape[0],)](
            scores, weights, tokens, query.shape[1] ** -0.5,
            COLUMNS=triton.next_power_of_2(tokens),
            num_warps=_WARPS if tokens <= _FEW else _MORE_WARPS,
        )  # fmt: skip
        torch.mm(weights, value, out=found[first : first + rows])
    return found


@functools.cache
def _is_fast(device: torch.device) -> bool:
    """Asked first when our kernels are tried, not while a graph is recorded."""
    is_nvidia = device.type == "cuda" and torch.version.hip is None
    known = torch.torch_version.TorchVersion(torch.__version__) >= _PRODUCTS
    if not (is_nvidia and known and torch.cuda.get_device_capability(device) >= _HOPPER):
        return False
    given = [torch.randn(64, 512, device=device, dtype=torch.float16) for _ in range(3)]
    try:
        found, wanted = _by_products(*given), TorchOperations().single_head(*given)
    except Exception as error:  # noqa: BLE001  whatever the compiler or a product raises
        log.warning("Wide heads by PyTorch: %s", on_one_line(error))
        return False
    return is_close(found, wanted, _TOLERANCE)
