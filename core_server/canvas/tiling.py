"""A large picture worked on in overlapping tiles that are blended without a seam.

Along a side that wraps the tiles lie around it like beads, and the last one overlaps the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.masks import read_wrapped
from core_server.canvas.plan import SeamlessAxes, wraps

FloatArray = npt.NDArray[np.float32]


def tiles_of(
    extent: Extent, tile: Extent, overlap: int, seamless: SeamlessAxes = SeamlessAxes.NONE
) -> tuple[Bounds, ...]:
    """Tiles that cover a picture of `extent`, row by row; each side is `tile`'s or, where that is less, the picture's.

    Neighbours overlap by at least `overlap` px, which is less than a tile's side. On a seamless axis x or y may be such
    that the tile ends beyond the border: read on at the other side.
    """
    rows = _spans(extent.height, tile.height, overlap, wraps(seamless, 0))
    columns = _spans(extent.width, tile.width, overlap, wraps(seamless, 1))
    width, height = min(tile.width, extent.width), min(tile.height, extent.height)
    return tuple(Bounds(x, y, width, height) for y in rows for x in columns)


def _spans(side: int, tile: int, overlap: int, around: bool) -> list[int]:
    """Where the tiles along one side begin, evenly spread."""
    if tile >= side:
        return [0]
    if around:
        count = math.ceil(side / (tile - overlap))
        return [index * side // count for index in range(count)]
    count = math.ceil((side - overlap) / (tile - overlap))
    return [index * (side - tile) // (count - 1) for index in range(count)]


class Blend:
    """Tiles laid over one another: at each px the mean of those that cover it, each weighing less towards its edge."""

    def __init__(self, extent: Extent, overlap: int, seamless: SeamlessAxes) -> None:
        self._extent = extent
        self._overlap = overlap
        self._seamless = seamless
        self._sum = np.zeros((extent.height, extent.width, 3), np.float32)
        self._weight = np.zeros((extent.height, extent.width, 1), np.float32)

    def add(self, bounds: Bounds, image: FloatArray) -> None:
        """image: (height, width, 3) float32 of the tile at `bounds`."""
        weight = self._weights(bounds)
        for target, source in _pieces(bounds, self._extent):
            self._sum[target] += image[source] * weight[source]
            self._weight[target] += weight[source]

    def result(self) -> FloatArray:
        """The picture, (height, width, channels); every px must have been covered."""
        return np.asarray(self._sum / self._weight, np.float32)

    def _weights(self, bounds: Bounds) -> FloatArray:
        rows, columns = (
            _ramp(start, length, side, self._overlap, wraps(self._seamless, axis))
            for axis, (start, length, side) in enumerate(
                (
                    (bounds.y, bounds.height, self._extent.height),
                    (bounds.x, bounds.width, self._extent.width),
                )
            )
        )
        return np.asarray(rows[:, None, None] * columns[None, :, None], np.float32)


def read_tile(image: FloatArray, bounds: Bounds) -> FloatArray:
    """The tile's px, read across the border where it lies beyond."""
    return np.asarray(read_wrapped(image, bounds), np.float32)


def _ramp(start: int, length: int, side: int, overlap: int, around: bool) -> FloatArray:
    """Weights along one side: 1 in the middle, falling towards each edge that has a neighbour."""
    weight = np.ones(length, np.float32)
    if length >= side:
        return weight
    t = (np.arange(overlap, dtype=np.float32) + np.float32(0.5)) / np.float32(overlap)
    rise = t * t * (3 - 2 * t)
    if around or start > 0:
        weight[:overlap] *= rise
    if around or start + length < side:
        weight[length - overlap :] *= rise[::-1]
    return weight


def _pieces(
    bounds: Bounds, extent: Extent
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """(where in the picture, where in the tile) of each unbroken part of a tile."""
    for target_y, source_y in _runs(bounds.y, bounds.height, extent.height):
        for target_x, source_x in _runs(bounds.x, bounds.width, extent.width):
            yield (target_y, target_x), (source_y, source_x)


def _runs(start: int, length: int, side: int) -> Iterator[tuple[slice, slice]]:
    first = min(length, side - start)
    yield slice(start, start + first), slice(0, first)
    if first < length:
        yield slice(0, length - first), slice(first, length)
