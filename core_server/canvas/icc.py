"""ICC profiles: to sRGB and back.

Matrix profiles (sRGB, Adobe RGB, Display P3, ProPhoto, grey ...) are computed in float, so 16-bit and float documents
keep their precision. Profiles with tables (`A2B0`) go through LittleCMS in Pillow, which works in 8 bit.
Source: ICC.1:2022, sections 10.6 (curves), 10.18 (parametric curves), F.3 (three-component matrix profiles).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from core_server.errors import InvalidRequest

FloatArray = npt.NDArray[np.float32]

_SAMPLES = 65536
"""Points of a tone curve; enough to invert it within half a code of 16 bit."""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixProfile:
    """curves: one for each channel, (channels, _SAMPLES) linear light over 0..1. matrix: linear RGB to XYZ (D50);
    None for grey profiles."""

    curves: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.float64] | None

    def to_linear(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Encoded samples 0..1 to linear light."""
        inputs = np.linspace(0, 1, _SAMPLES)
        channels = [np.interp(values[..., i], inputs, curve) for i, curve in enumerate(self.curves)]
        return np.stack(channels, axis=-1)

    def from_linear(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The inverse of `to_linear`; light outside 0..1 is clipped."""
        inputs = np.linspace(0, 1, _SAMPLES)
        channels = [
            np.interp(values[..., i], np.maximum.accumulate(curve), inputs)
            for i, curve in enumerate(self.curves)
        ]
        return np.stack(channels, axis=-1)


def icc_to_srgb(values: FloatArray, profile: bytes) -> FloatArray:
    """values: (height, width, 1 or 3) float32 0..1 in the profile's space; returns as many channels of sRGB.

    Errors: InvalidRequest for a profile that is broken or of another number of channels.
    """
    source = _read(profile, values.shape[2])
    if source is None:
        return _by_littlecms(values, profile, to_srgb=True)
    linear = source.to_linear(values)
    srgb = _srgb()
    if source.matrix is not None and srgb.matrix is not None:
        linear = linear @ (np.linalg.inv(srgb.matrix) @ source.matrix).T
        return srgb.from_linear(linear).astype(np.float32)
    return _grey(srgb).from_linear(linear).astype(np.float32)


def srgb_to_icc(values: FloatArray, profile: bytes) -> FloatArray:
    """The way back of `icc_to_srgb`; colours outside the profile's gamut are clipped."""
    target = _read(profile, values.shape[2])
    if target is None:
        return _by_littlecms(values, profile, to_srgb=False)
    srgb = _srgb()
    if target.matrix is not None and srgb.matrix is not None:
        linear = srgb.to_linear(values) @ (np.linalg.inv(target.matrix) @ srgb.matrix).T
        return target.from_linear(linear).astype(np.float32)
    return target.from_linear(_grey(srgb).to_linear(values)).astype(np.float32)


@lru_cache(maxsize=8)
def _read(profile: bytes, channels: int) -> MatrixProfile | None:
    """The profile as curves and matrix; None if it has tables instead."""
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
        tags = _tags(profile)
        expected = {"RGB": 3, "GRAY": 1}.get(space)
        if expected != channels:
            raise InvalidRequest(
                "image.icc_profile",
                f"The ICC profile is for {space} pictures but the picture has {channels} colour channels; convert the "
                "document to RGB or grey.",
                allowed="RGB, GRAY",
            )
        if any(key in tags for key in (b"A2B0", b"B2A0")):
            return None
        if space == "GRAY":
            return MatrixProfile(_curve(tags[b"kTRC"])[None], None)
        columns = [_xyz(tags[key]) for key in (b"rXYZ", b"gXYZ", b"bXYZ")]
        curves = [_curve(tags[key]) for key in (b"rTRC", b"gTRC", b"bTRC")]
        return MatrixProfile(np.stack(curves), np.stack(columns, axis=1))
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError, struct.error) as error:
        raise InvalidRequest(
            "image.icc_profile",
            "The picture's ICC profile cannot be read; convert the document to sRGB or attach a sound profile.",
        ) from error


@lru_cache(maxsize=1)
def _srgb() -> MatrixProfile:
    profile = _read(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), 3)
    assert profile is not None
    return profile


def _grey(profile: MatrixProfile) -> MatrixProfile:
    return MatrixProfile(profile.curves[:1], None)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = (struct.unpack_from(">4sII", profile, 132 + 12 * i) for i in range(min(count, 200)))
    return {key: profile[start : start + length] for key, start, length in entries}


def _xyz(tag: bytes) -> npt.NDArray[np.float64]:
    return np.array(struct.unpack_from(">3i", tag, 8), np.float64) / 65536


def _curve(tag: bytes) -> npt.NDArray[np.float64]:
    x = np.linspace(0, 1, _SAMPLES)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x
        points = np.frombuffer(tag, ">u2", count, 12)
        if count == 1:
            return np.asarray(x ** (float(points[0]) / 256))
        return np.interp(x, np.linspace(0, 1, count), points.astype(np.float64) / 65535)
    if tag[:4] != b"para":
        raise ValueError("a tone curve of an unknown type")
    (kind,) = struct.unpack_from(">H", tag, 8)
    count = (1, 3, 4, 5, 7)[kind] if kind < 5 else 0
    numbers = struct.unpack_from(f">{count}i", tag, 12)
    padded = [n / 65536 for n in numbers] + [0.0] * (7 - count)
    g, a, b, c, d, e, f = padded
    match kind:
        case 0:
            y = x**g
        case 1:
            y = np.where(x >= -b / a, np.maximum(a * x + b, 0) ** g, 0)
        case 2:
            y = np.where(x >= -b / a, np.maximum(a * x + b, 0) ** g + c, c)
        case 3:
            y = np.where(x >= d, np.maximum(a * x + b, 0) ** g, c * x)
        case 4:
            y = np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)
        case _:
            raise ValueError("a parametric curve of an unknown kind")
    return np.asarray(np.clip(y, 0, 1), np.float64)


def _by_littlecms(values: FloatArray, profile: bytes, *, to_srgb: bool) -> FloatArray:
    grey = values.shape[2] == 1
    mode = "L" if grey else "RGB"
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    samples = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    picture = Image.fromarray(samples[..., 0] if grey else samples)
    if to_srgb:
        converted = ImageCms.profileToProfile(picture, own, srgb, outputMode="RGB")
    else:
        converted = ImageCms.profileToProfile(picture.convert("RGB"), srgb, own, outputMode=mode)
    assert converted is not None
    array = np.asarray(converted, np.float32) / np.float32(255)
    if array.ndim == 2:
        array = array[..., None]
    return array[..., : values.shape[2]]
