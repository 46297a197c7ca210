"""How visible the edge of a patch is: the one measure of tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core_server.canvas.perceptual import delta_e_2000

MOST = 1.0
"""An edge this much above its surroundings' own steps is just visible: the unit of CIEDE2000."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Mean CIEDE2000 between neighbouring px: `across` the border of the patch, in the surroundings `around` it, and
    `within` what was painted, which in a texture has steps of its own."""

    across: float
    around: float
    within: float

    @property
    def excess(self) -> float:
        """How far the border is above the surroundings; 0 or less where there is nothing to see."""
        return self.across - self.around


def edge_of(picture: npt.NDArray[Any], weight: npt.NDArray[Any]) -> Edge:
    """picture: (height, width, 3) sRGB 0..1 with the patch in it. weight: (height, width), its composite mask, 0..1.

    The border lies where the weight passes a half; the surroundings are where it is 0, and what was painted is where it
    is 1. All three must exist.
    """
    steps = (
        delta_e_2000(picture[1:], picture[:-1]),
        delta_e_2000(picture[:, 1:], picture[:, :-1]),
    )

    def mean(pairs: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]) -> float:
        chosen = [step[pair] for step, pair in zip(steps, pairs, strict=True)]
        return float(np.concatenate(chosen).mean())

    def both(part: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        return part[1:] & part[:-1], part[:, 1:] & part[:, :-1]

    patch = weight >= 0.5
    border = (patch[1:] != patch[:-1], patch[:, 1:] != patch[:, :-1])
    return Edge(mean(border), mean(both(weight == 0)), mean(both(weight >= 1)))
