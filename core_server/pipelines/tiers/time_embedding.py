"""A UNet's timestep, from its number to what each ResNet block adds, beside the layers that come before its first use.

Source of the order: diffusers' `UNet2DConditionModel.forward`; where nothing is added to the embedding, the first that
reads it is the first block's ResNet layer, after the first convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.unets.unet_2d_blocks import CrossAttnDownBlock2D, DownBlock2D
from torch import nn

from core_server.pipelines.overrides import Function
from core_server.pipelines.tiers.picture_layers import ResnetForward
from core_server.pipelines.tiers.plain import is_free, is_plain
from core_server.pipelines.tiers.time_shares import TimeShares


def early_time(network: nn.Module, shares: TimeShares) -> list[tuple[nn.Module, str, Function]]:
    """What to hide for it: module, method, function; nothing where the network reads its embedding elsewhere."""
    if not _is_plain_network(network):
        return []
    early = _EarlyTime(network, shares)
    return [
        (network, "get_time_embed", early.get_time_embed),
        (early.layer, "forward", early.embedded),
    ]


def _is_plain_network(network: Any) -> bool:
    return (
        type(network) is UNet2DConditionModel
        and is_free(network)
        and is_plain(network.time_embedding, TimestepEmbedding)
        and network.class_embedding is None
        and network.config.addition_embed_type is None
        and network.time_embed_act is None
        and network.config.time_cond_proj_dim is None
    )


class _EarlyTime:
    """Of one UNet. One thread calls it."""

    def __init__(self, network: Any, shares: TimeShares) -> None:
        self._network, self._shares = network, shares
        self.layer: nn.Module = network.time_embedding
        self._made: tuple[torch.Tensor, torch.Tensor] | None = None

    def get_time_embed(self, sample: torch.Tensor, timestep: Any) -> torch.Tensor:
        """As the stock method, but with what follows: nobody may read it before the first block joins."""
        if not self._joins():
            return self._stock(sample, timestep)

        def made() -> tuple[torch.Tensor, torch.Tensor]:
            waves = self._stock(sample, timestep)
            return waves, TimestepEmbedding.forward(self.layer, waves)

        self._made = self._shares.embed(made, sample.device)
        return self._made[0]

    def embedded(self, sample: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """As the stock method of the layer."""
        made, self._made = self._made, None
        if made is not None and made[0] is sample and condition is None:
            return made[1]
        self._shares.join()
        found: torch.Tensor = TimestepEmbedding.forward(self.layer, sample, condition)
        return found

    def _stock(self, sample: torch.Tensor, timestep: Any) -> torch.Tensor:
        found: torch.Tensor = UNet2DConditionModel.get_time_embed(self._network, sample, timestep)
        return found

    def _joins(self) -> bool:
        """Whether the first that reads the embedding will be our method, which waits for it."""
        block = self._network.down_blocks[0]
        if type(block) not in (CrossAttnDownBlock2D, DownBlock2D) or not is_plain(
            block, type(block)
        ):
            return False
        first = block.resnets[0]
        return (
            isinstance(vars(first).get("forward"), ResnetForward)
            and is_free(first)
            and self._shares.has(first)
            and vars(self.layer).get("forward") == self.embedded
            and is_free(self.layer)
        )
