"""From a picture's px to a model's and back. The pair loses nothing where only the rounding to multiples differs.

Arrays: shape (height, width) or (height, width, channels), float32, any colour space; row 0 on top. Pixel centres lie
at half-integers in every space, so scaling moves nothing.
"""

from __future__ import annotations

from enum import Enum

import cv2
import numpy as np
import numpy.typing as npt

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes, wraps

FloatArray = npt.NDArray[np.float32]


class Filter(Enum):
    """Resampling filters, by what they do best."""

    CUBIC = cv2.INTER_CUBIC
    LANCZOS = cv2.INTER_LANCZOS4
    AREA = cv2.INTER_AREA


def resize(
    image: FloatArray,
    extent: Extent,
    enlarge: Filter = Filter.CUBIC,
    seamless: SeamlessAxes = SeamlessAxes.NONE,
) -> FloatArray:
    """`image` in exactly `extent`. Shrinking averages areas (no aliasing); enlarging uses `enlarge`.

    seamless: axes along which the filter reads across the border, so that a tile stays one.
    """
    for axis, side in ((1, extent.width), (0, extent.height)):
        if image.shape[axis] != side:
            image = _resize_axis(image, axis, side, enlarge, wraps(seamless, axis))
    return image


def document_to_model(
    image: FloatArray,
    model: Extent,
    multiple: int,
    seamless: SeamlessAxes = SeamlessAxes.NONE,
) -> FloatArray:
    """The picture at the model's size: padded at right and bottom if only rounding differs, else resampled.

    image: 0..1, and so is the result. A filter's overshoot is cut: pipelines take a tensor with a value below 0 for one
    that is -1..1 already, and would be shown a grey, washed out picture.
    """
    extent = extent_of(image)
    if _pads(extent, model, multiple, seamless):
        right, bottom = model.width - extent.width, model.height - extent.height
        widths = ((0, bottom), (0, right)) + ((0, 0),) * (image.ndim - 2)
        return np.pad(image, widths, mode="edge")
    resampled = resize(image, model, seamless=seamless)
    return np.clip(resampled, 0, 1, out=resampled)


def model_to_document(
    image: FloatArray,
    extent: Extent,
    multiple: int,
    seamless: SeamlessAxes = SeamlessAxes.NONE,
) -> FloatArray:
    """The way back of `document_to_model`: exactly `extent`, cropped or resampled as that one padded or resampled."""
    if _pads(extent, extent_of(image), multiple, seamless):
        return np.ascontiguousarray(image[: extent.height, : extent.width])
    return resize(image, extent, Filter.LANCZOS, seamless)


def extent_of(image: npt.NDArray[np.generic]) -> Extent:
    """Size of an array of rows."""
    return Extent(int(image.shape[1]), int(image.shape[0]))


def _pads(extent: Extent, model: Extent, multiple: int, seamless: SeamlessAxes) -> bool:
    # Padding would put a strip between the two borders of a tile, so tiles are always resampled.
    differing = tuple(wraps(seamless, 1 - i) and extent[i] != model[i] for i in (0, 1))
    return not any(differing) and all(
        0 <= big - side < multiple for side, big in zip(extent, model, strict=True)
    )


def _resize_axis(
    image: FloatArray, axis: int, side: int, enlarge: Filter, wrap: bool
) -> FloatArray:
    old = image.shape[axis]
    method = Filter.AREA if side < old else enlarge
    if not wrap:
        return _cv_resize(image, axis, side, method)
    # Repeat the whole tile so that every margin scales to whole px, then keep the middle one.
    repeats = [(0, 0)] * image.ndim
    repeats[axis] = (old, old)
    wide = _cv_resize(np.pad(image, repeats, mode="wrap"), axis, 3 * side, method)
    keep = [slice(None)] * image.ndim
    keep[axis] = slice(side, 2 * side)
    return np.ascontiguousarray(wide[tuple(keep)])


def _cv_resize(image: FloatArray, axis: int, side: int, method: Filter) -> FloatArray:
    size = (side, image.shape[0]) if axis == 1 else (image.shape[1], side)
    result = cv2.resize(np.ascontiguousarray(image), size, interpolation=method.value)
    # OpenCV drops a last axis of one channel.
    return np.asarray(result, np.float32).reshape(size[1], size[0], *image.shape[2:])
