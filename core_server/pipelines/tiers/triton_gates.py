"""Our Triton kernels for sums, gates and doubled pictures: what lies between matrix products and convolutions."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from core_server.pipelines.tiers.operations import TorchOperations

_SUM_ROWS, _SUM_COLUMNS = 32, 64
"""Pixels and channels of a tile that is added up."""
_GATE_ROWS, _GATE_COLUMNS = 8, 256
"""Tokens and channels of a tile that is gated."""
_MOST = 2**31
"""Elements; these kernels count in 32 bits."""


@triton.jit(do_not_specialize=["rows", "has_x", "has_bias"])
def _sum_of(
    x, h, bias, y, rows, channels, has_x, has_bias, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """y = x + (h + bias), or without one of the two."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    mask = (row < rows)[:, None] & inside[None, :]
    at = row[:, None] * channels + column[None, :]
    value = tl.load(h + at, mask=mask, other=0.0).to(tl.float32)
    if has_bias != 0:
        value += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    if has_x != 0:
        value += tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows"])
def _gated(x, y, rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """y = a * gelu(b) for rows (a, b). The error function, not its approximation by tanh."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    mask = (row < rows)[:, None] & (column < width)[None, :]
    source = row[:, None] * (2 * width) + column[None, :]
    value = tl.load(x + source, mask=mask, other=0.0).to(tl.float32)
    gate = tl.load(x + source + width, mask=mask, other=0.0).to(tl.float32)
    gate = gate * 0.5 * (1.0 + tl.erf(gate * 0.7071067811865476))
    at = row[:, None] * width + column[None, :]
    tl.store(y + at, (value * gate).to(y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["pixels", "width"])
def _doubled(x, y, pixels, width, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """y: each px of x four times. pixels: of all pictures; width: of x."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    mask = (row < pixels)[:, None] & (column < channels)[None, :]
    value = tl.load(x + row[:, None] * channels + column[None, :], mask=mask, other=0.0)
    to = row // width * (4 * width) + row % width * 2
    at = to[:, None] * channels + column[None, :]
    tl.store(y + at, value, mask=mask)
    tl.store(y + at + channels, value, mask=mask)
    below = at + 2 * width * channels
    tl.store(y + below, value, mask=mask)
    tl.store(y + below + channels, value, mask=mask)


def added_up(x: torch.Tensor, h: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x + h + bias, channels last. x, h: (batch, channels, height, width); bias: (channels,) or None."""
    if x.numel() >= _MOST:
        return TorchOperations().added_up(x, h, bias)
    x = x.contiguous(memory_format=torch.channels_last)
    h = h.contiguous(memory_format=torch.channels_last)
    return _added(x, h, bias, torch.empty_like(x, memory_format=torch.channels_last))


def biased(h: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """h + bias, channels last, where h was. h: (batch, channels, height, width); bias: (channels,)."""
    if h.numel() >= _MOST or not h.is_contiguous(memory_format=torch.channels_last):
        return TorchOperations().biased(h, bias)
    return _added(None, h, bias, h)


def _added(
    x: torch.Tensor | None, h: torch.Tensor, bias: torch.Tensor | None, y: torch.Tensor
) -> torch.Tensor:
    channels = h.shape[1]
    rows = h.numel() // channels
    _sum_of[(triton.cdiv(rows, _SUM_ROWS), triton.cdiv(channels, _SUM_COLUMNS))](
        h if x is None else x, h, h if bias is None else bias, y, rows, channels,
        int(x is not None), int(bias is not None), ROWS=_SUM_ROWS, COLUMNS=_SUM_COLUMNS,
    )  # fmt: skip
    return y


def doubled(x: torch.Tensor) -> torch.Tensor:
    """Each px four times, channels last. x: (batch, channels, height, width)."""
    batch, channels, height, width = x.shape
    if 4 * x.numel() >= _MOST:
        return TorchOperations().doubled(x)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty(
        (batch, channels, 2 * height, 2 * width), dtype=x.dtype, device=x.device,
        memory_format=torch.channels_last,
    )  # fmt: skip
    pixels = batch * height * width
    _doubled[(triton.cdiv(pixels, _SUM_ROWS), triton.cdiv(channels, _SUM_COLUMNS))](
        x, y, pixels, width, channels, ROWS=_SUM_ROWS, COLUMNS=_SUM_COLUMNS
    )
    return y


def geglu(x: torch.Tensor) -> torch.Tensor:
    """a * gelu(b) where the last dimension of x is a, then b. Source: Shazeer, arXiv:2002.05202."""
    if x.numel() >= _MOST:
        return TorchOperations().geglu(x)
    x = x.contiguous()
    width = x.shape[-1] // 2
    y = torch.empty((*x.shape[:-1], width), dtype=x.dtype, device=x.device)
    rows = y.numel() // width
    _gated[(triton.cdiv(rows, _GATE_ROWS), triton.cdiv(width, _GATE_COLUMNS))](
        x, y, rows, width, ROWS=_GATE_ROWS, COLUMNS=_GATE_COLUMNS
    )
    return y
