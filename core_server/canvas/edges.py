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
    """Mean CIEDE2000 between neighbouring px: `across` the border of the patch, and in the surroundings."""

    across: float
    around: float

    @property
    def excess(self) -> float:
        """How much more the border is; 0 or less where there is nothing to see."""
        return self.across - self.around


def edge_of(picture: npt.NDArray[Any], weight: npt.NDArray[Any]) -> Edge:
    """picture: (height, width, 3) sRGB 0..1 with the patch in it. weight: (height, width), its composite mask, 0..1.

    The border lies where the weight passes a half; the surroundings are where it is 0. Both must exist.
    """
    steps = (
        delta_e_2000(picture[1:], picture[:-1]),
        delta_e_2000(picture[:, 1:], picture[:, :-1]),
    )
    inside, outside = weight >= 0.5, weight == 0
    across = (inside[1:] != inside[:-1], inside[:, 1:] != inside[:, :-1])
    around = (outside[1:] & outside[:-1], outside[:, 1:] & outside[:, :-1])
    border, own = (
        float(np.concatenate([step[pair] for step, pair in zip(steps, pairs, strict=True)]).mean())
        for pairs in (across, around)
    )
    return Edge(border, own)
