"""Small files that would be large, or slow, if they were unpacked as they ask."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from PIL import Image

ROOT = Path(__file__).parents[3]
ROOM_BYTES = 256 << 20
SIDE = 16
# In a process of its own with little address space left: what takes more fails as MemoryError, not as InvalidRequest.
DECODE = """
import json, resource, sys
from pathlib import Path
from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs import codec, formats
from core_server.jobs.job import ImageEncoding, ImageHeader

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), resource.RLIM_INFINITY))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for path in sorted(Path(sys.argv[1]).glob("*.bin")):
    name, encoding, channels, dtype, side = path.stem.split("-")
    header = ImageHeader(
        extent=Extent(int(side), int(side)), channels=int(channels), dtype=dtype, color_space=ColorSpace.SRGB,
        encoding=ImageEncoding(encoding),
    )
    try:
        codec.decode(header, path.read_bytes(), Limits())
        told = "decoded"
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    print(json.dumps([name, told]), flush=True)
"""


def deflated(size: int) -> bytes:
    packer, zeros = zlib.compressobj(9), bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range(size >> 20)) + packer.flush()


BIG = deflated(1 << 30)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(depth: int, colour: int, pixels: bytes, extra: bytes = b"", side: int = SIDE) -> bytes:
    head = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff(strip: bytes, compression: int, side: int = SIDE) -> bytes:
    """One strip of 8 bit grey."""
    tags = {
        256: side,
        257: side,
        258: 8,
        259: compression,
        262: 1,
        273: 0,
        277: 1,
        278: side,
        279: len(strip),
    }
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + strip


def exr(folder: Path, *parts: dict[str, np.ndarray]) -> bytes:
    window = (np.array([0, 0], np.int32), np.array([SIDE - 1, SIDE - 1], np.int32))
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "displayWindow": window,
    }
    path = folder / "bomb.exr"
    made = [OpenEXR.Part(dict(header), channels, f"p{k}") for k, channels in enumerate(parts)]
    OpenEXR.File(made).write(str(path))
    return path.read_bytes()


def webp() -> bytes:
    """Its header claims 16383 x 16383 px."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(file, "WEBP", lossless=True)
    data = bytearray(file.getvalue())
    at = data.index(b"VP8L") + 9
    data[at : at + 4] = struct.pack("<I", (16382 << 14) | 16382)
    return bytes(data)


def bombs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names are encoding, channels, dtype and side of the header that comes with it."""
    rows = zlib.compress(bytes(SIDE * (SIDE + 1)))
    rows16 = zlib.compress(bytes(SIDE * (SIDE * 6 + 1)))
    yield "pixels-png-1-uint8-16", png(8, 0, BIG)
    yield "pixels16-png-3-uint16-16", png(16, 2, BIG)
    yield "profile-png-1-uint8-16", png(8, 0, rows, chunk(b"iCCP", b"x\0\0" + BIG))
    yield "profile16-png-3-uint16-16", png(16, 2, rows16, chunk(b"iCCP", b"x\0\0" + BIG))
    yield "text-png-1-uint8-16", png(8, 0, rows, chunk(b"zTXt", b"x\0\0" + BIG))
    many = chunk(b"zTXt", b"x\0\0" + deflated(1 << 20)) * 1000
    yield "texts-png-1-uint8-16", png(8, 0, rows, many)
    yield "claimed-png-1-uint8-16", png(8, 0, rows, side=60000)
    yield "deflate-tiff-1-uint8-16", tiff(BIG, 8)
    yield "packbits-tiff-1-uint8-16", tiff(b"\x81\0" * (4 << 20), 32773)
    yield "claimed-tiff-1-uint8-16", tiff(rows, 8, side=60000)
    yield "jpeg2000-tiff-1-uint8-16", tiff(rows, 34712)
    small, big = np.zeros((SIDE, SIDE), np.float32), np.zeros((8000, 8000), np.float32)
    yield "parts-exr-1-float32-16", exr(folder, {"Y": small}, {"Y": big})
    plenty = {f"c{k:03}": np.zeros((1024, 1024), np.float32) for k in range(80)}
    yield "channels-exr-1-float32-1024", exr(folder, plenty)
    yield "claimed-exr-1-float32-16", exr(folder, {"Y": big})
    yield "claimed-webp-3-uint8-16", webp()


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own address space")
def test_bombs_are_refused_without_being_unpacked(tmp_path: Path) -> None:
    names = []
    for name, data in bombs(tmp_path):
        (tmp_path / f"{name}.bin").write_bytes(data)
        names.append(name.partition("-")[0] + name.partition("-")[2].partition("-")[0])
    outcome = subprocess.run(
        [sys.executable, "-c", DECODE, str(tmp_path), str(ROOM_BYTES)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    told = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert outcome.returncode == 0, f"ended after {told}: {outcome.stderr}"
    assert len(told) == len(names)
    assert [it for it in told if not it[1].startswith("InvalidRequest: The ")] == []
