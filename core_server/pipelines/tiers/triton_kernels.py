"""Our Triton kernels for the layers that PyTorch has no channels-last kernel for. Imported only where Triton is.

PyTorch normalises groups in the order (batch, channels, height, width) alone, so that between two convolutions, which
want channels last, the picture is turned around twice. These kernels leave it as it is, and do in one pass what comes
before and after: bias and timestep embedding, SiLU.
Source of the arithmetic: Wu and He, "Group Normalization", arXiv:1803.08494, eq. 1; sums are in single precision.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from core_server.pipelines.tiers.operations import TorchOperations

_ROWS, _COLUMNS = 64, 64
"""Pixels and channels of a tile."""
_WIDTH = 128
"""Channels of a group, at most; one number for all, since each one more is compiled anew."""
_TILES = 4
"""Tiles of pixels that one program sums up."""
_ELEMENTS = 2048
"""Of a program of the kernels that go element by element."""
_MOST = 2**31
"""Elements; those kernels count in 32 bits."""


@triton.jit(do_not_specialize=["pixels", "chunks"])
def _sums(
    x, sums, squares, pixels, channels, chunks,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """Sum and sum of squares of each channel over a chunk of pixels."""
    picture, chunk = tl.program_id(0) // chunks, tl.program_id(0) % chunks
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    total = tl.zeros((COLUMNS,), tl.float32)
    square = tl.zeros((COLUMNS,), tl.float32)
    start = picture.to(tl.int64) * pixels * channels
    for tile in range(TILES):
        row = (chunk * TILES + tile) * ROWS + tl.arange(0, ROWS)
        mask = (row < pixels)[:, None] & inside[None, :]
        at = start + row.to(tl.int64)[:, None] * channels + column[None, :]
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        total += tl.sum(value, axis=0)
        square += tl.sum(value * value, axis=0)
    to = tl.program_id(0).to(tl.int64) * channels + column
    tl.store(sums + to, total, mask=inside)
    tl.store(squares + to, square, mask=inside)


@triton.jit(do_not_specialize=["pixels", "channels", "chunks", "groups", "added_stride"])
def _factors(
    sums, squares, weight, bias, added, factor, offset,
    pixels, channels, chunks, groups, added_stride, epsilon,
    HAS_ADDED: tl.constexpr, CHUNKS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """For one group of one picture: what each of its channels is multiplied by, and what is added then."""
    picture, group = tl.program_id(0) // groups, tl.program_id(0) % groups
    width = channels // groups
    lane = tl.arange(0, WIDTH)
    inside = lane < width
    channel = group * width + lane
    total = tl.zeros((WIDTH,), tl.float32)
    square = tl.zeros((WIDTH,), tl.float32)
    for first in range(0, chunks, CHUNKS):
        chunk = first + tl.arange(0, CHUNKS)
        mask = (chunk < chunks)[:, None] & inside[None, :]
        at = (picture * chunks + chunk).to(tl.int64)[:, None] * channels + channel[None, :]
        total += tl.sum(tl.load(sums + at, mask=mask, other=0.0), axis=0)
        square += tl.sum(tl.load(squares + at, mask=mask, other=0.0), axis=0)
    shift = tl.zeros((WIDTH,), tl.float32)
    if HAS_ADDED:
        shift = tl.load(added + picture * added_stride + channel, mask=inside, other=0.0).to(
            tl.float32
        )
        square += 2.0 * shift * total + shift * shift * pixels
        total += shift * pixels
    count = pixels * width
    mean = tl.sum(total, axis=0) / count
    variance = tl.maximum(tl.sum(square, axis=0) / count - mean * mean, 0.0)
    inverse = 1.0 / tl.sqrt(variance + epsilon)
    scale = inverse * tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    base = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    to = picture * channels + channel
    tl.store(factor + to, scale, mask=inside)
    tl.store(offset + to, base + (shift - mean) * scale, mask=inside)


@triton.jit(do_not_specialize=["pixels", "tiles"])
def _applied(
    x, y, factor, offset, pixels, channels, tiles,
    SILU: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """y = silu(x * factor + offset), or without the silu."""
    picture, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    row = tile * ROWS + tl.arange(0, ROWS)
    mask = (row < pixels)[:, None] & inside[None, :]
    at = (picture.to(tl.int64) * pixels + row)[:, None] * channels + column[None, :]
    scale = tl.load(factor + picture * channels + column, mask=inside, other=0.0)
    shift = tl.load(offset + picture * channels + column, mask=inside, other=0.0)
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    value = value * scale[None, :] + shift[None, :]
    if SILU:
        value = value / (1.0 + tl.exp(-value))
    tl.store(y + at, value.to(y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["count"])
def _sum_of(x, h, bias, y, count, channels, HAS_BIAS: tl.constexpr, SIZE: tl.constexpr):
    """y = x + (h + bias), as the stock block rounds it."""
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    mask = at < count
    value = tl.load(h + at, mask=mask, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias + at % channels, mask=mask, other=0.0).to(tl.float32)
    value += tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["count"])
def _gated(x, y, count, width, SIZE: tl.constexpr):
    """y = a * gelu(b) for rows (a, b). The error function, not its approximation by tanh."""
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    mask = at < count
    source = at // width * (2 * width) + at % width
    value = tl.load(x + source, mask=mask, other=0.0).to(tl.float32)
    gate = tl.load(x + source + width, mask=mask, other=0.0).to(tl.float32)
    gate = gate * 0.5 * (1.0 + tl.erf(gate * 0.7071067811865476))
    tl.store(y + at, (value * gate).to(y.dtype.element_ty), mask=mask)


def group_norm(
    x: torch.Tensor,
    groups: int,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
    *,
    silu: bool = False,
    added: torch.Tensor | None = None,
) -> torch.Tensor:
    """silu(group_norm(x + added)), or without the silu.

    x: (batch, channels, height, width); the result is like it, channels last. weight, bias: (channels,). added: None,
    or (batch or 1, channels), which every px of a picture gets first.
    """
    if x.shape[1] // groups > _WIDTH:
        return TorchOperations().group_norm(
            x, groups, weight, bias, epsilon, silu=silu, added=added
        )
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x, memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    pixels = height * width
    stride = 0 if added is None or added.shape[0] == 1 else int(added.stride(0))
    given = x if added is None else added
    chunks = triton.cdiv(pixels, _ROWS * _TILES)
    columns = triton.cdiv(channels, _COLUMNS)
    parts = torch.empty((2, batch * chunks, channels), dtype=torch.float32, device=x.device)
    found = torch.empty((2, batch, channels), dtype=torch.float32, device=x.device)
    _sums[(batch * chunks, columns)](
        x, parts[0], parts[1], pixels, channels, chunks,
        ROWS=_ROWS, COLUMNS=_COLUMNS, TILES=_TILES,
    )  # fmt: skip
    _factors[(batch * groups,)](
        parts[0], parts[1], weight, bias, given, found[0], found[1],
        pixels, channels, chunks, groups, stride, epsilon,
        HAS_ADDED=added is not None, CHUNKS=32, WIDTH=_WIDTH,
    )  # fmt: skip
    tiles = triton.cdiv(pixels, _ROWS)
    _applied[(batch * tiles, columns)](
        x, y, found[0], found[1], pixels, channels, tiles,
        SILU=silu, ROWS=_ROWS, COLUMNS=_COLUMNS,
    )  # fmt: skip
    return y


def added_up(x: torch.Tensor, h: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x + h + bias, channels last. x, h: (batch, channels, height, width); bias: (channels,) or None."""
    if x.numel() >= _MOST:
        return TorchOperations().added_up(x, h, bias)
    x = x.contiguous(memory_format=torch.channels_last)
    h = h.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x, memory_format=torch.channels_last)
    given: Any = x if bias is None else bias
    _sum_of[(triton.cdiv(x.numel(), _ELEMENTS),)](
        x, h, given, y, x.numel(), x.shape[1], HAS_BIAS=bias is not None, SIZE=_ELEMENTS
    )
    return y


def geglu(x: torch.Tensor) -> torch.Tensor:
    """a * gelu(b) where the last dimension of x is a, then b. Source: Shazeer, arXiv:2002.05202."""
    if x.numel() >= _MOST:
        return TorchOperations().geglu(x)
    x = x.contiguous()
    width = x.shape[-1] // 2
    y = torch.empty((*x.shape[:-1], width), dtype=x.dtype, device=x.device)
    _gated[(triton.cdiv(y.numel(), _ELEMENTS),)](x, y, y.numel(), width, SIZE=_ELEMENTS)
    return y
