"""The joint between a picture and what a model painted beside it, feathered on the new side alone.

A model does not give the picture's border back exactly: its colours are a little off there, and so are those that
continue them. What they are off by at the border is taken back in the new part, less with every px away from it. The
picture itself is not touched.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.fill import spread
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.resample import wraps

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

FEATHER = 64
"""Width of the feathered part, px."""
_RIM = 6
"""Width of the border that tells what the colours are off by, px."""
_MEAN = 9
"""Side of the neighbourhoods, px, over which that is averaged, so that grain is not smeared into the new part."""


def feather_joint(
    painted: FloatArray,
    picture: FloatArray,
    new: BoolArray,
    seamless: SeamlessAxes = SeamlessAxes.NONE,
    feather: int = FEATHER,
) -> FloatArray:
    """`picture` where it is not `new`, bit for bit, and `painted` there, brought to the picture's colours at the joint.

    painted, picture: (height, width, 3) float32 sRGB 0..1; new: (height, width). seamless: axes along which they tile.
    """
    if not new.any() or new.all():
        return np.where(new[..., None], painted, picture)
    reach = feather + _MEAN
    margins = [
        (min(reach, side),) * 2 if wraps(seamless, axis) else (0, 0)
        for axis, side in enumerate(new.shape)
    ]
    wide_new = np.pad(new, margins, mode="wrap")
    difference = np.pad(picture - painted, (*margins, (0, 0)), mode="wrap")
    shift = _shift(difference, wide_new, feather)
    rows, columns = (
        slice(before, before + side) for (before, _), side in zip(margins, new.shape, strict=True)
    )
    joined = np.clip(painted + shift[rows, columns], 0, 1)
    return np.asarray(np.where(new[..., None], joined, picture), np.float32)


def _shift(difference: FloatArray, new: BoolArray, feather: int) -> FloatArray:
    known = ~new
    weight = known.astype(np.float32)
    shares = cv2.blur(weight, (_MEAN, _MEAN))
    mean = cv2.blur(difference * weight[..., None], (_MEAN, _MEAN))
    mean /= np.maximum(shares, np.float32(1e-6))[..., None]
    distance_to_new = cv2.distanceTransform(weight.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    rim = known & (distance_to_new <= _RIM)
    distance = cv2.distanceTransform(new.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    t = np.clip(1 - (distance - 1) / np.float32(feather), 0, 1)
    fade = t * t * (3 - 2 * t)
    return np.asarray(spread(np.asarray(mean, np.float32), ~rim) * fade[..., None], np.float32)
