"""Cuts a planned rectangle out of a picture. No arithmetic beyond that: the server plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from scumble.client import Bounds, ColorSpace, Pixels


def bounding_box(mask: npt.NDArray[Any]) -> Bounds:
    """The smallest rectangle with everything above 0; mask of shape (height, width), not empty."""
    rows = np.flatnonzero((mask > 0).any(axis=1))
    columns = np.flatnonzero((mask > 0).any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return Bounds(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)


def cut(source: Pixels | npt.NDArray[Any], bounds: Bounds) -> Pixels:
    """A rectangle of a picture, or of a mask of shape (height, width). Beyond the border it wraps, as on a tile."""
    array = source.numpy() if isinstance(source, Pixels) else source[..., None]
    height, width = array.shape[:2]
    if bounds.x >= 0 <= bounds.y and bounds.right <= width and bounds.bottom <= height:
        piece = array[bounds.y : bounds.bottom, bounds.x : bounds.right]
    else:
        rows = np.arange(bounds.y, bounds.bottom) % height
        columns = np.arange(bounds.x, bounds.right) % width
        piece = array[rows[:, None], columns[None, :]]
    if isinstance(source, Pixels):
        return Pixels.from_numpy(
            np.ascontiguousarray(piece), source.color_space, source.icc_profile
        )
    return Pixels.from_numpy(np.ascontiguousarray(piece), ColorSpace.NON_COLOR)
