"""Triangles to pixels, exactly: a pixel belongs to a triangle when its centre does. Plain numpy, all triangles at once.

Coordinates are px with y in the direction of the rows; the centre of pixel (column, row) is (column + 0.5, row + 0.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CHUNK = 2_000_000  # fragments at once, so that memory stays flat


class Spans(NamedTuple):
    """Runs of pixels: which triangle, the row, the first and the last column."""

    triangle: Integers
    row: Integers
    left: Integers
    right: Integers


def row_spans(triangles: Floats, width: int, height: int) -> Spans:
    """The runs of the triangles (n x 3 x 2) inside width x height px; edges count as inside."""
    y = triangles[..., 1]
    first = np.clip(np.ceil(y.min(axis=1) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.floor(y.max(axis=1) - 0.5), -1, height - 1).astype(np.int64)
    count = np.maximum(0, last - first + 1)
    triangle, offset = expanded(count)
    row = offset + first[triangle]
    centre = row + 0.5
    low = np.full(len(row), np.inf)
    high = np.full(len(row), -np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        (ax, ay), (bx, by) = triangles[triangle, a].T, triangles[triangle, b].T
        crosses = (np.minimum(ay, by) <= centre) & (centre <= np.maximum(ay, by)) & (ay != by)
        share = (centre - ay) / np.where(ay == by, 1, by - ay)
        x = ax + share * (bx - ax)
        low = np.where(crosses, np.minimum(low, x), low)
        high = np.where(crosses, np.maximum(high, x), high)
    crossed = low <= high
    left = np.clip(np.ceil(np.where(crossed, low, 1) - 0.5), 0, width).astype(np.int64)
    right = np.clip(np.floor(np.where(crossed, high, 0) - 0.5), -1, width - 1).astype(np.int64)
    kept = crossed & (left <= right)
    return Spans(triangle[kept], row[kept], left[kept], right[kept])


def fragments(spans: Spans) -> Iterator[tuple[Integers, Integers, Integers]]:
    """The spans' pixels as (triangle, column, row), at most about two million at once."""
    lengths = spans.right - spans.left + 1
    if not len(lengths):
        return
    part = np.cumsum(lengths) // _CHUNK
    cuts = np.flatnonzero(np.diff(part)) + 1
    for piece in np.split(np.arange(len(lengths)), cuts):
        run, column = expanded(lengths[piece])
        which = piece[run]
        yield spans.triangle[which], column + spans.left[which], spans.row[which]


def expanded(count: Integers) -> tuple[Integers, Integers]:
    """Item k comes count[k] times: for each of these its k, and how often it came before.

    `np.repeat` would do; but of all that is used here it alone keeps Python locked, and Blender's window with it.
    """
    kept = np.flatnonzero(count)
    times = count[kept]
    starts = np.cumsum(times) - times
    first = np.zeros(int(times.sum()), np.int64)
    first[starts] = 1
    run = np.cumsum(first) - 1
    return kept[run], np.arange(len(run)) - starts[run]


def covered(triangles: Floats, width: int, height: int) -> NDArray[np.bool_]:
    """height x width: where any triangle lies. One too small to hold a pixel's centre gets the pixel it is in."""
    spans = row_spans(triangles, width, height)
    stride = width + 1
    size = stride * height
    change = np.bincount(spans.row * stride + spans.left, minlength=size)
    change -= np.bincount(spans.row * stride + spans.right + 1, minlength=size)
    mask = np.cumsum(change.reshape(height, stride), axis=1)[:, :width] > 0
    missed = np.ones(len(triangles), bool)
    missed[spans.triangle] = False
    column, row = np.floor(triangles[missed].mean(axis=1)).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    mask[row[inside], column[inside]] = True
    return mask


def tiles_of(triangles: Floats) -> list[tuple[int, int]]:
    """The unit squares that UV triangles (n x 3 x 2) reach into, as (column, row); touching is not reaching."""
    low = np.floor(triangles.min(axis=1)).astype(np.int64)
    high = np.maximum(low, np.ceil(triangles.max(axis=1)).astype(np.int64) - 1)
    found: set[tuple[int, int]] = set()
    for (x0, y0), (x1, y1) in {
        (tuple(a), tuple(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True)
    }:
        found |= {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)}
    return sorted(found)


def grown(
    mask: NDArray[np.bool_], margin: int, wrap_x: bool = False, wrap_y: bool = False
) -> NDArray[Any]:
    """All pixels within `margin` px of the mask, measured between centres; around the border on an axis that wraps."""
    if margin < 1 or not mask.any():
        return mask
    padding = ((margin, margin), (margin, margin))
    padded = np.pad(mask, (padding[0], (0, 0)), mode="wrap" if wrap_y else "constant")
    padded = np.pad(padded, ((0, 0), padding[1]), mode="wrap" if wrap_x else "constant")
    height, width = mask.shape
    sums = np.zeros((padded.shape[0], padded.shape[1] + 1), np.int32)
    np.cumsum(padded, axis=1, out=sums[:, 1:])
    result = np.zeros_like(mask)
    for dy in range(-margin, margin + 1):
        reach = int((margin * margin - dy * dy) ** 0.5)
        rows = sums[margin + dy : margin + dy + height]
        ends = rows[:, margin + reach + 1 : margin + reach + 1 + width]
        result |= ends > rows[:, margin - reach : margin - reach + width]
    return result
