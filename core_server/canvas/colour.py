"""Samples and colour spaces: between a document's numbers and sRGB in float32, nothing clipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from core_server.canvas.icc import icc_to_srgb, srgb_to_icc
from core_server.canvas.pixels import ColorSpace, Pixels

FloatArray = npt.NDArray[np.float32]

_ROWS = 64
"""Of a picture that is turned into 8 bits at a time."""
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
    """Samples of any wire type and shape as float32: full scale of the integer types becomes 1."""
    if array.dtype.kind == "u":
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    return array.astype(np.float32)


def from_unit(values: FloatArray, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The way back of `to_unit`: rounded and clipped for integer types; floats keep what their type can hold."""
    if dtype == np.uint8:
        return to_uint8(np.clip(values, 0, 1))
    if dtype.kind == "u":
        # float64: float32 cannot round all of uint16's halves correctly
        return (
            (np.clip(values.astype(np.float64), 0, 1) * np.iinfo(dtype).max).round().astype(dtype)
        )
    largest = float(np.finfo(dtype).max)
    return np.clip(values, -largest, largest).astype(dtype)


def to_uint8(image: FloatArray) -> npt.NDArray[np.uint8]:
    """float32 0..1 to uint8, in float32 as diffusers itself rounds: another precision gives other last bits."""
    found = np.empty(image.shape, np.uint8)
    for first in range(0, len(image), _ROWS):  # in the processor's cache
        scaled = image[first : first + _ROWS] * 255
        found[first : first + _ROWS] = np.rint(scaled, out=scaled)
    return found


def colours_of(pixels: Pixels) -> npt.NDArray[Any]:
    """The samples without alpha: (height, width, 1 or 3)."""
    return pixels.array[..., :3] if pixels.channels == 4 else pixels.array


def to_srgb(pixels: Pixels) -> FloatArray:
    """(height, width, 3) float32 sRGB. Light above white and colours outside sRGB's gamut lie outside 0..1. Data
    (NON_COLOR) comes as it is.

    Errors: InvalidRequest for an ICC profile that cannot be used.
    """
    colour = to_unit(colours_of(pixels))
    match pixels.color_space:
        case ColorSpace.LINEAR_REC709:
            colour = linear_to_srgb(colour)
        case ColorSpace.ICC:
            colour = icc_to_srgb(colour, pixels.icc_profile)
        case _:
            pass
    return colour if colour.shape[2] == 3 else np.repeat(colour, 3, axis=2)


def from_srgb(image: FloatArray, like: Pixels) -> FloatArray:
    """(height, width, 3) float32 sRGB as float32 samples in the colour space and colour channels of `like`: (height,
    width, 1 or 3), full scale of integer types 1, not clipped."""
    grey = like.channels == 1
    match like.color_space:
        case ColorSpace.ICC:
            return srgb_to_icc(image, like.icc_profile, 1 if grey else 3)
        case ColorSpace.NON_COLOR:
            return image.mean(axis=2, keepdims=True) if grey else image
        case ColorSpace.LINEAR_REC709:
            linear = srgb_to_linear(image)
            return (linear @ _LUMA)[..., None] if grey else linear
        case _:
            return linear_to_srgb(srgb_to_linear(image) @ _LUMA)[..., None] if grey else image


def to_model_rgb(pixels: Pixels) -> FloatArray:
    """(height, width, 3) float32 sRGB 0..1, clipped: for pictures that steer a model. `Rendition` is for those that
    come back."""
    return np.ascontiguousarray(np.clip(to_srgb(pixels), 0, 1), np.float32)
