"""A picture continued beyond its borders, in increments that a model can take.

The picture grows side by side: left, right, then top and bottom over the new width, each in steps of at most `depth`
px, so that every step sees a picture on one whole side of what it paints. Coordinates: document px, origin at the
original's top left corner, so that what is added on the left and at the top lies at negative x and y.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.resample import wraps


class Sides(NamedTuple):
    """Px to add, 0 or more."""

    left: int
    right: int
    top: int
    bottom: int


class Increment(NamedTuple):
    """One step. picture: what there is afterwards; added: the part of it that is new, along one whole side. seamless:
    axes along which `picture` tiles already, or will with this step."""

    picture: Bounds
    added: Bounds
    seamless: SeamlessAxes


def grown(extent: Extent, sides: Sides) -> Bounds:
    """The picture afterwards, relative to the original."""
    return Bounds(
        -sides.left,
        -sides.top,
        extent.width + sides.left + sides.right,
        extent.height + sides.top + sides.bottom,
    )


def tiling_sides(sides: Sides, seamless: SeamlessAxes) -> Sides:
    """The same sides where a tile grows: along an axis that wraps, left and right are one gap, and so are top and
    bottom. It is filled from the right and from below; who calls moves the tile by `left` and `top` afterwards."""
    left, right, top, bottom = sides
    if wraps(seamless, 1):
        left, right = 0, left + right
    if wraps(seamless, 0):
        top, bottom = 0, top + bottom
    return Sides(left, right, top, bottom)


def increments(
    extent: Extent, sides: Sides, depth: int, seamless: SeamlessAxes = SeamlessAxes.NONE
) -> tuple[Increment, ...]:
    """The steps from a picture of `extent` to `grown(extent, tiling_sides(sides, seamless))`."""
    sides = tiling_sides(sides, seamless)
    whole = grown(extent, sides)
    picture = Bounds(0, 0, *extent)
    steps = []
    for side, total in zip(Sides._fields, sides, strict=True):
        for thickness in _portions(total, depth):
            picture, added = _extended(picture, side, thickness)
            steps.append(Increment(picture, added, _tiles(picture, whole, seamless)))
    return tuple(steps)


def _portions(total: int, depth: int) -> list[int]:
    """`total` in equal portions of at most `depth`."""
    count = math.ceil(total / depth)
    return [(index + 1) * total // count - index * total // count for index in range(count)]


def _extended(picture: Bounds, side: str, by: int) -> tuple[Bounds, Bounds]:
    x, y, width, height = picture
    match side:
        case "left":
            return Bounds(x - by, y, width + by, height), Bounds(x - by, y, by, height)
        case "right":
            return Bounds(x, y, width + by, height), Bounds(x + width, y, by, height)
        case "top":
            return Bounds(x, y - by, width, height + by), Bounds(x, y - by, width, by)
        case _:
            return Bounds(x, y, width, height + by), Bounds(x, y + height, width, by)


def _tiles(picture: Bounds, whole: Bounds, seamless: SeamlessAxes) -> SeamlessAxes:
    """A picture tiles along an axis once it is complete there."""
    x = wraps(seamless, 1) and picture.width == whole.width
    y = wraps(seamless, 0) and picture.height == whole.height
    return (SeamlessAxes.NONE, SeamlessAxes.X, SeamlessAxes.Y, SeamlessAxes.XY)[x + 2 * y]
