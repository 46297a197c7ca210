"""Cheap previews: a linear map from latents to colours, fitted to each autoencoder once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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

    def __call__(self, latents: torch.Tensor) -> npt.NDArray[np.uint8]:
        """latents: a grid, (batch, channels, height, width); the first one becomes (height, width, 3) uint8 sRGB."""
        return self.drawn(latents[0].float().cpu())

    @torch.no_grad()
    def drawn(self, first: torch.Tensor) -> npt.NDArray[np.uint8]:
        """The same for one grid on the CPU, (channels, height, width) float32."""
        colours = torch.einsum("chw,cr->hwr", first, self.matrix[:-1]) + self.matrix[-1]
        image = (colours.nan_to_num(0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        height, width = image.shape[:2]
        scale = PREVIEW_SIDE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


class PreviewFetcher:
    """Brings grids from a CUDA device beside the work under way, which never waits for a preview."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._device = device
        self._grid: torch.Tensor | None = None
        self._arrived: Any = None

    def ask(self, latents: torch.Tensor) -> None:
        """Starts to fetch the first grid of a batch, as it is once the work given to the device so far is done."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            first = latents[0].float()
            self._grid = torch.empty(first.shape, dtype=first.dtype, pin_memory=True)
            self._grid.copy_(first, non_blocking=True)
            self._arrived = self._stream.record_event()
        latents.record_stream(self._stream)

    def take(self) -> torch.Tensor | None:
        """The grid that was asked for last, once, if it is there."""
        if self._grid is None or not self._arrived.query():
            return None
        grid, self._grid = self._grid, None
        return grid
