"""Our Triton kernel for the timestep: what all ResNet blocks of a UNet add for it, by one launch.

Each is a product of a few rows, which takes a device no longer than to begin. The layers are found by their addresses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from core_server.pipelines.tiers.operations import TimeLayer, TorchOperations

_CHANNELS = 8
"""That one program works out."""
_LONGEST = 2048
"""Numbers of a timestep's embedding, at most."""
_MOST_TABLES = 64
"""Far more than models are loaded at a time: graphs read the tables."""
_tables: OrderedDict[tuple[int, ...], torch.Tensor] = OrderedDict()


@triton.jit(do_not_specialize=["batch", "total"])
def _timed(
    time, table, y, batch, total, length, CHANNELS: tl.constexpr, LENGTH: tl.constexpr
):  # fmt: skip
    """y = weight @ silu(time) + bias + more, a few channels of all pictures at a time.

    table: addresses of weight, bias and more (0: none) for the channels of each program.
    """
    program = tl.program_id(0)
    weight = tl.load(table + program * 3).to(tl.pointer_type(y.dtype.element_ty))
    weight = tl.multiple_of(weight, 16)
    bias = tl.load(table + program * 3 + 1).to(tl.pointer_type(y.dtype.element_ty))
    more = tl.load(table + program * 3 + 2)
    channel, lane = tl.arange(0, CHANNELS), tl.arange(0, LENGTH)
    within = lane < length
    at = channel[:, None] * length + lane[None, :]
    rows = tl.load(weight + at, mask=within[None, :], other=0.0).to(tl.float32)
    base = tl.load(bias + channel).to(tl.float32)
    if more != 0:
        start = more.to(tl.pointer_type(y.dtype.element_ty))
        base += tl.load(start + channel).to(tl.float32)
    for picture in range(batch):
        value = tl.load(time + picture * length + lane, mask=within, other=0.0).to(tl.float32)
        value = value / (1.0 + tl.exp(-value))
        found = tl.sum(rows * value[None, :], axis=1) + base
        tl.store(y + picture * total + program * CHANNELS + channel, found.to(y.dtype.element_ty))


def timed(time: torch.Tensor, layers: Sequence[TimeLayer]) -> list[torch.Tensor]:
    """silu(time) @ weight.T + bias + more for each of the layers: (batch, channels) each, columns of one table.

    time: (batch, length).
    """
    batch, length = time.shape
    if length > _LONGEST or not all(_fits(layer, time) for layer in layers):
        return TorchOperations().timed(time, layers)
    time = time.contiguous()
    channels = [layer.weight.shape[0] for layer in layers]
    total = sum(channels)
    y = torch.empty((batch, total), dtype=time.dtype, device=time.device)
    _timed[(total // _CHANNELS,)](
        time, _table(layers, time.device), y, batch, total, length,
        CHANNELS=_CHANNELS, LENGTH=_LONGEST, num_warps=8,
    )  # fmt: skip
    return list(torch.split(y, channels, dim=1))


def _fits(layer: TimeLayer, time: torch.Tensor) -> bool:
    given = [it for it in layer if it is not None]
    return (
        all(
            it.is_contiguous() and it.dtype is time.dtype and it.device == time.device
            for it in given
        )
        and layer.weight.shape[0] % _CHANNELS == 0
        and layer.weight.shape[1] % _CHANNELS == 0
        and layer.weight.data_ptr() % 16 == 0
    )


def _table(layers: Sequence[TimeLayer], device: torch.device) -> torch.Tensor:
    """Addresses for each program, (programs, 3) int64; made before a graph is recorded, by the calls that warm it."""
    key = tuple(0 if it is None else it.data_ptr() for layer in layers for it in layer)
    table = _tables.get(key)
    if table is None:
        rows = []
        for layer in layers:
            size, length = layer.weight.element_size(), layer.weight.shape[1]
            for first in range(0, layer.weight.shape[0], _CHANNELS):
                more = 0 if layer.more is None else layer.more.data_ptr() + first * size
                start = layer.weight.data_ptr() + first * length * size
                rows.append((start, layer.bias.data_ptr() + first * size, more))
        table = _tables[key] = torch.tensor(rows, dtype=torch.int64, device=device)
        while len(_tables) > _MOST_TABLES:
            _tables.popitem(last=False)
    _tables.move_to_end(key)
    return table
