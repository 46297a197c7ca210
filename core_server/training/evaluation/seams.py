"""How visible the border of a tile is.

The plain ratio (mean step across the border / mean step between inner neighbours) misjudges patterns:
where a joint lies on the border, a perfect tile has a ratio of 2 and more (1.4 is the mean over our
own renders, which are periodic by construction). So the border is compared with those inner lines
whose surroundings look like its own: other joints, if it is a joint. Perfect tiles then have a mean
of 1.00 to 1.04, and tiles cut out of larger ones, with true seams, a median of 3 to 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

REACH, LINES = 6, 4
"""Lines looked at on either side; so many most similar places are what the border is compared with."""
_FLOOR = 0.25
"""A step of a quarter of a grey level is none: plain areas have a ratio of 1."""


@dataclass(frozen=True)
class Seam:
    """One axis of one tile, steps in grey levels of 255.

    ratio: the step across the border / that of the inner lines most like it, 1 for no seam. plain:
    the border's step / the mean inner step. worst: no inner line has as large a step, which chance
    does once in as many pictures as there are lines.
    """

    ratio: float
    plain: float
    worst: bool


def seams(picture: npt.NDArray[np.uint8]) -> dict[str, Seam]:
    """Both axes of a (H, W, 3) uint8 tile of at least 32 px: "x" is where right meets left."""
    return {"x": _seam(picture, 1), "y": _seam(picture, 0)}


def _seam(picture: npt.NDArray[np.uint8], axis: int) -> Seam:
    values = picture.astype(np.float32)
    # Line 0 is the border, line k lies between pixels k - 1 and k.
    steps = np.abs(values - np.roll(values, 1, axis)).mean(axis=(1 - axis, 2))
    near = np.r_[-REACH:0, 1 : REACH + 1]
    around = steps[(np.arange(len(steps))[:, None] + near) % len(steps)]
    unlike = ((around - around[0]) ** 2).sum(1)
    unlike[near] = unlike[0] = np.inf  # their surroundings hold the border itself
    expected = steps[np.argsort(unlike)[:LINES]].mean()
    return Seam(
        float((steps[0] + _FLOOR) / (expected + _FLOOR)),
        float((steps[0] + _FLOOR) / (steps[1:].mean() + _FLOOR)),
        bool(steps[0] > steps[1:].max()),
    )
