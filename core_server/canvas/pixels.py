"""An image in memory: an array that says what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from core_server.canvas.geometry import Extent

SAMPLE_DTYPES = ("uint8", "uint16", "float16", "float32")
"""The sample types on the wire, by numpy name: U8, U16, F16, F32."""


class ColorSpace(StrEnum):
    """What the numbers mean; the names of `scumble.v1.ColorSpace` in lower case."""

    SRGB = "srgb"
    LINEAR_REC709 = "linear_rec709"
    ICC = "icc"
    NON_COLOR = "non_color"


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Pixels with their meaning.

    array: shape (height, width, channels), channels 1, 3 or 4 (straight alpha), C-contiguous, row 0 on top;
    dtype uint8 (0..255), uint16 (0..65535), float16 or float32 (0..1, linear images may exceed 1).
    """

    array: npt.NDArray[Any]
    color_space: ColorSpace = ColorSpace.SRGB
    icc_profile: bytes = b""

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.shape[2] not in (1, 3, 4) or 0 in self.array.shape:
            raise ValueError(f"pixels need shape (height, width, 1|3|4), not {self.array.shape}")
        if self.array.dtype.name not in SAMPLE_DTYPES:
            raise ValueError(
                f"pixels need one of {', '.join(SAMPLE_DTYPES)}, not {self.array.dtype.name}"
            )

    @property
    def extent(self) -> Extent:
        """Size in pixels."""
        return Extent(int(self.array.shape[1]), int(self.array.shape[0]))

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return int(self.array.shape[2])

    @staticmethod
    def mask(array: npt.NDArray[Any]) -> Pixels:
        """A mask from an array of shape (height, width); full scale = repaint."""
        return Pixels(np.ascontiguousarray(array[..., None]), ColorSpace.NON_COLOR)
