"""A picture continued beyond its borders, in increments that a model can take.

A picture that fits the model when it is complete grows on all sides at once. A larger one grows side by side: left,
right, then top and bottom over the new width, so that what is painted at once stays small. Both in steps of at most
`depth` px a side, so that every step has a picture to go on from. Coordinates: document px, origin at the original's
top left corner, so that what is added on the left and at the top lies at negative x and y.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.plan import SeamlessAxes, wraps


class Sides(NamedTuple):
    """Px to add, 0 or more."""

    left: int
    right: int
    top: int
    bottom: int


class Increment(NamedTuple):
    """One step. picture: what there is afterwards; before: what there was; added: bounds of what is new, which is all
    of them outside `before`. seamless: axes along which `picture` tiles already, or will with this step."""

    picture: Bounds
    before: Bounds
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
    extent: Extent,
    sides: Sides,
    depth: int,
    seamless: SeamlessAxes = SeamlessAxes.NONE,
    *,
    fits: bool = False,
) -> tuple[Increment, ...]:
    """The steps from a picture of `extent` to `grown(extent, tiling_sides(sides, seamless))`.

    fits: whether that can be painted in one piece, so that it grows on all sides at once.
    """
    sides = tiling_sides(sides, seamless)
    whole = grown(extent, sides)
    picture = Bounds(0, 0, *extent)
    steps = []
    for more in _rings(sides, depth) if fits else _one_by_one(sides, depth):
        before, picture = picture, _extended(picture, more)
        added = _bounds_outside(before, picture)
        # A picture tiles along an axis once it is complete there.
        tiles = seamless.covered(picture.extent, whole.extent)
        steps.append(Increment(picture, before, added, tiles))
    return tuple(steps)


def _rings(sides: Sides, depth: int) -> list[Sides]:
    count = math.ceil(max(sides) / depth)
    return [Sides(*ring) for ring in zip(*(_portions(side, count) for side in sides), strict=True)]


def _one_by_one(sides: Sides, depth: int) -> list[Sides]:
    nothing = Sides(0, 0, 0, 0)
    return [
        nothing._replace(**{name: portion})
        for name, total in sides._asdict().items()
        for portion in _portions(total, math.ceil(total / depth))
    ]


def _portions(total: int, count: int) -> list[int]:
    """`total` in that many equal portions."""
    return [(index + 1) * total // count - index * total // count for index in range(count)]


def _extended(picture: Bounds, sides: Sides) -> Bounds:
    return Bounds(
        picture.x - sides.left,
        picture.y - sides.top,
        picture.width + sides.left + sides.right,
        picture.height + sides.top + sides.bottom,
    )


def _bounds_outside(before: Bounds, after: Bounds) -> Bounds:
    """Bounds of the part of `after` that is not in `before`: a strip where only one side grew."""
    x, y, right, bottom = after.x, after.y, after.right, after.bottom
    if before.y == y and before.bottom == bottom:
        if before.x == x:
            x = before.right
        elif before.right == right:
            right = before.x
    elif before.x == x and before.right == right:
        if before.y == y:
            y = before.bottom
        elif before.bottom == bottom:
            bottom = before.y
    return Bounds(x, y, right - x, bottom - y)
