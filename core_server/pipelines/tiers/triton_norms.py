"""Our Triton kernels for the normalisation of groups of a picture in channels last.

PyTorch normalises groups in the order (batch, channels, height, width) alone, so that between two convolutions, which
want channels last, the picture is turned around twice. These kernels leave it as it is, and do in one pass what comes
before and after: bias and timestep embedding, SiLU.
Source of the arithmetic: Wu and He, "Group Normalization", arXiv:1803.08494, eq. 1; sums are in single precision.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from core_server.pipelines.tiers.operations import TorchOperations

_ROWS, _COLUMNS = 64, 64
"""Pixels and channels of a tile."""
_WIDTH = 128
"""Channels of a group, at most."""
_LANES = 32
"""Channels of a group that are counted in one, at least; few different numbers, since each is compiled anew."""
_ALIGNED = 4
"""Neighbouring channels of a group that one load may fetch, at most; for the same reason."""
_SMALL = 1024
"""Pixels of a picture of which one program sums up a whole group; above, many do, and others add up their sums."""
_AT_ONCE = 16384
"""Elements that such a program reads at once."""
_SUM_ROWS, _TILES = 32, 4
"""Pixels of a tile of those that many programs sum up, and tiles that each reads at once."""
_MOST_CHUNKS = 256
"""Chunks whose sums are added up at the end; larger pictures have larger chunks."""
_MOST = 2**31
"""Elements that 32 bits count."""


@triton.jit
def _both(a, b, c, d):
    """Of `tl.reduce`: two sums at once, by one exchange between warps."""
    return a + c, b + d


@triton.jit
def _of_two(first, second, pixel, channel, split, channels, mask):
    """Of two pictures side by side, of which the first has the channels up to `split`. pixel: counted from the first
    picture's."""
    in_first = channel < split
    one = tl.load(first + pixel * split + channel, mask=mask & in_first, other=0.0)
    at = pixel * (channels - split) + (channel - split)
    two = tl.load(second + at, mask=mask & (channel >= split), other=0.0)
    return tl.where(in_first, one, two)


@triton.jit(do_not_specialize=["pixels", "groups", "added_stride", "has_added"])
def _group_factors(
    x, second, both, weight, bias, added, factor, offset,
    pixels, channels, split, groups, added_stride, has_added, epsilon,
    ROWS: tl.constexpr, LANES: tl.constexpr, ALIGNED: tl.constexpr, TWO: tl.constexpr,
):  # fmt: skip
    """What `_factors` gives, of one group of one picture, from the picture itself.

    TWO: the picture is x and second, side by side, and is written to `both`; else these and split mean nothing.
    """
    picture, group = tl.program_id(0) // groups, tl.program_id(0) % groups
    width = tl.multiple_of(channels // groups, ALIGNED)
    lane, row = tl.arange(0, LANES), tl.arange(0, ROWS)
    inside = lane < width
    channel = group * width + lane
    scale = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    base = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    shift = tl.zeros((LANES,), tl.float32)
    if has_added != 0:
        more = tl.load(added + picture * added_stride + channel, mask=inside, other=0.0)
        shift += more.to(tl.float32)
    total = tl.zeros((ROWS, LANES), tl.float32)
    square = tl.zeros((ROWS, LANES), tl.float32)
    at = (picture * pixels + row)[:, None] * channels + channel[None, :]
    for first in range(0, pixels, ROWS):
        mask = (first + row < pixels)[:, None] & inside[None, :]
        if TWO:
            pixel = (picture * pixels + first + row)[:, None]
            read = _of_two(x, second, pixel, channel[None, :], split, channels, mask)
            tl.store(both + at + first * channels, read, mask=mask)
        else:
            read = tl.load(x + at + first * channels, mask=mask, other=0.0)
        value = read.to(tl.float32)
        value = tl.where(mask, value + shift[None, :], 0.0)
        total += value
        square += value * value
    count = pixels * width
    # Over both axes at once, too: most of this kernel's time is waiting.
    total, square = tl.reduce((total, square), None, _both)
    mean = total / count
    variance = tl.maximum(square / count - mean * mean, 0.0)
    scale = scale / tl.sqrt(variance + epsilon)
    to = picture * channels + channel
    tl.store(factor + to, scale, mask=inside)
    tl.store(offset + to, base + (shift - mean) * scale, mask=inside)


@triton.jit(do_not_specialize=["pixels", "chunks", "turns"])
def _sums(
    x, second, both, sums, squares, pixels, channels, split, chunks, turns,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TILES: tl.constexpr, TWO: tl.constexpr,
):  # fmt: skip
    """Sum and sum of squares of each channel over a chunk of pixels: `turns` times TILES tiles. TWO: as above."""
    picture, chunk = tl.program_id(0) // chunks, tl.program_id(0) % chunks
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < channels
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    square = tl.zeros((ROWS, COLUMNS), tl.float32)
    start = picture.to(tl.int64) * pixels * channels
    for turn in range(turns):
        # Unrolled, so that all loads are on their way before the first is needed.
        for tile in tl.static_range(TILES):
            row = ((chunk * turns + turn) * TILES + tile) * ROWS + tl.arange(0, ROWS)
            mask = (row < pixels)[:, None] & inside[None, :]
            at = start + row.to(tl.int64)[:, None] * channels + column[None, :]
            if TWO:
                pixel = (picture.to(tl.int64) * pixels + row)[:, None]
                read = _of_two(x, second, pixel, column[None, :], split, channels, mask)
                tl.store(both + at, read, mask=mask)
            else:
                read = tl.load(x + at, mask=mask, other=0.0)
            value = read.to(tl.float32)
            total += value
            square += value * value
    to = tl.program_id(0).to(tl.int64) * channels + column
    of_channels, squared = tl.reduce((total, square), 0, _both)
    tl.store(sums + to, of_channels, mask=inside)
    tl.store(squares + to, squared, mask=inside)


@triton.jit(
    do_not_specialize=["pixels", "channels", "chunks", "groups", "added_stride", "has_added"]
)
def _factors(
    sums, squares, weight, bias, added, factor, offset,
    pixels, channels, chunks, groups, added_stride, has_added, epsilon,
    CHUNKS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """For one group of one picture: what each of its channels is multiplied by, and what is added then."""
    picture, group = tl.program_id(0) // groups, tl.program_id(0) % groups
    width = channels // groups
    lane = tl.arange(0, LANES)
    inside = lane < width
    channel = group * width + lane
    total = tl.zeros((LANES,), tl.float32)
    square = tl.zeros((LANES,), tl.float32)
    for first in range(0, chunks, CHUNKS):
        chunk = first + tl.arange(0, CHUNKS)
        mask = (chunk < chunks)[:, None] & inside[None, :]
        at = (picture * chunks + chunk).to(tl.int64)[:, None] * channels + channel[None, :]
        some = tl.load(sums + at, mask=mask, other=0.0)
        more_total, more_square = tl.reduce(
            (some, tl.load(squares + at, mask=mask, other=0.0)), 0, _both
        )
        total += more_total
        square += more_square
    shift = tl.zeros((LANES,), tl.float32)
    if has_added != 0:
        more = tl.load(added + picture * added_stride + channel, mask=inside, other=0.0)
        shift += more.to(tl.float32)
        square += 2.0 * shift * total + shift * shift * pixels
        total += shift * pixels
    count = pixels * width
    all_total, all_square = tl.reduce((total, square), 0, _both)
    mean = all_total / count
    variance = tl.maximum(all_square / count - mean * mean, 0.0)
    inverse = 1.0 / tl.sqrt(variance + epsilon)
    scale = inverse * tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    base = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    to = picture * channels + channel
    tl.store(factor + to, scale, mask=inside)
    tl.store(offset + to, base + (shift - mean) * scale, mask=inside)


@triton.jit(do_not_specialize=["pixels", "tiles", "silu"])
def _applied(
    x, y, factor, offset, pixels, channels, tiles, silu,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
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
    if silu != 0:
        value = value / (1.0 + tl.exp(-value))
    tl.store(y + at, value.to(y.dtype.element_ty), mask=mask)


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
    if not fits(x.shape[1], groups):
        return TorchOperations().group_norm(
            x, groups, weight, bias, epsilon, silu=silu, added=added
        )
    x = x.contiguous(memory_format=torch.channels_last)
    return _normalised(x, None, groups, weight, bias, epsilon, silu=silu, added=added)


def joined_norm(
    pictures: tuple[torch.Tensor, torch.Tensor],
    groups: int,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """silu(group_norm(both)), and both: the first picture's channels, then the second's.

    pictures: (batch, channels, height, width), of one dtype; the results are channels last. What counts the sums reads
    each where it is and writes both, so that nothing else does.
    """
    first, second = pictures
    channels = first.shape[1] + second.shape[1]
    parts = tuple(it.contiguous(memory_format=torch.channels_last) for it in pictures)
    shape = (first.shape[0], channels, *first.shape[2:])
    both = torch.empty(
        shape, dtype=first.dtype, device=first.device, memory_format=torch.channels_last
    )
    return _normalised(both, parts, groups, weight, bias, epsilon, silu=True, added=None), both


def fits(channels: int, groups: int) -> bool:
    """Whether the kernels take groups as wide."""
    return channels // groups <= _WIDTH


def is_small(pixels: int) -> bool:
    """Whether one kernel does what two do for larger pictures."""
    return pixels <= _SMALL


def _normalised(
    x: torch.Tensor,
    parts: tuple[torch.Tensor, ...] | None,
    groups: int,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
    *,
    silu: bool,
    added: torch.Tensor | None,
) -> torch.Tensor:
    """x, parts: channels last. parts: None, or the two that are written to x before it is read."""
    y = torch.empty_like(x, memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    pixels = height * width
    stride = 0 if added is None or added.shape[0] == 1 else int(added.stride(0))
    given = x if added is None else added
    per_group = channels // groups
    lanes = max(_LANES, triton.next_power_of_2(per_group))
    aligned = min(_ALIGNED, per_group & -per_group)
    columns = triton.cdiv(channels, _COLUMNS)
    found = torch.empty((2, batch, channels), dtype=torch.float32, device=x.device)
    has_added = int(added is not None)
    first, second = (x, x) if parts is None else parts
    split, two = first.shape[1], parts is not None
    if is_small(pixels) and x.numel() < _MOST:
        _group_factors[(batch * groups,)](
            first, second, x, weight, bias, given, found[0], found[1],
            pixels, channels, split, groups, stride, has_added, epsilon,
            ROWS=_AT_ONCE // lanes, LANES=lanes, ALIGNED=aligned, TWO=two, num_warps=16,
        )  # fmt: skip
    else:
        # Of two pictures all tiles are one: no load may pass what is written before it.
        turns = triton.cdiv(pixels, _SUM_ROWS * _TILES * _MOST_CHUNKS)
        chunks = triton.cdiv(pixels, _SUM_ROWS * _TILES * turns)
        counted = torch.empty((2, batch * chunks, channels), dtype=torch.float32, device=x.device)
        _sums[(batch * chunks, columns)](
            first, second, x, counted[0], counted[1], pixels, channels, split, chunks, turns,
            ROWS=_SUM_ROWS * (_TILES if two else 1), COLUMNS=_COLUMNS, TILES=1 if two else _TILES,
            TWO=two, num_warps=8 if two else 4,
        )  # fmt: skip
        _factors[(batch * groups,)](
            counted[0], counted[1], weight, bias, given, found[0], found[1],
            pixels, channels, chunks, groups, stride, has_added, epsilon,
            CHUNKS=64, LANES=lanes,
        )  # fmt: skip
    tiles = triton.cdiv(pixels, _ROWS)
    _applied[(batch * tiles, columns)](
        x, y, found[0], found[1], pixels, channels, tiles, int(silu), ROWS=_ROWS, COLUMNS=_COLUMNS
    )
    return y
