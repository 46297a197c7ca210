"""Latents as each family's pipelines hold them, to and from one plain grid.

A grid is (1, channels, height, width), normalised as the denoiser sees it, on the denoiser's device. Tasks know grids
alone, so that masks, previews and noise are the same code for every family. The arithmetic is that of the stock
pipelines, operation by operation: their pictures are met bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents

from core_server.canvas.geometry import Extent
from core_server.pipelines.families.family import LatentSpace

_PACKED = (LatentSpace.PACKED, LatentSpace.VIDEO)


@dataclass(frozen=True, slots=True, eq=False)
class Latents:
    """The latents of one model. vae: its autoencoder; cell: px a side of one latent of the autoencoder; draws: as
    `Family.draws_latents`."""

    space: LatentSpace
    vae: Any
    cell: int
    draws: bool = False

    def grid_extent(self, extent: Extent) -> Extent:
        """Cells of a picture's grid. extent: px."""
        cell = 2 * self.cell if self.space is LatentSpace.FLUX_2 else self.cell
        return Extent(extent.width // cell, extent.height // cell)

    def to_grid(self, latents: torch.Tensor, extent: Extent) -> torch.Tensor:
        """A pipeline's latents between two steps as a grid. extent: px of the picture."""
        width, height = self.grid_extent(extent)
        if self.space is LatentSpace.FLUX_2:
            return latents.view(1, height, width, -1).permute(0, 3, 1, 2)
        if self.space not in _PACKED:
            return latents
        tokens = latents.view(1, height // 2, width // 2, -1, 2, 2)
        return tokens.permute(0, 3, 1, 4, 2, 5).reshape(1, -1, height, width)

    def from_grid(self, grid: torch.Tensor) -> torch.Tensor:
        """The inverse of `to_grid`."""
        _, channels, height, width = grid.shape
        if self.space is LatentSpace.FLUX_2:
            return grid.permute(0, 2, 3, 1).reshape(1, height * width, channels)
        if self.space not in _PACKED:
            return grid
        tokens = grid.view(1, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
        return tokens.reshape(1, height * width // 4, channels * 4)

    def encode(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The grid of a picture. image: (1, 3, height, width), -1..1, on the autoencoder's device."""
        config = self.vae.config
        if self.space is LatentSpace.VIDEO:
            latents = retrieve_latents(
                self.vae.encode(image.unsqueeze(2)),
                generator,
                sample_mode="sample" if self.draws else "argmax",
            )[:, :, 0]
            mean, std = self._channel_statistics(latents)
            codes: torch.Tensor = (latents - mean) / std
            return codes
        # The mode where the stock pipelines take the mode, so that the noise drawn next is theirs.
        mode = "argmax" if self.space is LatentSpace.FLUX_2 else "sample"
        encoded = self.vae.encode(image)
        if hasattr(encoded, "latent"):  # of an autoencoder without a distribution
            latents = encoded.latent
        else:
            latents = retrieve_latents(encoded, generator, sample_mode=mode)
        if self.space is LatentSpace.FLUX_2:
            mean, std = self._batch_statistics(latents)
            return (_patchified(latents) - mean) / std
        if self.space is LatentSpace.SCALED:
            if not self._has_statistics():
                scaled: torch.Tensor = latents * config.scaling_factor
                return scaled
            mean, std = self._channel_statistics(latents)
            scaled = (latents - mean) * config.scaling_factor / std
            return scaled
        shifted: torch.Tensor = (latents - config.shift_factor) * config.scaling_factor
        return shifted

    def to_vae(self, grid: torch.Tensor) -> torch.Tensor:
        """A grid as the autoencoder's decoder takes it."""
        config = self.vae.config
        if self.space is LatentSpace.FLUX_2:
            mean, std = self._batch_statistics(grid)
            return _unpatchified(grid * std + mean)
        if self.space is LatentSpace.VIDEO:
            grid = grid.to(self.vae.dtype)
            mean, std = self._channel_statistics(grid)
            return (grid / (1.0 / std) + mean).unsqueeze(2)
        if self.space is LatentSpace.SCALED:
            if not self._has_statistics():
                scaled: torch.Tensor = grid.to(self.vae.dtype) / config.scaling_factor
                return scaled
            mean, std = self._channel_statistics(grid)
            scaled = grid * std / config.scaling_factor + mean
            return scaled
        shifted: torch.Tensor = (
            grid.to(self.vae.dtype) / config.scaling_factor
        ) + config.shift_factor
        return shifted

    def finished(self, latents: torch.Tensor, extent: Extent) -> torch.Tensor:
        """A pipeline's result with output_type "latent" as the autoencoder's decoder takes it."""
        if self.space is LatentSpace.FLUX_2 and latents.dim() == 4:
            return latents  # klein's pipelines undo packing and normalisation before they return
        return self.to_vae(self.to_grid(latents, extent))

    def started(self, grid: torch.Tensor) -> torch.Tensor:
        """A grid as a pipeline takes the latents to start from."""
        return grid if self.space is LatentSpace.FLUX_2 else self.from_grid(grid)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, 3, height, width), about -1..1, from what `to_vae` and `finished` give."""
        image: torch.Tensor = self.vae.decode(latents, return_dict=False)[0]
        return image[:, :, 0] if self.space is LatentSpace.VIDEO else image

    @property
    def is_packed(self) -> bool:
        """Whether the denoiser takes 2 x 2 cells of the autoencoder as one token."""
        return self.space in (*_PACKED, LatentSpace.FLUX_2)

    @property
    def channels(self) -> int:
        """Channels of a grid."""
        config = self.vae.config
        count = int(getattr(config, "z_dim", None) or config.latent_channels)
        return 4 * count if self.space is LatentSpace.FLUX_2 else count

    def _has_statistics(self) -> bool:
        config = self.vae.config
        return (
            getattr(config, "latents_mean", None) is not None
            and getattr(config, "latents_std", None) is not None
        )

    def _channel_statistics(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.vae.config
        return (
            torch.tensor(config.latents_mean).view(1, -1, 1, 1).to(like.device, like.dtype),
            torch.tensor(config.latents_std).view(1, -1, 1, 1).to(like.device, like.dtype),
        )

    def _batch_statistics(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norm, epsilon = self.vae.bn, self.vae.config.batch_norm_eps
        mean = norm.running_mean.view(1, -1, 1, 1).to(like.device, like.dtype)
        std = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + epsilon)
        return mean, std.to(like.device, like.dtype)


def _patchified(latents: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = latents.shape
    cells = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return cells.reshape(batch, channels * 4, height // 2, width // 2)


def _unpatchified(grid: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = grid.shape
    cells = grid.reshape(batch, channels // 4, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
    return cells.reshape(batch, channels // 4, height * 2, width * 2)
