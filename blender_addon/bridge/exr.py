"""OpenEXR files from float pixels, so that the main thread never encodes: Blender packs the bytes as they are.

Scan lines compressed by zlib (ZIPS, one line a block), after "The OpenEXR File Layout". What Blender copies on its main
thread shall be small, so alpha can be left out, and numbers are halves where these hold them exactly.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC, _VERSION = 20000630, 2
_HALF, _FLOAT, _ZIPS = 1, 2, 2
_LEVEL = 1  # noise in the last bits hardly shrinks, and 2048 x 2048 must not take long


def encode_exr(pixels: NDArray[np.float32], *, alpha: bool = True) -> bytes:
    """pixels: height x width x 4, row 0 on top, scene-linear, colours multiplied by alpha as EXR has them. alpha: False
    leaves it out where it is 1 everywhere."""
    height, width, channels = pixels.shape
    if channels != 4:
        raise ValueError(f"an EXR of ours has 4 channels, not {channels}")
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    # Channels stand in alphabetical order.
    order = [3, 2, 1, 0] if alpha or (pixels[..., 3] != 1).any() else [2, 1, 0]
    kind, dtype = (_HALF, "<f2") if _fits_half(pixels) else (_FLOAT, "<f4")
    names = b"".join(
        b"RGBA"[k : k + 1] + b"\0" + struct.pack("<iB3xii", kind, 0, 1, 1) for k in order
    )
    header = struct.pack("<ii", _MAGIC, _VERSION)
    for name, type_name, value in (
        (b"channels", b"chlist", names + b"\0"),
        (b"compression", b"compression", bytes([_ZIPS])),
        (b"dataWindow", b"box2i", window),
        (b"displayWindow", b"box2i", window),
        (b"lineOrder", b"lineOrder", b"\0"),
        (b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
        (b"screenWindowCenter", b"v2f", struct.pack("<2f", 0, 0)),
        (b"screenWindowWidth", b"float", struct.pack("<f", 1)),
    ):
        header += name + b"\0" + type_name + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    lines = np.ascontiguousarray(pixels[..., order].transpose(0, 2, 1), dtype)
    blocks = [_line(number, lines[number]) for number in range(height)]
    sizes = np.array([len(block) for block in blocks], np.uint64)
    start = len(header) + 8 * height
    offsets = (start + np.cumsum(sizes) - sizes).astype("<u8")
    return b"".join([header, offsets.tobytes(), *blocks])


def _fits_half(pixels: NDArray[np.float32]) -> bool:
    """Whether every number is exactly a half; the first line tells for most pictures that none is."""
    with np.errstate(over="ignore"):
        return all(
            np.array_equal(part.astype(np.float16).astype(np.float32), part, equal_nan=True)
            for part in (pixels[:1], pixels)
        )


def _line(number: int, line: NDArray[Any]) -> bytes:
    """A block: its y, its length, its data. Even bytes before odd ones, then differences, then zlib."""
    raw = line.view(np.uint8).ravel()
    halves = np.concatenate([raw[0::2], raw[1::2]])
    steps = halves.copy()
    steps[1:] = halves[1:] - halves[:-1] + np.uint8(128)
    packed = zlib.compress(steps.tobytes(), _LEVEL)
    # Where compressing does not help, the bytes stand as they were.
    data = packed if len(packed) < len(raw) else raw.tobytes()
    return struct.pack("<ii", number, len(data)) + data
