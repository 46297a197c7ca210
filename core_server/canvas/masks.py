"""Masks: from the artist's soft selection to what is denoised and what is pasted. float32, 0..1, (height, width).

A wide soft selection is a soft change, not a mix of two pictures: the denoise mask keeps its values, the model changes
each pixel as much as they say (`pipelines.differential`), and the patch is opaque wherever it differs visibly.
Soft edges are ramps over the true distance from the selection, not blurs: a ramp ends, so beyond it a mask is exactly
0, and it begins outside, so inside the selection a mask is exactly 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.geometry import Bounds
from core_server.canvas.plan import CanvasPlan, SeamlessAxes, wraps
from core_server.canvas.resample import extent_of
from core_server.errors import InvalidRequest

FloatArray = npt.NDArray[np.float32]

CORE = 0.99
"""Share of the strongest selection from which on a pixel is selected wholly; the ramps begin there."""
OPAQUE_FROM = 0.25
"""Share from which on the patch is pasted wholly. Below, so little was changed that mixing shows no double contours."""


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Two masks of one selection, over the context. denoise: where the model paints; composite: what is pasted."""

    denoise: FloatArray
    composite: FloatArray


def make_masks(selection: FloatArray, plan: CanvasPlan) -> Masks:
    """Both over `plan.context`. selection: the artist's soft one, (height, width) float32 0..1 of the same size."""
    if plan.exact_selection:
        # Whatever shows even a little of the patch has to be painted wholly.
        return Masks((selection > 0).astype(np.float32), selection)
    share = selection / np.float32(max(float(selection.max()), 1e-6))
    distance = _distance_outside(share >= CORE, plan)
    start = max(plan.grow - plan.feather / 2, 0)
    denoise = _ramp(distance, start, start + plan.feather)
    start = max(plan.grow - plan.blend, 0)
    composite = _ramp(distance, start, start + plan.blend)
    # A selection's own soft edge may reach further than the ramps; what the artist selected is kept.
    t = np.minimum(share / np.float32(OPAQUE_FROM), 1)
    opaque = np.asarray(t * t * (3 - 2 * t), np.float32)
    return Masks(np.maximum(np.maximum(denoise, composite), share), np.maximum(composite, opaque))


def selection_bounds(
    selection: npt.NDArray[Any], seamless: SeamlessAxes = SeamlessAxes.NONE
) -> Bounds:
    """Bounds of all pixels above 0. selection: (height, width) of any sample type.

    On a seamless axis the shorter way around counts, which may end beyond the border.
    Errors: InvalidRequest for an empty selection.
    """
    # Largest values, not comparisons: no copy of the document, and columns only of the rows that hold something.
    largest = np.logical_or if selection.dtype.kind == "b" else np.fmax
    rows = np.asarray(largest.reduce(selection, axis=1)) > 0
    if not rows.any():
        raise InvalidRequest(
            "inpaint.selection", "The selection is empty; select at least one pixel and try again."
        )
    y, height = _run(rows, wraps(seamless, 0))
    held = np.flatnonzero(rows)
    columns = np.asarray(largest.reduce(selection[held[0] : held[-1] + 1], axis=0)) > 0
    x, width = _run(columns, wraps(seamless, 1))
    return Bounds(x, y, width, height)


def read_wrapped(array: npt.NDArray[np.generic], bounds: Bounds) -> npt.NDArray[np.generic]:
    """The rectangle `bounds` of a document's array, (height, width) or (height, width, channels); reads on at
    the other side where it lies beyond a border."""
    extent = extent_of(array)
    if Bounds(0, 0, *extent).contains(bounds):
        return np.ascontiguousarray(array[bounds.slices])
    rows = np.arange(bounds.y, bounds.bottom) % extent.height
    columns = np.arange(bounds.x, bounds.right) % extent.width
    return np.ascontiguousarray(array[rows[:, None], columns])


def write_wrapped(
    array: npt.NDArray[np.generic], bounds: Bounds, piece: npt.NDArray[np.generic]
) -> None:
    """The way back of `read_wrapped`: lays `piece` into `array`."""
    extent = extent_of(array)
    if Bounds(0, 0, *extent).contains(bounds):
        array[bounds.slices] = piece
        return
    rows = np.arange(bounds.y, bounds.bottom) % extent.height
    columns = np.arange(bounds.x, bounds.right) % extent.width
    array[rows[:, None], columns] = piece


def _run(occupied: npt.NDArray[np.bool_], wraps_around: bool) -> tuple[int, int]:
    """Start and length of the shortest run that holds all occupied places."""
    places = np.flatnonzero(occupied)
    first, last, side = int(places[0]), int(places[-1]), len(occupied)
    if not wraps_around or len(places) == 1:
        return first, last - first + 1
    gaps = np.diff(np.append(places, first + side))
    widest = int(gaps.argmax())
    start = int(places[(widest + 1) % len(places)])
    return start, side - int(gaps[widest]) + 1


def _distance_outside(inside: npt.NDArray[np.bool_], plan: CanvasPlan) -> FloatArray:
    """Distance in px from each pixel to the nearest one inside; 0 there."""
    axes = plan.wrapped_axes(plan.context)
    reach = plan.grow + plan.feather + plan.blend + 1
    margin = [
        min(reach, side) if wraps(axes, axis) else 0 for axis, side in enumerate(inside.shape)
    ]
    padded = np.pad(inside, [(size, size) for size in margin], mode="wrap")
    distance = cv2.distanceTransform((~padded).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's root differs in its last bit with the array's place in memory; squared distances are whole numbers.
    distance = np.sqrt(np.rint(np.square(distance, dtype=np.float64)))
    height, width = inside.shape
    rows, columns = margin
    return np.asarray(distance[rows : rows + height, columns : columns + width], np.float32)


def _ramp(distance: FloatArray, start: float, end: float) -> FloatArray:
    """1 up to `start`, 0 from `end` on, smooth in between (3t^2 - 2t^3); a step for equal ends."""
    if end <= start:
        return (distance <= start).astype(np.float32)
    t = np.clip((np.float32(end) - distance) / np.float32(end - start), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
