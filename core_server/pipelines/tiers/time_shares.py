"""What each ResNet block of a UNet adds for the timestep, worked out for all of them at once.

Nothing needs it before the first block's second half: it is worked out beside the first half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from core_server.pipelines.tiers.operations import Operations, TimeLayer
from core_server.pipelines.tiers.plain import is_plain
from core_server.pipelines.tiers.side_branch import Branch, branch_of


class TimeShares:
    """Of one UNet, in one call: the first block that begins has all of them worked out. One thread calls it."""

    def __init__(
        self,
        operations: Operations,
        blocks: Iterable[Any] = (),
        branch: Callable[[torch.device], Branch] = branch_of,
    ) -> None:
        """branch: of the device that the shares are worked out on."""
        self._operations = operations
        self._blocks = [block for block in blocks if _is_plain(block)]
        self._known = {id(block) for block in self._blocks}
        self._branch_of = branch
        self._branch: Branch | None = None
        self._time: torch.Tensor | None = None
        self._shares: dict[int, torch.Tensor] = {}

    def begin(self, block: Any, time: torch.Tensor) -> None:
        """Called before a block's first half. A block that calls it calls `of` later, with the same `time`."""
        if self.has(block) and time.ndim == 2 and time is not self._time:
            self._make(time)

    def of(self, block: Any, time: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """What the block adds for a timestep's embedding, and `bias`, its first convolution's; (batch, channels).

        time: (batch, length).
        """
        self.begin(block, time)
        self.join()
        if bias is block.conv1.bias and time is self._time:
            share = self._shares.get(id(block))
            if share is not None:
                return share
        given = time if block.skip_time_act else functional.silu(time)
        found: torch.Tensor = block.time_emb_proj(given)
        return found if bias is None else found + bias

    def has(self, block: Any) -> bool:
        """Whether the block's share is among those that are worked out at once."""
        return id(block) in self._known

    def join(self) -> None:
        """What is worked out may be read from here on."""
        if self._branch is not None:
            self._branch.join()
            self._branch = None

    def embed(
        self, made: Callable[[], tuple[torch.Tensor, torch.Tensor]], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `made` gives, of which the second is a timestep's embedding, and beside it all blocks' shares.

        Not to be read before a block that this `has` calls `of`, or before `join`.
        """

        def work() -> list[torch.Tensor]:
            before, time = made()
            return [before, time, *self._worked_out(time)]

        self._branch = self._branch_of(device)
        before, time, *shares = self._branch.begin(work)
        self._keep(time, shares)
        return before, time

    def _make(self, time: torch.Tensor) -> None:
        self._branch = self._branch_of(time.device)
        self._keep(time, self._branch.begin(lambda: self._worked_out(time)))

    def _worked_out(self, time: torch.Tensor) -> list[torch.Tensor]:
        projections = [block.time_emb_proj for block in self._blocks]
        layers = [
            TimeLayer(linear.weight, linear.bias, block.conv1.bias)
            for linear, block in zip(projections, self._blocks, strict=True)
        ]
        return self._operations.timed(time, layers)

    def _keep(self, time: torch.Tensor, shares: list[torch.Tensor]) -> None:
        """The time, too: the branch reads its memory."""
        named = (id(block) for block in self._blocks)
        self._time, self._shares = time, dict(zip(named, shares, strict=True))


def _is_plain(block: Any) -> bool:
    linear, conv = block.time_emb_proj, block.conv1
    return (
        is_plain(linear, nn.Linear)
        and linear.bias is not None
        and is_plain(conv, nn.Conv2d)
        and not block.skip_time_act
    )
