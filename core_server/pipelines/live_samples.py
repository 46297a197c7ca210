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
from core_server.pipelines.model import FloatArray, on_host


def is_plain(canvas: Pixels, painted: Extent) -> bool:
    """Whether `source_of` and `picture_of` give what `Rendition` would, bit for bit. painted: at model size."""
    return (
        canvas.array.dtype == np.uint8
        and canvas.channels in (3, 4)
        and canvas.color_space in (ColorSpace.SRGB, ColorSpace.NON_COLOR)
        and canvas.extent == painted
    )


def source_of(canvas: Pixels, device: torch.device) -> torch.Tensor:
    """(1, 3, height, width) float32 sRGB -1..1 on the device, channels last, of a plain canvas."""
    samples = torch.from_numpy(np.require(canvas.array[..., :3], requirements=["C", "W"]))
    unit = samples.to(device).permute(2, 0, 1)[None].float() / 255
    return unit * 2 - 1


def source_from(image: FloatArray, device: torch.device) -> torch.Tensor:
    """The same of (height, width, 3) float32 sRGB 0..1."""
    return as_tensor(image * 2 - 1).to(device)


def picture_of(image: torch.Tensor, canvas: Pixels) -> Pixels:
    """image: (height, width, 3) float32 sRGB 0..1 on the device. The alpha is the canvas's."""
    array = on_host((image * 255).round().to(torch.uint8).contiguous()).numpy()
    if canvas.channels == 4:
        array = np.concatenate([array, canvas.array[..., 3:]], axis=2)
    return Pixels(array, canvas.color_space, canvas.icc_profile)
