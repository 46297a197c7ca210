"""How visible the border of a tile is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Seam:
    """One axis of one tile.

    ratio: mean step across the border / mean step between inner neighbours. worst: the border's
    step is larger than that of every inner line, which chance does once in `lines` pictures.
    """

    ratio: float
    worst: bool


def seams(picture: npt.NDArray[np.uint8]) -> dict[str, Seam]:
    """Both axes of a (H, W, 3) picture: "x" is the border between right and left."""
    found = {}
    for name, axis in (("x", 1), ("y", 0)):
        values = picture.astype(np.float32)
        inner = np.abs(np.diff(values, axis=axis)).mean(axis=(1 - axis, 2))
        border = np.abs(np.take(values, 0, axis) - np.take(values, -1, axis)).mean()
        ratio = float(border / max(float(inner.mean()), 1e-6))
        found[name] = Seam(ratio, bool(border > inner.max()))
    return found
