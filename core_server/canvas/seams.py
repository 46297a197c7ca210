"""How visible the border of a tile is: the one seam ratio of the whole program.

The border's step is compared with inner lines whose surroundings look like its own, not with the mean of all: a joint
of bricks on the border is no seam (the plain ratio of perfectly periodic renders is 1.4 on average, this one 1.00 to
1.04), and a seam in calm surroundings is one, however lively the rest (tiles cut out of larger ones have 3 to 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core_server.canvas.geometry import Bounds
from core_server.canvas.plan import CanvasPlan
from core_server.canvas.resample import wraps

REACH, LINES = 6, 4
"""Lines looked at on either side; so many most similar places are what the border is compared with."""
_FLOOR = 0.25
"""A step of a quarter of a grey level is none: plain areas have a ratio of 1."""
_AXES = (("x", 1), ("y", 0))


@dataclass(frozen=True, slots=True)
class Seam:
    """One axis of one tile, steps in grey levels of 255.

    ratio: the step across the border / that of the inner lines most like it, 1 for no seam. plain: the border's step /
    the mean inner step. worst: no inner line has as large a step, which chance does once in as many pictures as there
    are lines.
    """

    ratio: float
    plain: float
    worst: bool


def seams(picture: npt.NDArray[Any]) -> dict[str, Seam]:
    """Both axes of a tile (height, width, channels) of any sample type: "x" is where right meets left."""
    values = _grey_levels(picture)
    return {name: _seam(values, axis, 0, whole=True) for name, axis in _AXES}


def seam_ratios(picture: npt.NDArray[Any]) -> dict[str, float]:
    """`Seam.ratio` of both axes, as recipes tell it."""
    return {name: round(seam.ratio, 4) for name, seam in seams(picture).items()}


def border_ratios(context: npt.NDArray[Any], plan: CanvasPlan) -> dict[str, float]:
    """`Seam.ratio` of the document's borders that plan.context reaches across, "x" and "y" where there are such.

    context: the pixels of plan.context, (height, width, channels).
    """
    values = _grey_levels(context)
    bounds, found = plan.context, {}
    for name, axis in _AXES:
        start, length, side = _along(bounds, axis, plan)
        line = -start % side
        whole = length == side
        if wraps(plan.seamless, axis) and (whole or 0 < line < length):
            found[name] = round(_seam(values, axis, line, whole=whole).ratio, 4)
    return found


def _along(bounds: Bounds, axis: int, plan: CanvasPlan) -> tuple[int, int, int]:
    if axis == 1:
        return bounds.x, bounds.width, plan.document.width
    return bounds.y, bounds.height, plan.document.height


def _grey_levels(picture: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    full = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    return picture.astype(np.float32) * np.float32(255 / full)


def _seam(values: npt.NDArray[np.float32], axis: int, line: int, *, whole: bool) -> Seam:
    """The border lies between the px `line` - 1 and `line`; whole: the last px meets the first as well."""
    # Line k lies between px k - 1 and k.
    steps = np.abs(values - np.roll(values, 1, axis)).mean(axis=(1 - axis, 2))
    count = len(steps)
    near = np.r_[-REACH:0, 1 : REACH + 1]
    around = steps[(np.arange(count)[:, None] + near) % count]
    unlike = ((around - around[line]) ** 2).sum(1)
    inner = np.ones(count, np.bool_)
    inner[line] = False
    unlike[(line + np.r_[-REACH : REACH + 1]) % count] = np.inf  # these hold the border itself
    if not whole:
        inner[0] = False
        unlike[np.r_[-REACH : REACH + 1] % count] = np.inf
    others = steps[inner] if inner.any() else steps
    alike = np.argsort(unlike)[:LINES]
    alike = alike[np.isfinite(unlike[alike])]
    expected = steps[alike].mean() if len(alike) else others.mean()
    return Seam(
        float((steps[line] + _FLOOR) / (expected + _FLOOR)),
        float((steps[line] + _FLOOR) / (others.mean() + _FLOOR)),
        bool(steps[line] > others.max()),
    )
