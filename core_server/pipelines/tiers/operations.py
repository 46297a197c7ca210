"""The operations that our kernels replace, and who does them: Triton on CUDA, PyTorch where a test compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch.nn import functional


class TimeLayer(NamedTuple):
    """What makes a block's share of a timestep's embedding. weight: (channels, length); bias, more: (channels,)."""

    weight: torch.Tensor
    bias: torch.Tensor
    more: torch.Tensor | None


class Operations(Protocol):
    """Pictures are (batch, channels, height, width); where it can, the result is channels last."""

    def group_norm(
        self,
        x: torch.Tensor,
        groups: int,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        *,
        silu: bool = False,
        added: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """silu(group_norm(x + added)), or without the silu. added: None or (batch or 1, channels)."""

    def joined_norm(
        self,
        pictures: tuple[torch.Tensor, torch.Tensor],
        groups: int,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """silu(group_norm(both)), and both: the first picture's channels, then the second's."""

    def added_up(self, x: torch.Tensor, h: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """x + h + bias. bias: None or (channels,)."""

    def biased(self, h: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """h + bias, (channels,); h may be written over."""

    def geglu(self, x: torch.Tensor) -> torch.Tensor:
        """a * gelu(b) where the last dimension of x is a, then b."""

    def doubled(self, x: torch.Tensor) -> torch.Tensor:
        """Each px four times: twice as high and wide."""

    def layer_norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        added: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """layer_norm(x), and x + added in memory of its own. x: (..., width); added: None or (width,)."""

    def timed(self, time: torch.Tensor, layers: Sequence[TimeLayer]) -> list[torch.Tensor]:
        """silu(time) @ weight.T + bias + more for each of the layers, (batch, channels) each. time: (batch, length)."""

    def single_head(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """softmax(query key^T / sqrt(channels)) value; all (tokens, channels)."""


class TorchOperations:
    """By PyTorch alone, in any layout: what the kernels are measured against."""

    def group_norm(
        self,
        x: torch.Tensor,
        groups: int,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        *,
        silu: bool = False,
        added: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As the protocol says."""
        if added is not None:
            x = x + added[:, :, None, None]
        y = functional.group_norm(x, groups, weight, bias, epsilon)
        return functional.silu(y) if silu else y

    def joined_norm(
        self,
        pictures: tuple[torch.Tensor, torch.Tensor],
        groups: int,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As the protocol says."""
        both = torch.cat(pictures, dim=1)
        return self.group_norm(both, groups, weight, bias, epsilon, silu=True), both

    def added_up(self, x: torch.Tensor, h: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """As the protocol says."""
        return x + (h if bias is None else h + bias.view(1, -1, 1, 1))

    def biased(self, h: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """As the protocol says."""
        return h.add_(bias.view(1, -1, 1, 1))

    def geglu(self, x: torch.Tensor) -> torch.Tensor:
        """As the protocol says."""
        value, gate = x.chunk(2, dim=-1)
        return value * functional.gelu(gate)

    def doubled(self, x: torch.Tensor) -> torch.Tensor:
        """As the protocol says."""
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")

    def layer_norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
        added: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As the protocol says."""
        y = functional.layer_norm(x, x.shape[-1:], weight, bias, epsilon)
        return y, x.clone() if added is None else x + added

    def timed(self, time: torch.Tensor, layers: Sequence[TimeLayer]) -> list[torch.Tensor]:
        """As the protocol says."""
        given = functional.silu(time)
        found = [functional.linear(given, it.weight, it.bias) for it in layers]
        return [y if it.more is None else y + it.more for y, it in zip(found, layers, strict=True)]

    def single_head(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """As the protocol says."""
        query, key, value = (it[None, None] for it in (query, key, value))
        return functional.scaled_dot_product_attention(query, key, value)[0, 0]
