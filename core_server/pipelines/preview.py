"""Cheap previews: a linear map from latents to colours, fitted to each autoencoder once."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from core_server.pipelines.latents import Latents

PREVIEW_SIDE = 256
"""Longest side of a preview, px."""
_FIT_SIDE = 16
"""Latents a side of the picture that the map is fitted on: one small decode."""


@dataclass(frozen=True, slots=True, eq=False)
class PreviewProjection:
    """matrix: (grid channels + 1, 3) float32, from a grid of latents (and 1) to sRGB 0..1."""

    matrix: torch.Tensor

    @staticmethod
    @torch.no_grad()
    def fit(latents_of: Latents, device: torch.device) -> PreviewProjection:
        """Least squares between a smooth random grid and the mean colours that the decoder makes of it."""
        channels = latents_of.channels
        side = _FIT_SIDE if channels <= 64 else 2 * _FIT_SIDE
        generator = torch.Generator("cpu").manual_seed(0)
        coarse = torch.randn(1, channels, side // 2, side // 2, generator=generator)
        latents = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
        vae = latents_of.vae
        decoded = latents_of.decode(latents_of.to_vae(latents.to(device, vae.dtype)))
        colours = torch.nn.functional.adaptive_avg_pool2d(
            (decoded.float().cpu() * 0.5 + 0.5).clamp(0, 1), side
        )
        rows = latents[0].reshape(channels, -1).T
        rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
        return PreviewProjection(torch.linalg.lstsq(rows, colours[0].reshape(3, -1).T).solution)

    @torch.no_grad()
    def __call__(self, latents: torch.Tensor) -> npt.NDArray[np.uint8]:
        """latents: a grid, (batch, channels, height, width); the first one becomes (height, width, 3) uint8 sRGB."""
        first = latents[0].float().cpu()
        colours = torch.einsum("chw,cr->hwr", first, self.matrix[:-1]) + self.matrix[-1]
        image = (colours.nan_to_num(0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        height, width = image.shape[:2]
        scale = PREVIEW_SIDE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
