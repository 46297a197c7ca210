"""Colours as people see them: Oklab for arithmetic, CIELAB and CIEDE2000 for judging differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core_server.canvas.colour import linear_to_srgb, srgb_to_linear

FloatArray = npt.NDArray[np.float32]

# Ottosson 2020, "A perceptual color space for image processing".
_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_FROM_OKLAB, _FROM_LMS = np.linalg.inv(_OKLAB), np.linalg.inv(_LMS)

_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""Linear Rec.709 to XYZ, D65."""


def srgb_to_oklab(srgb: FloatArray) -> FloatArray:
    """(..., 3) sRGB to Oklab: lightness 0..1, a and b about -0.4..0.4."""
    return np.asarray(np.cbrt(srgb_to_linear(srgb) @ _LMS.T) @ _OKLAB.T, np.float32)


def oklab_to_srgb(lab: FloatArray) -> FloatArray:
    """The way back of `srgb_to_oklab`; colours outside the gamut lie outside 0..1."""
    return linear_to_srgb(((lab @ _FROM_OKLAB.T) ** 3) @ _FROM_LMS.T)


def srgb_to_cielab(srgb: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(..., 3) sRGB to CIELAB with the white D65: lightness 0..100."""
    xyz = srgb_to_linear(srgb).astype(np.float64) @ _XYZ.T / _XYZ.sum(axis=1)
    epsilon, kappa = 216 / 24389, 24389 / 27
    f = np.where(xyz > epsilon, np.cbrt(xyz), (kappa * xyz + 16) / 116)
    lightness = 116 * f[..., 1] - 16
    return np.stack(
        [lightness, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def delta_e_2000(first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """CIEDE2000 difference of two arrays of sRGB colours, (..., 3); 1 is just visible side by side.

    Source: Sharma, Wu, Dalal 2005, "The CIEDE2000 color-difference formula"; tested on its data.
    """
    return cielab_difference(srgb_to_cielab(first), srgb_to_cielab(second))


def cielab_difference(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """CIEDE2000 of CIELAB colours, (..., 3)."""
    l1, a1, b1 = np.moveaxis(np.asarray(first, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(second, np.float64), -1, 0)
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(c7 / (c7 + 25.0**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1) % (2 * np.pi), np.arctan2(b2, a2) % (2 * np.pi)
    coloured = c1 * c2 > 0
    turn = np.where(coloured, (h2 - h1 + np.pi) % (2 * np.pi) - np.pi, 0.0)
    # Exactly opposite hues count as +180 degrees or -180 as they stand.
    turn = np.where(coloured & (np.abs(h2 - h1) == np.pi), h2 - h1, turn)
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(turn / 2)
    l_, c_ = (l1 + l2) / 2, (c1 + c2) / 2
    far = np.abs(h1 - h2) > np.pi
    total = h1 + h2
    h_ = np.where(far, np.where(total < 2 * np.pi, total + 2 * np.pi, total - 2 * np.pi), total) / 2
    h_ = np.where(coloured, h_, total)
    t = (
        1
        - 0.17 * np.cos(h_ - np.radians(30))
        + 0.24 * np.cos(2 * h_)
        + 0.32 * np.cos(3 * h_ + np.radians(6))
        - 0.20 * np.cos(4 * h_ - np.radians(63))
    )
    sl = 1 + 0.015 * (l_ - 50) ** 2 / np.sqrt(20 + (l_ - 50) ** 2)
    sc, sh = 1 + 0.045 * c_, 1 + 0.015 * c_ * t
    theta = np.radians(30) * np.exp(-(((np.degrees(h_) - 275) / 25) ** 2))
    rt = -np.sin(2 * theta) * 2 * np.sqrt(c_**7 / (c_**7 + 25.0**7))
    dl, dc, dh = dl / sl, dc / sc, dh / sh
    return np.asarray(np.sqrt(np.maximum(dl**2 + dc**2 + dh**2 + rt * dc * dh, 0)))
