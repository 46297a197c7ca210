"""Sizes that follow from a model's configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def vae_scale_factor(config: Mapping[str, Any]) -> int:
    """Px a side of one latent, from the autoencoder's configuration; 8, the usual, for an empty one."""
    video = config.get("temperal_downsample")  # as the video autoencoders spell it
    if video is not None:
        return int(2 ** len(video))
    blocks = config.get("encoder_block_out_channels") or config.get("block_out_channels")
    return int(2 ** (len(blocks or (0,) * 4) - 1))
