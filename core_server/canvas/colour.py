"""Between a document's numbers and what a model sees: sRGB, float32, three channels, 0..1.

Every picture comes back in the sample type, channel count and colour space it came in; alpha never passes through
the model and is returned as it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core_server.canvas.icc import icc_to_srgb, srgb_to_icc
from core_server.canvas.pixels import ColorSpace, Pixels

FloatArray = npt.NDArray[np.float32]

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Rec.709 luminance of linear red, green and blue."""


def srgb_to_linear(srgb: npt.ArrayLike) -> FloatArray:
    """IEC 61966-2-1 decoding; float32, any shape; values are not clipped."""
    x = np.asarray(srgb, np.float32)
    high = np.power((np.maximum(x, 0.04045) + np.float32(0.055)) / np.float32(1.055), 2.4)
    return np.where(x <= 0.04045, x / np.float32(12.92), high).astype(np.float32)


def linear_to_srgb(linear: npt.ArrayLike) -> FloatArray:
    """IEC 61966-2-1 encoding; float32, any shape; values are not clipped."""
    x = np.asarray(linear, np.float32)
    high = np.float32(1.055) * np.power(np.maximum(x, 0.0031308), 1 / 2.4) - np.float32(0.055)
    return np.where(x <= 0.0031308, x * np.float32(12.92), high).astype(np.float32)


def to_unit(array: npt.NDArray[Any]) -> FloatArray:
    """Samples of any wire type as float32: full scale of the integer types becomes 1."""
    if array.dtype.kind == "u":
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    return array.astype(np.float32)


def from_unit(values: FloatArray, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The way back of `to_unit`: rounded and clipped for integer types, as it is for floats."""
    if dtype == np.uint8:
        return to_uint8(np.clip(values, 0, 1))
    if dtype.kind == "u":
        # float64: float32 cannot round all of uint16's halves correctly
        return (
            (np.clip(values.astype(np.float64), 0, 1) * np.iinfo(dtype).max).round().astype(dtype)
        )
    return values.astype(dtype)


def to_uint8(image: FloatArray) -> npt.NDArray[np.uint8]:
    """float32 0..1 to uint8, in float32 as diffusers itself rounds: another precision gives other last bits."""
    return (image * 255).round().astype(np.uint8)


def to_model_rgb(pixels: Pixels) -> FloatArray:
    """(height, width, 3) float32 sRGB 0..1. Values outside 0..1 are clipped: no model has seen them."""
    values = to_unit(pixels.array)
    colour = values[..., :3] if pixels.channels == 4 else values
    match pixels.color_space:
        case ColorSpace.LINEAR_REC709:
            colour = linear_to_srgb(colour)
        case ColorSpace.ICC:
            colour = icc_to_srgb(colour, pixels.icc_profile)
        case _:  # sRGB as it is; data is shown to the model unconverted
            pass
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    return np.ascontiguousarray(np.clip(colour, 0, 1), np.float32)


def from_model_rgb(image: FloatArray, like: Pixels) -> Pixels:
    """A model's picture in the sample type, channels and colour space of `like`, with its alpha; sizes must agree."""
    colour = image
    if like.channels == 1 and like.color_space is not ColorSpace.NON_COLOR:
        colour = linear_to_srgb(srgb_to_linear(colour) @ _LUMA)[..., None]
    elif like.channels == 1:
        colour = colour.mean(axis=2, keepdims=True)
    match like.color_space:
        case ColorSpace.LINEAR_REC709:
            colour = srgb_to_linear(colour)
        case ColorSpace.ICC:
            colour = srgb_to_icc(colour, like.icc_profile)
        case _:
            pass
    array = from_unit(np.asarray(colour, np.float32), like.array.dtype)
    if like.channels == 4:
        array = np.concatenate([array, like.array[..., 3:]], axis=2)
    return Pixels(np.ascontiguousarray(array), like.color_space, like.icc_profile)
