"""Whether anything stands between a camera and points: exact, against the triangles themselves and not a depth picture.

A depth picture knows one depth a px, and at outlines it is the wrong one for half of the px.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .raster import Floats, Integers, expanded
from .views import Seen

_TILE = 16  # px
AHEAD = 1e-5  # relative: nearer than this is the surface itself, but for rounding
_EDGE = (
    1e-7  # of a triangle's area: so much beyond its edge still counts, so that there are no cracks
)
_AT_ONCE = 2_000_000


def hidden(seen: Seen, x: Floats, y: Floats, nearness: Floats) -> NDArray[np.bool_]:
    """Which points (n, px and nearness of `View.screen`) have a triangle before them."""
    result = np.zeros(len(x), bool)
    if not len(x):
        return result
    low = seen.corners.min(axis=1)
    high = seen.corners.max(axis=1)
    column, row = np.floor(x / _TILE).astype(np.int64), np.floor(y / _TILE).astype(np.int64)
    across = int(max(column.max(), 0)) + 1
    cell = row * across + column
    order = np.argsort(cell, kind="stable")
    cells, starts = np.unique(cell[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    triangle, where = _overlaps(low, high, cells, across)
    begins = np.searchsorted(where, np.arange(len(cells)))
    stops = np.searchsorted(where, np.arange(len(cells)), side="right")
    for number in range(len(cells)):
        candidates = triangle[begins[number] : stops[number]]
        points = order[starts[number] : ends[number]]
        step = max(1, _AT_ONCE // max(1, len(candidates)))
        for begin in range(0, len(points), step):
            part = points[begin : begin + step]
            result[part] = _covered(seen, candidates, x[part], y[part], nearness[part])
    return result


def _overlaps(low: Floats, high: Floats, cells: Integers, across: int) -> tuple[Integers, Integers]:
    """Pairs of triangle and index into `cells`, sorted by the latter: whose bounding box reaches into which cell."""
    first = np.floor(low / _TILE).astype(np.int64)
    last = np.floor(high / _TILE).astype(np.int64)
    rows = cells // across
    first = np.maximum(first, [0, rows.min()])
    last = np.minimum(last, [across - 1, rows.max()])
    size = np.maximum(last - first + 1, 0)
    count = size[:, 0] * size[:, 1]
    triangle, offset = expanded(count)
    wide = np.maximum(size[triangle, 0], 1)
    cell = (first[triangle, 1] + offset // wide) * across + first[triangle, 0] + offset % wide
    index = np.minimum(np.searchsorted(cells, cell), len(cells) - 1)
    kept = cells[index] == cell
    triangle, index = triangle[kept], index[kept]
    order = np.argsort(index, kind="stable")
    return triangle[order], index[order]


def _covered(
    seen: Seen, triangles: Integers, x: Floats, y: Floats, nearness: Floats
) -> NDArray[np.bool_]:
    """Points (n) that lie inside a triangle which is nearer."""
    a, b, c = np.moveaxis(seen.planes[triangles, 0], -1, 0)
    depth = x[:, None] * a + y[:, None] * b + c
    nearer = depth > nearness[:, None] + AHEAD * np.abs(nearness)[:, None]
    point, which = np.nonzero(nearer)
    if not len(point):
        return np.zeros(len(x), bool)
    corners = seen.corners[triangles[which]]
    px, py = x[point], y[point]
    first, second, third = np.moveaxis(corners, 1, 0)
    sides = [
        (end[:, 0] - start[:, 0]) * (py - start[:, 1])
        - (end[:, 1] - start[:, 1]) * (px - start[:, 0])
        for start, end in ((first, second), (second, third), (third, first))
    ]
    area = sides[0] + sides[1] + sides[2]
    inside = np.ones(len(point), bool)
    for side in sides:
        inside &= side * np.sign(area) > -_EDGE * np.abs(area)
    return np.bincount(point[inside], minlength=len(x)) > 0
