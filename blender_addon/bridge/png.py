"""PNG encoding with zlib and numpy, so that the main thread never encodes: Blender packs the bytes as they are.

Blender's own `Image.pack()` would block its main thread for 0.6 s at 2048 x 2048; this runs on the bridge thread,
where zlib releases the interpreter lock.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COLOR_TYPE = {1: 0, 3: 2, 4: 6}
_LEVEL = 3  # textures shrink little beyond it, and 2048 x 2048 takes well under a second


def encode_png(
    pixels: NDArray[Any], *, srgb: bool = True, text: Mapping[str, str] | None = None
) -> bytes:
    """A PNG file.

    pixels: height x width x channels (1, 3 or 4, straight alpha), uint8 or uint16, row 0 is the top.
    srgb: adds the sRGB chunk; False for data maps. text: iTXt chunks by keyword (Latin-1, 1..79 characters).
    """
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOR_TYPE:
        raise ValueError(f"a PNG has 1, 3 or 4 channels, not an array of shape {pixels.shape}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a PNG has samples of 8 or 16 bit, not {pixels.dtype}")
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize * 8
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOR_TYPE[channels], 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    if srgb:
        chunks.append(_chunk(b"sRGB", b"\0"))
    for keyword, value in (text or {}).items():
        # keyword, then: not compressed, no language, no translated keyword
        chunks.append(_chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + value.encode()))
    chunks.append(_chunk(b"IDAT", zlib.compress(_filtered_rows(pixels), _LEVEL)))
    chunks.append(_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _filtered_rows(pixels: NDArray[Any]) -> bytes:
    """Rows with filter type 2 (difference to the row above), each behind its filter byte; samples big-endian."""
    height = pixels.shape[0]
    samples = pixels.astype(pixels.dtype.newbyteorder(">"), order="C", copy=False)
    rows = samples.reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered.tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
