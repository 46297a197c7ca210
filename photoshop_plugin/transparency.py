"""What is transparent in a picture, and what a model is shown there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scumble.client import Pixels

Array = npt.NDArray[Any]


def is_empty(image: Pixels) -> bool:
    """Whether nothing of it can be seen."""
    return image.channels == 4 and not image.numpy()[..., 3].any()


def opaque(image: Pixels) -> Pixels:
    """RGB without transparency: on mid-grey, the least telling of backgrounds. Opaque px stay bit for bit."""
    if image.channels != 4:
        return image
    samples, full = image.numpy(), image.sample_type.full_scale
    alpha = samples[..., 3:].astype(np.float64) / full
    mixed = samples[..., :3] * alpha + full / 2 * (1 - alpha)
    if samples.dtype.kind == "u":
        mixed = np.rint(mixed)
    color = np.where(alpha >= 1, samples[..., :3], mixed.astype(samples.dtype))
    return Pixels.from_numpy(np.ascontiguousarray(color), image.color_space, image.icc_profile)


def transparent_part(image: Pixels, selection: Pixels) -> Array:
    """How far each px is transparent and selected: (height, width), full scale = wholly, in the selection's type."""
    chosen, full = selection.numpy()[..., 0], selection.sample_type.full_scale
    if image.channels != 4:
        return np.zeros_like(chosen)
    missing = 1 - image.numpy()[..., 3].astype(np.float64) / image.sample_type.full_scale
    share = chosen * missing
    if chosen.dtype.kind == "u":
        share = np.rint(share)
    result: Array = np.clip(share, 0, full).astype(chosen.dtype)
    return result
