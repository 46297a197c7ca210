"""Arithmetic on samples: uint8, uint16 or float32 planes, straight alpha last."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

COMPONENTS = {"GRAYSCALE": 1, "RGB": 3, "LAB": 3, "CMYK": 4}
"""Colour channels of the modes that the model has numbers for."""


def full_scale(array: Array) -> int:
    """The number that stands for 1."""
    return int(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1


def quantise(values: Array, dtype: npt.DTypeLike) -> Array:
    """Floats as samples of a type; whole numbers are rounded."""
    if np.dtype(dtype).kind == "u":
        values = np.rint(values)
    return values.astype(dtype)


def on_canvas(part: Array, x: int, y: int, height: int, width: int) -> Array:
    """A canvas of zeros with `part` at (x, y); what lies outside is cut."""
    canvas = np.zeros((height, width, *part.shape[2:]), part.dtype)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + part.shape[1], width), min(y + part.shape[0], height)
    if left < right and top < bottom:
        canvas[top:bottom, left:right] = part[top - y : bottom - y, left - x : right - x]
    return canvas


def over(below: Array, above: Array, coverage: Array) -> Array:
    """Colour and alpha above colour and alpha through a coverage plane. Where nothing covers, `below` stays bit for
    bit."""
    full = full_scale(below)
    top_alpha = above[..., -1].astype(np.float64) * coverage / full
    low_alpha = below[..., -1].astype(np.float64)
    alpha = top_alpha + low_alpha * (1 - top_alpha / full)
    weight = np.divide(top_alpha, alpha, out=np.zeros_like(alpha), where=alpha > 0)[..., None]
    color = above[..., :-1] * weight + below[..., :-1] * (1 - weight)
    mixed = quantise(np.dstack([color, alpha]), below.dtype)
    return np.where((top_alpha == 0)[..., None], below, mixed)


def bounding_box(coverage: Array) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) of what is not zero."""
    rows, columns = np.flatnonzero(coverage.any(axis=1)), np.flatnonzero(coverage.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def convert_depth(array: Array, dtype: npt.DTypeLike) -> Array:
    """The same picture with another number of bits."""
    if array.dtype == dtype:
        return array
    scale = full_scale(np.empty(0, dtype)) / full_scale(array)
    return quantise(array * scale, dtype)


def convert_mode(array: Array, source: str, target: str) -> Array:
    """The same picture in another colour mode, alpha kept. Plain formulas, not Adobe's: what counts is that numbers
    of one mode are never taken for those of another."""
    if source == target:
        return array
    full = full_scale(array)
    color, alpha = array[..., :-1].astype(np.float64) / full, array[..., -1:]
    if source == "GRAYSCALE":
        rgb = np.repeat(color, 3, axis=2)
    elif source == "CMYK":
        rgb = (1 - color[..., :3]) * (1 - color[..., 3:])
    elif source == "LAB":
        rgb = color[..., [2, 0, 1]]
    else:
        rgb = color
    if target == "GRAYSCALE":
        color = rgb.mean(axis=2, keepdims=True)
    elif target == "CMYK":
        black = 1 - rgb.max(axis=2, keepdims=True)
        ink = np.divide(1 - rgb - black, 1 - black, out=np.zeros_like(rgb), where=black < 1)
        color = np.dstack([ink, black])
    elif target == "LAB":
        color = rgb[..., [1, 2, 0]]
    else:
        color = rgb
    return np.dstack([quantise(color * full, array.dtype), alpha])
