"""Arithmetic on samples: uint8 or uint16 planes, straight alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def full_scale(array: Array) -> int:
    """The number that stands for 1."""
    return int(np.iinfo(array.dtype).max)


def on_canvas(part: Array, x: int, y: int, height: int, width: int) -> Array:
    """A canvas of zeros with `part` at (x, y); what lies outside is cut."""
    canvas = np.zeros((height, width, *part.shape[2:]), part.dtype)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + part.shape[1], width), min(y + part.shape[0], height)
    if left < right and top < bottom:
        canvas[top:bottom, left:right] = part[top - y : bottom - y, left - x : right - x]
    return canvas


def over(below: Array, above: Array, coverage: Array) -> Array:
    """RGBA above RGBA through a coverage plane. Where nothing covers, `below` stays bit for bit."""
    full = full_scale(below)
    top_alpha = above[..., 3].astype(np.float64) * coverage / full
    low_alpha = below[..., 3].astype(np.float64)
    alpha = top_alpha + low_alpha * (1 - top_alpha / full)
    weight = np.divide(top_alpha, alpha, out=np.zeros_like(alpha), where=alpha > 0)[..., None]
    color = above[..., :3] * weight + below[..., :3] * (1 - weight)
    mixed = np.rint(np.dstack([color, alpha])).astype(below.dtype)
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
    scale = np.iinfo(dtype).max / full_scale(array)
    return np.rint(array * scale).astype(dtype)
