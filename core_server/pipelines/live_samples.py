"""Canvases and pictures between bytes and the device, for the case that is painted live most often.

A plain canvas is 8-bit sRGB at the model's own size: then nothing is resampled and no colour is converted, and the
arithmetic of `canvas.rendition` is one multiplication each way. The device does it, and a quarter of the bytes travel.
"""

from __future__ import annotations

import numpy as np
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.pipelines.denoise import as_tensor
from core_server.pipelines.model import FloatArray


def is_plain(canvas: Pixels, painted: Extent) -> bool:
    """Whether `source_of` and `samples_of` give what `Rendition` would, bit for bit. painted: at model size."""
    return (
        canvas.array.dtype == np.uint8
        and canvas.channels in (3, 4)
        and canvas.color_space in (ColorSpace.SRGB, ColorSpace.NON_COLOR)
        and canvas.extent == painted
    )


def on_device(canvas: Pixels, device: torch.device) -> torch.Tensor:
    """A canvas's samples on their way to the device: (height, width, channels) of its type.

    On CUDA a copy in memory that the device reads by itself, so that nobody waits for it.
    """
    array = canvas.array
    if device.type != "cuda":
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)
    pinned = torch.empty(array.shape, dtype=torch.uint8, pin_memory=True)
    np.copyto(pinned.numpy(), array)
    return pinned


def source_of(samples: torch.Tensor) -> torch.Tensor:
    """(1, 3, height, width) float32 sRGB -1..1, channels last, of a plain canvas's (height, width, 3 or 4) uint8."""
    unit = samples[..., :3].permute(2, 0, 1)[None].float() / 255
    return unit * 2 - 1


def source_from(image: FloatArray, device: torch.device) -> torch.Tensor:
    """The same of (height, width, 3) float32 sRGB 0..1."""
    return as_tensor(image * 2 - 1).to(device)


def samples_of(image: torch.Tensor) -> torch.Tensor:
    """(height, width, 3) uint8 sRGB of float32 sRGB 0..1."""
    return (image * 255).round().to(torch.uint8)
