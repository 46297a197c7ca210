"""How visible the border of a tile is: the one seam ratio of the whole program.

Lines of a picture lie between neighbouring columns (x) or rows (y); the step of a line is the mean absolute difference
across it. The border's step is compared with those of the inner lines whose surroundings look most like its own, in
logarithms: a joint of bricks on the border is no seam, and a seam in calm surroundings is one, however lively the rest.

Every inner line has such a ratio too. Where a picture really repeats the border is a line like the others, so that its
ratio is 1 on average, wherever the tile begins (geometric mean over all lines of 108 tiles: 1.00); a single line is off
by a tenth to a quarter, as textures are. So beside the border's ratio stands what the picture's own inner lines reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core_server.canvas.geometry import Bounds
from core_server.canvas.plan import CanvasPlan, SeamlessAxes, wraps

REACH, LINES = 6, 4
"""Lines looked at on either side; so many most similar places are what a line is compared with."""
INSIDE = 0.95
"""Share of the inner lines whose ratio `Seam.inside` is not below."""
MARGIN = 1.05
"""A border whose ratio is more than this many times `Seam.inside` shows."""
_FLOOR = 0.25
"""A step of a quarter of a grey level is none: plain areas have a ratio of 1."""
_AT_ONCE = 256
"""Lines compared with all others at once, which bounds the memory."""
_AXES = (("x", 1), ("y", 0))
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Seam:
    """One axis of one tile.

    ratio: the step across the border / that of the inner lines most like it, 1 for no seam. inside: what one in twenty
    of the inner lines reaches by the same measure. plain: the border's step / the mean inner step.
    """

    ratio: float
    inside: float
    plain: float

    @property
    def shows(self) -> bool:
        """Whether the border stands out from what this very picture has inside."""
        return self.ratio > MARGIN * self.inside


def seams(picture: npt.NDArray[Any], seamless: SeamlessAxes = SeamlessAxes.XY) -> dict[str, Seam]:
    """The seamless axes of a tile (height, width, channels) of any sample type: "x" is where right meets left."""
    if seamless is SeamlessAxes.NONE:
        return {}
    values = _grey_levels(picture)
    return {
        name: _seam(values, axis, 0, whole=True) for name, axis in _AXES if wraps(seamless, axis)
    }


def border_seams(context: npt.NDArray[Any], plan: CanvasPlan) -> dict[str, Seam]:
    """The document's borders that plan.context reaches across, "x" and "y" where there are such.

    context: the pixels of plan.context, (height, width, channels).
    """
    values = _grey_levels(context)
    bounds, found = plan.context, {}
    for name, axis in _AXES:
        start, length, side = _along(bounds, axis, plan)
        line = -start % side
        whole = length == side
        if wraps(plan.seamless, axis) and (whole or 0 < line < length):
            found[name] = _seam(values, axis, line, whole=whole)
    return found


def as_recipe(found: dict[str, Seam]) -> dict[str, dict[str, float]]:
    """As recipes tell it: seam_ratio and seam_ratio_inside by axis; empty for no seams."""
    if not found:
        return {}
    return {
        "seam_ratio": {name: round(seam.ratio, 4) for name, seam in found.items()},
        "seam_ratio_inside": {name: round(seam.inside, 4) for name, seam in found.items()},
    }


def mean_ratio(found: Iterable[Seam]) -> float:
    """Geometric mean: twice the step and half the step are no seam on average."""
    return float(np.exp(np.mean([np.log(seam.ratio) for seam in found])))


def _along(bounds: Bounds, axis: int, plan: CanvasPlan) -> tuple[int, int, int]:
    if axis == 1:
        return bounds.x, bounds.width, plan.document.width
    return bounds.y, bounds.height, plan.document.height


def _grey_levels(picture: npt.NDArray[Any]) -> FloatArray:
    full = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    return picture.astype(np.float32) * np.float32(255 / full)


def _seam(values: FloatArray, axis: int, line: int, *, whole: bool) -> Seam:
    """The border lies between the px `line` - 1 and `line`; whole: the last px meets the first as well."""
    steps = _steps(values, axis)
    count = len(steps)
    compared = np.ones(count, np.bool_)  # lines that may serve as inner ones
    compared[(line + np.r_[-REACH : REACH + 1]) % count] = False  # these see the border itself
    if not whole:
        compared[np.r_[-REACH : REACH + 1] % count] = False
    others = np.flatnonzero(compared)
    inner = np.delete(steps, [line] if whole else [0, line])
    plain = float(steps[line] / inner.mean()) if len(inner) else 1.0
    if len(others) <= 2 * REACH + 1:  # too few lines for any to be alike
        most = float(inner.max() / inner.mean()) if len(inner) else 1.0
        return Seam(plain, max(most, 1.0), plain)
    excess = _excess(np.log(steps), np.append(others, line), others)
    return Seam(
        ratio=float(np.exp(excess[-1])),
        inside=float(np.exp(np.quantile(excess[:-1], INSIDE))),
        plain=plain,
    )


def _steps(values: FloatArray, axis: int) -> FloatArray:
    """Of all lines; line k lies between px k - 1 and k, so that line 0 is where the last px meets the first."""
    across = np.moveaxis(values, axis, 0)
    steps = np.empty(len(across), np.float32)
    steps[0] = np.abs(across[0] - across[-1]).mean()
    difference = across[1:] - across[:-1]
    steps[1:] = np.abs(difference, out=difference).mean(axis=(1, 2))
    return steps + np.float32(_FLOOR)


def _excess(
    steps: npt.NDArray[np.floating[Any]],
    lines: npt.NDArray[np.intp],
    others: npt.NDArray[np.intp],
) -> FloatArray:
    """By how much the step of each of `lines` is above that of the `others` most like it; steps: logarithms."""
    count = len(steps)
    near = np.r_[-REACH:0, 1 : REACH + 1]
    around = steps[(np.arange(count)[:, None] + near) % count] / np.sqrt(np.sqrt(np.abs(near)))
    square = (around**2).sum(1)
    found = np.empty(len(lines), np.float32)
    for start in range(0, len(lines), _AT_ONCE):
        some = lines[start : start + _AT_ONCE]
        unlike = square[some, None] + square[others] - 2 * around[some] @ around[others].T
        apart = np.abs((some[:, None] - others + count // 2) % count - count // 2)
        unlike[apart <= REACH] = (
            np.inf
        )  # a line is not compared with what it was itself looked at with
        alike = others[np.argpartition(unlike, LINES - 1, axis=1)[:, :LINES]]
        found[start : start + _AT_ONCE] = steps[some] - steps[alike].mean(1)
    return found
