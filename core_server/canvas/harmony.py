"""An edge that nobody sees: near it a patch takes on the mean colours of its surroundings, and keeps its texture.

A model that fills a hole from noise paints its own brightness, and a gradient around the hole is cut off. Multi-band
blending (Burt and Adelson, "A multiresolution spline with application to image mosaics", 1983) mixes what is coarse
over a wide zone and what is fine over a narrow one; here the composite mask is the narrow one, and the coarse
difference between the surroundings, continued inwards, and the patch is taken back over a zone of its own.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.geometry import Extent
from core_server.canvas.membrane import margins_of, membrane, rim_of
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.resample import resize

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

MOST = 0.45
"""Largest correction, sRGB 0..1: a patch in wholly other colours is meant to be."""
TEXTURE = 2.0
"""So many times the patch's local standard deviation less: shifted, a texture of two colours gets two it never had."""
_COARSE = 8.0
"""Standard deviation in px of the Gaussian that tells coarse from fine."""
_WORKING_SIDE = 320
_LEVELS = 16


def harmonise(
    painted: FloatArray,
    reference: FloatArray,
    mask: FloatArray,
    *,
    reach: int,
    strength: float = 1.0,
    seamless: SeamlessAxes = SeamlessAxes.NONE,
) -> FloatArray:
    """painted, reference: (height, width, 3) float32 sRGB 0..1, the model's picture and what it was shown.

    mask: (height, width) 0..1, where it painted; where it is 0 nothing changes. reach: px from there over which the
    patch comes into its own. strength: 0 (off) to 1. seamless: axes along which the pictures tile. Without surroundings
    or without a px painted wholly, or where the model changed nothing, the result is `painted`.
    """
    known, inside = mask <= 0, mask >= 1
    if strength <= 0 or not known.any() or not inside.any() or np.array_equal(painted, reference):
        return painted
    height, width = mask.shape
    scale = max(1, round(max(height, width) / _WORKING_SIDE))
    small = Extent(max(1, width // scale), max(1, height // scale))
    margins = margins_of((small.height, small.width), 3 * reach // scale + 1, seamless)

    def reduced(array: FloatArray) -> FloatArray:
        array = resize(array, small, seamless=seamless)
        return np.pad(array, (*margins, (0, 0))[: array.ndim], mode="wrap")

    shift = _shift(
        reduced(painted), reduced(reference), reduced(mask), reach / scale, _COARSE / scale
    )
    rows, columns = (
        slice(before, before + side)
        for (before, _), side in zip(margins, (small.height, small.width), strict=True)
    )
    full = Extent(width, height)
    shift = resize(np.ascontiguousarray(shift[rows, columns]), full, seamless=seamless)
    changed = np.clip(painted + np.float32(strength) * shift, 0, 1)
    return np.asarray(np.where(known[..., None], painted, changed), np.float32)


def _shift(
    painted: FloatArray, reference: FloatArray, mask: FloatArray, reach: float, coarse: float
) -> FloatArray:
    known, inside = mask < 1e-3, mask > 1 - 1e-3
    if not known.any() or not inside.any():
        return np.zeros_like(painted)
    around, _ = _continued(reference, known, coarse)
    within, deviation = _continued(painted, inside, coarse)
    gap = around - within
    most = np.maximum(MOST - TEXTURE * deviation, 0)
    length = np.linalg.norm(gap, axis=2, keepdims=True)
    bounded = gap * np.minimum(1, most / np.maximum(length, np.float32(1e-6)))
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    t = np.clip(distance / np.float32(max(reach, 1)), 0, 1)
    own = _newness(painted, around, within, mask, coarse) - t * t * (3 - 2 * t)
    return np.asarray(bounded * np.maximum(own, 0)[..., None], np.float32)


def _continued(image: FloatArray, known: BoolArray, coarse: float) -> tuple[FloatArray, FloatArray]:
    """The coarse part of what is known, continued smoothly; and the deviation of the fine part from it."""
    weight = known.astype(np.float32)
    shares = np.maximum(_blurred(weight, coarse), np.float32(1e-4))[..., None]
    mean = _blurred(image * weight[..., None], coarse) / shares
    fine = np.asarray((image - mean) ** 2 * weight[..., None], np.float32)
    square = _blurred(fine, coarse) / shares
    deviation = np.sqrt(square.sum(axis=2, keepdims=True))
    both = np.concatenate([mean, deviation], axis=2)
    field = membrane(both, rim_of(~known))
    field = np.where(known[..., None], both, field)
    return np.asarray(field[..., :3], np.float32), np.asarray(field[..., 3:], np.float32)


def _newness(
    painted: FloatArray, around: FloatArray, within: FloatArray, mask: FloatArray, coarse: float
) -> FloatArray:
    """(height, width) 0..1: how far a px has gone from the surroundings to the patch. How soon a soft mask lets go is
    the model's and the number of steps'; it is measured, one value a level of the mask."""
    way = within - around
    gone = ((_blurred(painted, coarse / 4) - around) * way).sum(axis=2)
    levels = np.minimum((mask * _LEVELS).astype(np.int64), _LEVELS).ravel()
    part = np.bincount(levels, gone.ravel(), _LEVELS + 1)
    whole = np.bincount(levels, (way * way).sum(axis=2).ravel(), _LEVELS + 1)
    share = np.clip(part / np.maximum(whole, 1e-6), 0, 1)
    share[_LEVELS] = 1
    new = np.where(mask < 1e-3, 0, share[levels].reshape(mask.shape))
    return _blurred(np.asarray(new, np.float32), coarse / 3)


def _blurred(image: FloatArray, sigma: float) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.3)), np.float32)
