"""What each ResNet block of a UNet adds for the timestep, worked out for all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core_server.pipelines.tiers.operations import Operations, TimeLayer
from core_server.pipelines.tiers.plain import is_plain


class TimeShares:
    """Of one UNet, in one call: the first block that asks has all of them worked out. One thread calls it."""

    def __init__(self, operations: Operations, blocks: Iterable[Any] = ()) -> None:
        self._operations = operations
        self._blocks = [block for block in blocks if _is_plain(block)]
        self._time: torch.Tensor | None = None
        self._shares: dict[int, torch.Tensor] = {}

    def of(self, block: Any, time: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """What the block adds for a timestep's embedding, and `bias`, its first convolution's; (batch, channels).

        time: (batch, length).
        """
        if bias is block.conv1.bias and time.ndim == 2:
            if time is not self._time:
                self._time, self._shares = time, self._made(time)
            share = self._shares.get(id(block))
            if share is not None:
                return share
        given = time if block.skip_time_act else functional.silu(time)
        found: torch.Tensor = block.time_emb_proj(given)
        return found if bias is None else found + bias

    def _made(self, time: torch.Tensor) -> dict[int, torch.Tensor]:
        projections = [block.time_emb_proj for block in self._blocks]
        layers = [
            TimeLayer(linear.weight, linear.bias, block.conv1.bias)
            for linear, block in zip(projections, self._blocks, strict=True)
        ]
        found = self._operations.timed(time, layers) if layers else []
        return {id(block): it for block, it in zip(self._blocks, found, strict=True)}


def _is_plain(block: Any) -> bool:
    linear, conv = block.time_emb_proj, block.conv1
    return (
        is_plain(linear, nn.Linear)
        and linear.bias is not None
        and is_plain(conv, nn.Conv2d)
        and not block.skip_time_act
    )
