"""Arithmetic on stored samples, shape (height, width, channels), any of the four dtypes: alpha, grey, orientation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue, Rec. ITU-R BT.709."""


def straight(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Colours divided by alpha, in the samples' own type; colours without alpha (light that covers nothing) stay."""
    full = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1
    values = samples.astype(np.float64)
    alpha = values[..., -1:] / full
    color = np.divide(values[..., :-1], alpha, out=values[..., :-1].copy(), where=alpha > 0)
    return _typed(np.concatenate([color, values[..., -1:]], axis=2), samples.dtype)


def associated_alpha(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Colours multiplied by alpha; the inverse of `straight`, also where alpha is 0."""
    full = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1
    values = samples.astype(np.float64)
    alpha = values[..., -1:] / full
    color = np.where(alpha > 0, values[..., :-1] * alpha, values[..., :-1])
    return _typed(np.concatenate([color, values[..., -1:]], axis=2), samples.dtype)


def grey(color: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rec. 709 luma of the stored values, shape (height, width); exact where the channels agree."""
    if color.shape[2] == 1:
        return color[..., 0]
    luma = _typed(color.astype(np.float64) @ np.array(LUMA), color.dtype)
    alike = (color == color[..., :1]).all(axis=2)
    return np.where(alike, color[..., 0], luma)


def _typed(values: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    kind = np.dtype(dtype)
    whole = np.clip(np.rint(values), 0, np.iinfo(kind).max) if kind.kind == "u" else values
    return whole.astype(kind)


def upright(samples: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Undoes an EXIF orientation (Exif 2.3, tag 0x0112)."""
    turned = samples.transpose(1, 0, 2) if orientation in (5, 6, 7, 8) else samples
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned
