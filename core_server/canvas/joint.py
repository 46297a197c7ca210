"""The joint between a picture and what a model painted beside it, feathered on the new side alone.

A model does not give the picture's border back exactly: its colours and its grain are a little off there. What every px
along the border is off by is taken back in the new part beside it, less with every px away: differences between
neighbouring px, the grain, fade over a few px, those over long stretches, the colour, over the feather. So the step
across the joint is the one that the model painted. The picture itself is not touched.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.membrane import margins_of, membrane, rim_of
from core_server.canvas.plan import SeamlessAxes

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

FEATHER = 64
"""Width of the feathered part, px."""
GRAIN = 8
"""Px over which differences between neighbouring px fade."""


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
    margins = margins_of(new.shape, feather + 1, seamless)
    wide_new = np.pad(new, margins, mode="wrap")
    difference = np.pad(picture - painted, (*margins, (0, 0)), mode="wrap")
    shift = _shift(difference, wide_new, feather)
    rows, columns = (
        slice(before, before + side) for (before, _), side in zip(margins, new.shape, strict=True)
    )
    joined = np.clip(painted + shift[rows, columns], 0, 1)
    return np.asarray(np.where(new[..., None], joined, picture), np.float32)


def _shift(difference: FloatArray, new: BoolArray, feather: int) -> FloatArray:
    rim = rim_of(new)
    field = membrane(difference, rim)
    distance, labels = cv2.distanceTransformWithLabels(
        (~rim).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((int(labels.max()) + 1, 3), np.float32)
    nearest[labels[rim]] = difference[rim]
    # A membrane loses half of the grain with the first px, which would show as a line.
    grain = _fade(distance, GRAIN)
    field += (nearest[labels] - field) * grain
    return np.asarray(field * _fade(distance, feather), np.float32)


def _fade(distance: FloatArray, length: int) -> FloatArray:
    """1 at the first px of the new part, 0 from `length` px on; (height, width, 1)."""
    t = np.clip(1 - (distance - 1) / np.float32(length), 0, 1)
    return np.asarray((t * t * (3 - 2 * t))[..., None], np.float32)
