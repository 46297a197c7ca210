"""Measured colour against asked colour, in CIELAB."""

from __future__ import annotations

from functools import cache
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.colour import linear_to_srgb, srgb_to_linear
from core_server.canvas.perceptual import cielab_difference, srgb_to_cielab
from core_server.training.materials.colors import COLOR_NAMES, COLORS

Array = npt.NDArray[np.float64]
CLUSTERS, LEAST_SHARE = 6, 0.15
"""Main colours of a picture: of so many clusters those that cover at least this share of it."""
_GAINS, _TINTS, _LIGHTS = (0.9, 1.0, 1.1), (0.95, 1.0, 1.05), (0.6, 0.8, 1.0)
LOOK_ALIKE = 2.3
"""Names whose ranges come this near (CIEDE2000) are not told apart: about one just noticeable
difference (Mahy, Van Eycken, Oosterlinck 1994)."""


@cache
def named_range(name: str) -> Array:
    """(81, 3) CIELAB samples of what a colour name may look like.

    The generator draws a name with 0.9 to 1.1 of its light and 0.95 to 1.05 of each channel; a face
    then gets 0.6 to 1 of the light, by its slope.
    """
    factors = [
        gain * light * np.array(tint)
        for gain, light, tint in product(_GAINS, _LIGHTS, product(_TINTS[::2], repeat=3))
    ]
    factors += [gain * light * np.ones(3) for gain, light in product(_GAINS, _LIGHTS)]
    return _shaded(name, np.array(factors))


def main_colors(picture: npt.NDArray[np.uint8]) -> Array:
    """(k, 3) CIELAB of the colours that cover most of a (H, W, 3) uint8 sRGB picture, largest first.

    Joints, stripes and shadows are colours of their own (k-means, Lloyd 1982, seeded).
    """
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
    pixels = srgb_to_cielab(small.reshape(-1, 3) / 255).astype(np.float32)
    cv2.setRNGSeed(1)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    _, labels, centres = cv2.kmeans(pixels, CLUSTERS, None, stop, 2, cv2.KMEANS_PP_CENTERS)
    shares = np.bincount(labels.ravel(), minlength=CLUSTERS) / len(pixels)
    order = np.argsort(-shares)
    kept = [i for i in order if shares[i] >= LEAST_SHARE] or [order[0]]
    return np.asarray(centres[kept], np.float64)


def color_error(picture: npt.NDArray[np.uint8], name: str) -> float:
    """CIEDE2000 from the nearest main colour of the picture to the range of the name; 0 is inside."""
    found, wanted = main_colors(picture), named_range(name)
    return float(cielab_difference(found[:, None], wanted[None]).min())


def look_alikes(name: str) -> frozenset[str]:
    """The name and those that mean the same look: as drawn, in one light, their ranges meet."""
    return _all_look_alikes()[name]


@cache
def _all_look_alikes() -> dict[str, frozenset[str]]:
    drawn = {name: _drawn(name) for name in COLOR_NAMES}
    middles = np.stack([values[len(values) // 2] for values in drawn.values()])
    near = cielab_difference(middles[:, None], middles[None]) < 8 * LOOK_ALIKE
    return {
        name: frozenset(
            other
            for j, other in enumerate(COLOR_NAMES)
            if near[i, j]
            and cielab_difference(drawn[name][:, None], drawn[other][None]).min() <= LOOK_ALIKE
        )
        for i, name in enumerate(COLOR_NAMES)
    }


def _drawn(name: str) -> Array:
    """(81, 3) samples in one light; the middle one is the name's own colour."""
    factors = np.array([g * np.array(t) for g, t in product(_GAINS, product(_TINTS, repeat=3))])
    return _shaded(name, factors)


def _shaded(name: str, factors: Array) -> Array:
    """CIELAB of a named colour whose linear light is multiplied by `factors` (n, 3)."""
    code = COLORS[name]
    srgb = np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    values = (factors * srgb_to_linear(srgb).astype(np.float64)).clip(0, 1)
    return srgb_to_cielab(linear_to_srgb(values.astype(np.float32)))
