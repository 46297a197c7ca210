"""The patch's colours brought to those of its surroundings, by what the model did to the surroundings.

A model gives the surroundings back a little lighter, greyer or warmer than it got them, and what it painted inside the
mask with them. Outside the mask both versions are known, so their means and standard deviations (Reinhard et al. 2001,
in Oklab) tell the correction. No masked pixel counts: what is painted there is meant to differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.perceptual import oklab_to_srgb, srgb_to_oklab

FloatArray = npt.NDArray[np.float32]

MIN_PIXELS = 256
"""Fewer surroundings than this say nothing about colour."""
RING = 96
"""Width in px of the surroundings that count; what is further away may be lit differently."""
NOISE_FLOOR = 0.02
"""Standard deviation, Oklab, added to both sides: flat surroundings have none, and the ratio of two noises is noise."""
MAX_GAIN = 1.25
MAX_CHANGE = 0.15
"""Oklab distance from which on the model painted a pixel of the surroundings anew instead of giving it back."""


@dataclass(frozen=True, slots=True)
class ColourMatch:
    """What was done. strength 0..1; shift of the mean and gain of the contrast in Oklab (lightness, a, b); pixels:
    how many of the surroundings counted. edge: how the patch's edge was brought to its surroundings besides, "" for not
    at all. reason: why nothing was done, "" if something was."""

    strength: float
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pixels: int = 0
    edge: str = ""
    reason: str = ""

    def recipe(self) -> dict[str, Any]:
        """For the recipe of a picture."""
        if self.reason or not self.strength:
            return {"strength": 0.0, "reason": self.reason or "switched off"}
        return {
            "strength": self.strength,
            "shift": [round(value, 5) for value in self.shift],
            "gain": [round(value, 5) for value in self.gain],
            "pixels": self.pixels,
            "edge": self.edge,
        }


def match_colours(
    painted: FloatArray,
    reference: FloatArray,
    masked: npt.NDArray[np.bool_],
    strength: float = 1.0,
) -> tuple[FloatArray, ColourMatch]:
    """painted, reference: (height, width, 3) float32 sRGB 0..1, the model's picture and what it was shown.

    masked: (height, width), where the model was asked to paint. strength: 0 (off) to 1, the share of the correction.
    A model that gives the surroundings back unchanged gets its picture back bit for bit.
    """
    if strength <= 0:
        return painted, ColourMatch(0.0)
    ring = _ring(masked)
    if int(ring.sum()) < MIN_PIXELS:
        return painted, ColourMatch(0.0, reason="the mask leaves no surroundings to match")
    new, old = srgb_to_oklab(painted[ring]), srgb_to_oklab(reference[ring])
    given_back = np.linalg.norm(new - old, axis=1) <= MAX_CHANGE
    count = int(given_back.sum())
    if count < max(MIN_PIXELS, len(new) // 2):
        return painted, ColourMatch(0.0, reason="the model painted the surroundings anew")
    new, old = new[given_back].astype(np.float64), old[given_back].astype(np.float64)
    mean_new, mean_old = new.mean(axis=0), old.mean(axis=0)
    floor = NOISE_FLOOR**2
    gain = np.sqrt((old.var(axis=0) + floor) / (new.var(axis=0) + floor))
    gain = np.clip(gain, 1 / MAX_GAIN, MAX_GAIN)
    match = ColourMatch(strength, _three(mean_old - mean_new), _three(gain), count)
    if (gain == 1).all() and (mean_old == mean_new).all():
        return painted, match
    lab = srgb_to_oklab(painted)
    target = (lab - mean_new) * gain + mean_old
    # As a difference, so that rounding in Oklab adds nothing where nothing is corrected.
    change = oklab_to_srgb(target.astype(np.float32)) - oklab_to_srgb(lab)
    matched = np.clip(painted + np.float32(strength) * change, 0, 1)
    return np.asarray(matched, np.float32), match


def _ring(masked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pixels outside the mask, no further than RING from it."""
    if not masked.any():
        return ~masked
    away = cv2.distanceTransform((~masked).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray((away > 0) & (away <= RING))


def _three(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
