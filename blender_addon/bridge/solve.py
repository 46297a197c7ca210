"""The texture that, seen from the view, is the picture that was painted: resampling a picture into a texture blurs it
and is off at edges, so what is left of the difference is solved for.

Conjugate gradients on the normal equations (CGLS; Hestenes and Stiefel 1952), from where resampling came to. Where the
view is too coarse to tell, the least change is made.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bake import Samples
from .raster import Floats

_ROUNDS = 60
_WHOLE = 0.999  # share of free texels from which a px counts
_ENOUGH = 0.02 / 255  # root of the mean square that is left


def fit(
    samples: Samples,
    wanted: Floats,
    texels: NDArray[np.float32],
    free: NDArray[np.bool_],
    rounding: float,
) -> None:
    """Changes the texels (count x channels) that are `free`, in place, until the view shows `wanted` (height x width x
    channels) as well as it can. rounding: by how much `wanted` may be off, which is not worth a change."""
    unknown = np.full(len(free), -1, np.int64)
    touched = np.zeros(len(free), bool)
    touched[samples.taps] = True
    numbers = np.flatnonzero(free & touched)
    unknown[numbers] = np.arange(len(numbers))
    taps = unknown[samples.taps]
    px, row = np.unique(samples.px, return_inverse=True)
    _, shown = samples.shown(texels)
    left = wanted.reshape(-1, wanted.shape[-1])[px] - shown
    left = np.sign(left) * np.maximum(np.abs(left) - rounding, 0)
    shares = np.where(taps >= 0, samples.shares, 0).astype(np.float64)
    # A px that shows something of other texels as well cannot tell.
    whole = np.bincount(row, shares.sum(axis=1), len(px)) > _WHOLE
    rows = whole[row]
    taps, shares, row = np.maximum(taps[rows], 0), shares[rows], row[rows]
    left[~whole] = 0
    for channel in range(left.shape[1]):
        texels[numbers, channel] += _cgls(taps, shares, row, left[:, channel], len(numbers))


def _cgls(
    taps: NDArray[np.int64],
    shares: Floats,
    row: NDArray[np.int64],
    left: Floats,
    count: int,
) -> Floats:
    flat, flat_shares = taps.ravel(), shares.ravel()
    repeated = np.ascontiguousarray(np.broadcast_to(row[:, None], taps.shape)).ravel()

    def forward(values: Floats) -> Floats:
        return np.bincount(repeated, values[flat] * flat_shares, len(left)).astype(
            np.float64, copy=False
        )

    def backward(values: Floats) -> Floats:
        return np.bincount(flat, values[repeated] * flat_shares, count).astype(
            np.float64, copy=False
        )

    found = np.zeros(count)
    rest = left
    slope = backward(rest)
    direction, square = slope, float(slope @ slope)
    known = max(1, len(np.unique(row)))
    for _ in range(_ROUNDS):
        if float(rest @ rest) / known <= _ENOUGH**2 or square == 0:
            break
        step_rest = forward(direction)
        step = square / max(float(step_rest @ step_rest), 1e-30)
        found += step * direction
        rest = rest - step * step_rest
        slope = backward(rest)
        before, square = square, float(slope @ slope)
        direction = slope + square / before * direction
    return found
