"""ICC profiles: to sRGB and back, by LittleCMS in 32-bit float, so that 16-bit and float documents lose nothing.

Every kind of RGB and grey profile works, with curves and a matrix or with tables. Relative colorimetric with black
point compensation, as Photoshop converts. Sources: ICC.1:2022; LittleCMS 2.
"""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core_server.errors import InvalidRequest

if TYPE_CHECKING:
    from imagecodecs import CMS

FloatArray = npt.NDArray[np.float32]

MAX_PROFILE_BYTES = 4 * 2**20
"""Larger than any profile of a display or camera; a table cannot claim more memory than its file has."""
_HEADER = struct.Struct(">I8x4s4s4s12x4s")
"""ICC.1:2022, 7.2: size, device class, colour space, connection space, signature."""
_HEADER_BYTES = 128
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
_BAND_ROWS = 128
_MAX_THREADS = 4
_SPACES = {b"GRAY": "grey", b"RGB ": "RGB"}


def check_profile(profile: bytes, channels: int, field: str = "image.icc_profile") -> None:
    """Refuses profiles that cannot describe a picture of 1, 3 or 4 channels, by their header alone.

    field: where the profile came from, for the error.

    Errors: InvalidRequest for what is too large, is no profile, or is for other colours (CMYK, Lab) than the picture's.
    """
    if len(profile) > MAX_PROFILE_BYTES:
        raise InvalidRequest(
            field,
            f"The ICC profile has {len(profile)} bytes; at most {MAX_PROFILE_BYTES} are taken.",
            allowed=f"at most {MAX_PROFILE_BYTES} bytes",
        )
    if len(profile) < _HEADER_BYTES:
        raise _unreadable(field)
    size, kind, space, connection, signature = _HEADER.unpack_from(profile)
    if signature != b"acsp" or size > len(profile) or connection not in (b"XYZ ", b"Lab "):
        raise _unreadable(field)
    if kind not in _CLASSES:
        raise InvalidRequest(
            field,
            f"The ICC profile is of class {_name(kind)}, which describes no picture; attach the profile of a display, "
            "scanner, printer or colour space.",
            allowed="mntr, scnr, prtr, spac",
        )
    wanted = "grey" if channels == 1 else "RGB"
    if _SPACES.get(space) != wanted:
        raise InvalidRequest(
            field,
            f"The ICC profile is for {_name(space)} pictures but this one is {wanted}; convert the document to RGB or "
            "grey.",
            allowed="RGB, GRAY",
        )


def icc_to_srgb(values: FloatArray, profile: bytes) -> FloatArray:
    """values: (height, width, 1 or 3) float32 in the profile's space, 0..1; returns (height, width, 3) sRGB float32.

    Colours outside sRGB's gamut come as values outside 0..1. Errors: InvalidRequest as `check_profile`, and for a
    profile that LittleCMS refuses.
    """
    check_profile(profile, values.shape[2])
    return _transform(values, profile, srgb_profile(), 3)


def srgb_to_icc(values: FloatArray, profile: bytes, channels: int) -> FloatArray:
    """The way back: (height, width, 3) sRGB float32 to (height, width, channels) of the profile; not clipped."""
    check_profile(profile, channels)
    return _transform(values, srgb_profile(), profile, channels)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """sRGB IEC61966-2.1 with its exact curve."""
    import imagecodecs  # noqa: PLC0415 - most documents need no conversion

    return bytes(imagecodecs.cms_profile("srgb"))


def _transform(values: FloatArray, source: bytes, target: bytes, channels: int) -> FloatArray:
    bands = [values[top : top + _BAND_ROWS] for top in range(0, len(values), _BAND_ROWS)]
    # LittleCMS lets go of the interpreter while it computes.
    with ThreadPoolExecutor(min(len(bands), os.cpu_count() or 1, _MAX_THREADS)) as threads:
        done = list(threads.map(lambda band: _convert(band, source, target, channels), bands))
    result = np.concatenate(done)
    if not np.isfinite(result).all():  # a curve may divide by zero
        raise _unreadable()
    return result


def _convert(values: FloatArray, source: bytes, target: bytes, channels: int) -> FloatArray:
    import imagecodecs  # noqa: PLC0415 - most documents need no conversion

    # As a stack of one picture: only then does the binding take grey ones.
    grey = values.shape[2] == 1
    samples = np.ascontiguousarray(values[None, ..., 0] if grey else values[None], np.float32)
    try:
        result = imagecodecs.cms_transform(
            samples,
            source,
            target,
            colorspace="GRAY" if grey else "RGB",
            outcolorspace="GRAY" if channels == 1 else "RGB",
            outdtype=np.float32,
            intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
            flags=_flags(imagecodecs.CMS),
        )
    except imagecodecs.CmsError as error:
        raise _unreadable() from error
    return np.asarray(result, np.float32).reshape(*values.shape[:2], channels)


def _flags(cms: type[CMS]) -> int:
    # LittleCMS would replace the curves by tables of 8 or 16 bit to be faster.
    return int(cms.FLAGS.NOOPTIMIZE | cms.FLAGS.BLACKPOINTCOMPENSATION)


def _unreadable(field: str = "image.icc_profile") -> InvalidRequest:
    return InvalidRequest(
        field,
        "The picture's ICC profile cannot be read; convert the document to sRGB or attach a sound profile.",
    )


def _name(signature: bytes) -> str:
    return signature.decode("latin-1").strip() or "no"
