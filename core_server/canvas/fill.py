"""What lies under the mask before denoising starts. Pictures: (height, width, 3) float32 sRGB 0..1.

A start for the model, not a result: everything is worked out at no more than `_WORKING_SIDE` px a side, so that a large
context costs as much as a small one.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.geometry import Extent
from core_server.canvas.masks import selection_bounds
from core_server.canvas.membrane import pyramid
from core_server.canvas.plan import FillMode, SeamlessAxes, wraps
from core_server.canvas.resample import extent_of, resize

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

NEUTRAL = 0.5
"""Grey of the NEUTRAL fill, sRGB."""
_WORKING_SIDE, _STRUCTURE_SIDE = 1024, 192
"""Longest side that is worked at; of the structure-aware fill, whose cost grows faster than its area."""
_LEAST_KNOWN = 0.4
"""Share of the surroundings that must be known for pieces of them to be put together into the hole."""
_TELEA_RADIUS = 5
_RIM = 9
"""Side of the neighbourhoods, px, whose mean colours must meet at the rim of a structure-aware fill."""


def fill(
    image: FloatArray,
    mask: FloatArray,
    mode: FillMode,
    seamless: SeamlessAxes = SeamlessAxes.NONE,
) -> FloatArray:
    """A picture whose masked part is replaced; pixels where `mask` is 0 are bit-identical to `image`'s.

    mask: (height, width) 0..1; where it is between, old and new are mixed. mode: not AUTO. seamless: axes along which
    the picture tiles; there the surroundings go on at the other side. Without any unmasked pixel there are no
    surroundings and every mode but NONE gives neutral grey.
    """
    if mode is FillMode.AUTO:
        raise ValueError("the fill mode must be resolved before")
    hole = mask > 0
    if mode is FillMode.NONE or not hole.any():
        return image
    if mode is FillMode.NEUTRAL or bool(hole.all()):
        new = np.full_like(image, NEUTRAL)
    else:
        new = _unrolled(image, hole, mode, seamless)
    weight = mask[..., None]
    return np.asarray(np.where(weight == 0, image, image + (new - image) * weight), np.float32)


def _unrolled(
    image: FloatArray, hole: BoolArray, mode: FillMode, seamless: SeamlessAxes
) -> FloatArray:
    """The fill of a tile, worked out where the hole lies in the middle and has surroundings on all sides."""
    bounds = selection_bounds(hole, seamless)
    shifts, margins = [0, 0], [0, 0]
    across = min(bounds.extent) // 2
    spans = ((bounds.y, bounds.height), (bounds.x, bounds.width))
    for axis, ((start, length), side) in enumerate(zip(spans, hole.shape, strict=True)):
        if wraps(seamless, axis):
            shifts[axis] = side // 2 - (start + length // 2)
            # A hole that goes all around has no beginning: worked out a little further, its two ends are faded.
            margins[axis] = min(max(across, 16), side) if length == side else 0
    widths = [(margin, margin) for margin in margins]
    image = np.pad(np.roll(image, shifts, (0, 1)), [*widths, (0, 0)], mode="wrap")
    filled = _reduced(image, np.pad(np.roll(hole, shifts, (0, 1)), widths, mode="wrap"), mode)
    for axis, margin in enumerate(margins):
        if margin:
            filled = _closed(filled, axis, margin)
    return np.roll(filled, [-shift for shift in shifts], (0, 1))


def _closed(image: FloatArray, axis: int, margin: int) -> FloatArray:
    """A ring from a strip whose first and last `margin` lines are what lies beyond its two ends."""
    lines = np.moveaxis(image, axis, 0)
    inside, beyond = lines[margin:-margin].copy(), lines[-margin:]
    weight = ((np.arange(margin, dtype=np.float32) + 0.5) / margin)[:, None, None]
    inside[:margin] = inside[:margin] * weight + beyond * (1 - weight)
    return np.moveaxis(inside, 0, axis)


def _reduced(image: FloatArray, hole: BoolArray, mode: FillMode) -> FloatArray:
    """The fill worked out around the hole, at a bounded size. Only the hole's pixels mean something."""
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    top, bottom, left, right = (
        int(it) for it in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
    )
    margin = max(3 * (bottom - top) // 4, 3 * (right - left) // 4, 16)
    height, width = hole.shape
    around = (
        slice(max(top - margin, 0), min(bottom + margin, height)),
        slice(max(left - margin, 0), min(right + margin, width)),
    )
    colours, inside = image[around], hole[around]
    if inside.all():
        return np.full_like(image, NEUTRAL)
    whole = extent_of(inside)
    side = _STRUCTURE_SIDE if mode is FillMode.STRUCTURE else _WORKING_SIDE
    scale = min(1.0, side / max(whole))
    small = Extent(*(max(1, math.ceil(length * scale)) for length in whole))
    if small != whole:
        known = resize((~inside).astype(np.float32), small)
        colours = resize(colours * (~inside[..., None]).astype(np.float32), small)
        colours /= np.maximum(known, np.float32(1e-6))[..., None]
        inside = known < 0.5
        if inside.all():  # too little around it to be seen at this size
            inside = known < known.max()
    filled = _MODES[mode](np.ascontiguousarray(colours, np.float32), inside)
    result = np.zeros_like(image)
    result[around] = np.clip(resize(filled, whole), 0, 1)
    return result


def spread(image: FloatArray, hole: BoolArray) -> FloatArray:
    """The surroundings flowing inwards: blurs of known pixels alone, each hole taking the finest that reaches it."""
    levels = pyramid(image, ~hole)
    colours, shares = levels[-1]
    mean = colours.sum((0, 1)) / max(float(shares.sum()), 1e-6)
    filled = np.where(shares[..., None] > 0, colours / np.maximum(shares, 1e-6)[..., None], mean)
    for colours, shares in reversed(levels[:-1]):
        height, width = shares.shape
        coarse = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
        filled = coarse * (1 - shares[..., None]) + colours
    return np.asarray(filled, np.float32)


def _nearest(image: FloatArray, hole: BoolArray) -> FloatArray:
    """Each pixel of the hole takes the colour of the nearest pixel outside it."""
    if not hole.any():
        return image
    _, labels = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = ~hole
    colour_of = np.zeros((int(labels.max()) + 1, 3), np.float32)
    colour_of[labels[known]] = image[known]
    return np.asarray(colour_of[labels], np.float32)


def _structure(image: FloatArray, hole: BoolArray) -> FloatArray:
    """Pieces of the surroundings put together so that they fit (shift maps: He and Sun, "Statistics of Patch Offsets
    for Image Completion", 2012). Where there is too little to choose from, edges are continued (Telea 2004)."""
    samples = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    filled = cv2.inpaint(samples, hole.astype(np.uint8), _TELEA_RADIUS, cv2.INPAINT_TELEA)
    if (~hole).mean() >= _LEAST_KNOWN and min(hole.shape) >= 16:
        pieces = np.zeros_like(samples)
        lab = cv2.cvtColor(samples, cv2.COLOR_RGB2Lab)
        known = np.where(hole, 0, 255).astype(np.uint8)
        cv2.xphoto.inpaint(lab, known, pieces, cv2.xphoto.INPAINT_SHIFTMAP)
        # Pixels it found nothing for stay 0, which is no colour in 8-bit Lab.
        found = pieces.any(axis=2) & hole
        filled[found] = cv2.cvtColor(pieces, cv2.COLOR_Lab2RGB)[found]
    return _fitted(np.asarray(filled / np.float32(255), np.float32), hole)


def _fitted(image: FloatArray, hole: BoolArray) -> FloatArray:
    """The hole's colours shifted smoothly so that they meet those around it on average (as in Poisson blending)."""

    def mean(share: BoolArray) -> tuple[FloatArray, FloatArray]:
        weight = share.astype(np.float32)
        colours = cv2.blur(image * weight[..., None], (_RIM, _RIM))
        shares = cv2.blur(weight, (_RIM, _RIM))
        return np.asarray(colours / np.maximum(shares, 1e-6)[..., None], np.float32), shares

    (within, _), (around, shares) = mean(hole), mean(~hole)
    rim = hole & (shares > 0.25)
    if not rim.any():
        return image
    shift = spread(np.asarray(around - within, np.float32), ~rim)
    return np.asarray(np.where(hole[..., None], np.clip(image + shift, 0, 1), image), np.float32)


_MODES = {
    FillMode.BLUR: spread,
    FillMode.BORDER: _nearest,
    FillMode.STRUCTURE: _structure,
}
