"""OpenEXR files from float pixels, so that the main thread never encodes: Blender packs the bytes as they are.

Scan lines of 32-bit floats, compressed by zlib (ZIPS, one line a block), after "The OpenEXR File Layout".
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_MAGIC, _VERSION = 20000630, 2
_FLOAT, _ZIPS = 2, 2
_LEVEL = 1  # noise in the last bits hardly shrinks, and 2048 x 2048 must not take long


def encode_exr(pixels: NDArray[np.float32]) -> bytes:
    """pixels: height x width x 4, row 0 on top, scene-linear, colours multiplied by alpha as EXR has them."""
    height, width, channels = pixels.shape
    if channels != 4:
        raise ValueError(f"an EXR of ours has 4 channels, not {channels}")
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    names = b"".join(
        name + b"\0" + struct.pack("<iB3xii", _FLOAT, 0, 1, 1) for name in (b"A", b"B", b"G", b"R")
    )
    header = struct.pack("<ii", _MAGIC, _VERSION)
    for name, kind, value in (
        (b"channels", b"chlist", names + b"\0"),
        (b"compression", b"compression", bytes([_ZIPS])),
        (b"dataWindow", b"box2i", window),
        (b"displayWindow", b"box2i", window),
        (b"lineOrder", b"lineOrder", b"\0"),
        (b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
        (b"screenWindowCenter", b"v2f", struct.pack("<2f", 0, 0)),
        (b"screenWindowWidth", b"float", struct.pack("<f", 1)),
    ):
        header += name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    # Channels in alphabetical order, one whole line each.
    lines = np.ascontiguousarray(pixels[..., [3, 2, 1, 0]].transpose(0, 2, 1), "<f4")
    blocks = [_line(number, lines[number]) for number in range(height)]
    sizes = np.array([len(block) for block in blocks], np.uint64)
    start = len(header) + 8 * height
    offsets = (start + np.cumsum(sizes) - sizes).astype("<u8")
    return b"".join([header, offsets.tobytes(), *blocks])


def _line(number: int, line: NDArray[np.float32]) -> bytes:
    """A block: its y, its length, its data. Even bytes before odd ones, then differences, then zlib."""
    raw = line.view(np.uint8).ravel()
    halves = np.concatenate([raw[0::2], raw[1::2]])
    steps = halves.copy()
    steps[1:] = halves[1:] - halves[:-1] + np.uint8(128)
    packed = zlib.compress(steps.tobytes(), _LEVEL)
    # Where compressing does not help, the bytes stand as they were.
    data = packed if len(packed) < len(raw) else raw.tobytes()
    return struct.pack("<ii", number, len(data)) + data
