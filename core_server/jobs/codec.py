"""Between the bytes of a stored image and pixels: what is declared is checked before anything is decoded."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from core_server.canvas.icc import check_profile
from core_server.canvas.pixels import SAMPLE_DTYPES, ColorSpace, Pixels
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs.job import ImageEncoding, ImageHeader


def check_header(header: ImageHeader, limits: Limits) -> None:
    """Refuses headers that no image may have here. Errors: InvalidRequest."""
    width, height = header.extent
    if width < 1 or height < 1:
        raise InvalidRequest(
            "header.extent", f"The image is {width} x {height} px; each side must be at least 1."
        )
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise InvalidRequest(
            "header.extent",
            f"The image is {width} x {height} px; this server takes sides up to {limits.max_side} px and "
            f"{limits.max_pixels} pixels in all. Send a smaller part of it.",
            allowed=f"sides 1..{limits.max_side}, at most {limits.max_pixels} pixels",
        )
    if header.channels not in (1, 3, 4):
        raise InvalidRequest(
            "header.channels",
            f"The image has {header.channels} channels; 1, 3 and 4 are possible.",
            allowed="1, 3, 4",
        )
    if header.dtype not in SAMPLE_DTYPES:
        raise InvalidRequest(
            "header.sample_type",
            f"The sample type {header.dtype!r} is unknown; use one of {', '.join(SAMPLE_DTYPES)}.",
            allowed=", ".join(SAMPLE_DTYPES),
        )
    if (header.color_space is ColorSpace.ICC) != bool(header.icc_profile):
        raise InvalidRequest(
            "header.icc_profile",
            "The ICC profile and the colour space ICC belong together; set both or neither.",
        )
    if header.icc_profile:
        check_profile(header.icc_profile, header.channels, "header.icc_profile")


def decode(header: ImageHeader, payload: bytes | memoryview, limits: Limits) -> Pixels:
    """The pixels of an image. RAW ones are a read-only view of the payload; no colour is converted.

    Errors: InvalidRequest for what breaks a limit, is cut short, differs from its header or holds NaN or infinity.
    """
    check_header(header, limits)
    is_raw = header.encoding is ImageEncoding.RAW
    array = _raw(header, payload) if is_raw else _read_file(header, bytes(payload))
    _check_finite(array)
    return Pixels(array, header.color_space, header.icc_profile)


class SampleCheck:
    """What `decode` checks of RAW samples, piece by piece; a piece may end within a sample."""

    def __init__(self, header: ImageHeader) -> None:
        self._dtype = np.dtype(header.dtype).newbyteorder("<")
        self._rest = b""

    def add(self, piece: bytes | memoryview) -> None:
        """The next bytes of the payload. Errors: InvalidRequest for NaN or infinity."""
        if self._dtype.kind != "f":
            return
        data = self._rest + piece if self._rest else piece
        whole = len(data) - len(data) % self._dtype.itemsize
        self._rest = bytes(data[whole:])
        if whole:
            _check_finite(np.frombuffer(data, self._dtype, whole // self._dtype.itemsize))


def _check_finite(array: npt.NDArray[Any]) -> None:
    if array.dtype.kind == "f" and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise InvalidRequest(
            "image",
            "The image holds NaN or infinite values; every sample must be a finite number.",
            allowed="finite numbers",
        )


def header_of(pixels: Pixels, encoding: ImageEncoding = ImageEncoding.RAW) -> ImageHeader:
    """The header that pixels have when they are packed like this."""
    return ImageHeader(
        extent=pixels.extent,
        channels=pixels.channels,
        dtype=pixels.array.dtype.name,
        color_space=pixels.color_space,
        icc_profile=pixels.icc_profile,
        encoding=encoding,
    )


def raw_bytes(pixels: Pixels) -> memoryview:
    """The samples as they travel: rows from the top, interleaved, little-endian. No copy where the machine is so."""
    array: Any = np.ascontiguousarray(pixels.array)
    if sys.byteorder == "big":
        array = array.astype(array.dtype.newbyteorder("<"))
    return memoryview(array).cast("B")


def raw_size(header: ImageHeader) -> int:
    """Bytes of the samples, not packed."""
    return header.extent.area * header.channels * np.dtype(header.dtype).itemsize


def encode(pixels: Pixels, encoding: ImageEncoding) -> bytes:
    """Packs pixels without loss (JPEG: quality 95). Errors: InvalidRequest if the format cannot hold them."""
    if encoding is ImageEncoding.RAW:
        return bytes(raw_bytes(pixels))
    from core_server.jobs import formats  # noqa: PLC0415 - see _read_file

    return formats.write(pixels, encoding)


def repack(
    header: ImageHeader, payload: bytes, encoding: ImageEncoding, limits: Limits
) -> tuple[ImageHeader, bytes]:
    """The same image packed another way. Errors: as `decode` and `encode`."""
    if header.encoding is encoding:
        return header, payload
    packed = encode(decode(header, payload, limits), encoding)
    return msgspec.structs.replace(header, encoding=encoding), packed


def _read_file(header: ImageHeader, payload: bytes) -> npt.NDArray[Any]:
    # OpenCV and its like are large, and the server is to be ready at once: they come with the first file.
    from core_server.jobs import formats  # noqa: PLC0415

    return formats.read(header, payload)


def _raw(header: ImageHeader, payload: bytes | memoryview) -> npt.NDArray[Any]:
    width, height = header.extent
    dtype = np.dtype(header.dtype).newbyteorder("<")
    expected = width * height * header.channels * dtype.itemsize
    if len(payload) != expected:
        raise InvalidRequest(
            "image",
            f"The image has {len(payload)} bytes; {width} x {height} px with {header.channels} channels of "
            f"{header.dtype} are {expected}.",
            allowed=f"{expected} bytes",
        )
    flat = np.frombuffer(payload, dtype).astype(np.dtype(header.dtype), copy=False)
    return flat.reshape(height, width, header.channels)
