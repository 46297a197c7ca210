"""ICC profiles made here: real ones may not be given on, and broken ones nobody else makes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import numpy as np
from PIL import ImageCms

PRIMARIES = {
    "adobe": (
        (0.60974, 0.31111, 0.01947),
        (0.20528, 0.62567, 0.06087),
        (0.14919, 0.06322, 0.74457),
    ),
    "p3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
}
"""Columns of RGB to XYZ, adapted to D50."""


def srgb() -> bytes:
    """LittleCMS's own sRGB."""
    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def matrix(primaries: str = "adobe", curve: bytes | None = None) -> bytes:
    """An RGB profile of a matrix and one curve. curve: a tag; None is the gamma 563/256 of Adobe RGB (1998)."""
    curve = parametric(563 / 256) if curve is None else curve
    tags = {
        f"{name}XYZ": _xyz(*column)
        for name, column in zip("rgb", PRIMARIES[primaries], strict=True)
    }
    tags |= {f"{name}TRC": curve for name in "rgb"}
    return assembled("RGB ", tags)


def grey() -> bytes:
    """Grey with gamma 2.2."""
    return assembled("GRAY", {"kTRC": parametric(2.2)})


def p3() -> bytes:
    """Display P3: its primaries and the curve of sRGB."""
    return matrix("p3", parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))


def table(grid: int = 17) -> bytes:
    """A profile of tables in both directions (lut16, CIELAB between): the colours of sRGB, made darker and warmer."""
    axis = np.linspace(0, 1, grid)
    cube = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    to_lab = cube * [0.92, 0.35, 0.35] + [0.02, 0.33, 0.36]
    from_lab = (cube - [0.02, 0.33, 0.36]) / [0.92, 0.35, 0.35]
    return assembled("RGB ", {"A2B0": _lut16(to_lab), "B2A0": _lut16(from_lab)}, connection="Lab ")


def parametric(*numbers: float) -> bytes:
    """A `para` tag: gamma alone, or gamma, a, b, c, d as in ICC.1:2022, 10.18, function type 3."""
    kind = 0 if len(numbers) == 1 else 3
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(_fixed(n) for n in numbers)


def assembled(
    space: str, tags: Mapping[str, bytes], *, kind: str = "mntr", connection: str = "XYZ "
) -> bytes:
    """A profile of these tags and the ones that every profile needs."""
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(80)
    needed = {"desc": text, "cprt": b"text\0\0\0\0CC0\0", "wtpt": _xyz(0.9642, 1.0, 0.8249)}
    everything = {**needed, **tags}
    directory, body, start = b"", b"", 132 + 12 * len(everything)
    for name, content in everything.items():
        directory += name.encode() + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    names = (kind.encode(), space.encode(), connection.encode())
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, *names)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += _fixed(0.9642) + _fixed(1.0) + _fixed(0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(everything)) + directory + body


BROKEN: dict[str, Callable[[], bytes]] = {
    "nonsense": lambda: b"nonsense",
    "empty": lambda: b"\0" * 400,
    "cut short": lambda: matrix()[:300],
    "header alone": lambda: matrix()[:128],
    "a million tags": lambda: matrix()[:128] + struct.pack(">I", 1_000_000) + matrix()[132:],
    "tags beyond the end": lambda: matrix().replace(
        b"rTRC" + matrix()[matrix().index(b"rTRC") + 4 :][:8],
        b"rTRC\x7f\xff\xff\x00\x7f\xff\xff\x00",
    ),
    "no curves": lambda: assembled("RGB ", {"rXYZ": _xyz(0.6, 0.3, 0.0)}),
    "a curve of four billion points": lambda: matrix(curve=b"curv\0\0\0\0\xff\xff\xff\xff\0\0"),
}
"""Profiles that say they are for RGB and cannot be used."""


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _lut16(cube: np.ndarray) -> bytes:
    """ICC.1:2022, 10.10; Lab in the legacy 16-bit encoding. cube: (grid, grid, grid, 3) 0..1, first channel slowest."""
    grid = cube.shape[0]
    identity = b"".join(_fixed(value) for value in np.eye(3).ravel())
    ramp = struct.pack(">2H", 0, 65535) * 3
    table = (np.clip(cube, 0, 1) * 65280).round().astype(">u2").tobytes()
    head = b"mft2\0\0\0\0" + struct.pack(">4B", 3, 3, grid, 0) + identity + struct.pack(">2H", 2, 2)
    return head + ramp + table + ramp
