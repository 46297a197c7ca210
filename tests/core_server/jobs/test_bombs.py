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
import tifffile
from PIL import Image

from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs import codec
from core_server.jobs.job import ImageEncoding
from tests.core_server.canvas import profiles

ROOT = Path(__file__).parents[3]
ROOM_BYTES = 256 << 20
SIDE = 16
MOST_SECONDS = 5.0
"""Of the processor's time, which does not pass faster where others are busy too."""
# In a process of its own with little address space left: what takes more fails as MemoryError, not as InvalidRequest.
DECODE = """
import json, resource, sys, time
from pathlib import Path
import imagecodecs
import numpy as np
from core_server.canvas import icc
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
    if encoding == "icc":
        try:
            told = str(icc.icc_to_srgb(np.zeros((2, 2, 3), np.float32), path.read_bytes()))
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        print(json.dumps([name, told, time.process_time()]), flush=True)
        continue
    header = ImageHeader(
        extent=Extent(int(side), int(side)), channels=int(channels), dtype=dtype, color_space=ColorSpace.SRGB,
        encoding=ImageEncoding(encoding),
    )
    try:
        codec.decode(header, path.read_bytes(), Limits())
        told = "decoded"
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    print(json.dumps([name, told, time.process_time()]), flush=True)
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


def webp_canvas(flags: int) -> bytes:
    """An extended header that claims 16384 x 16384 px, around a small picture."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(file, "WEBP", lossless=True)
    side = (16383).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<IB3x", 10, flags) + side + side + file.getvalue()[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp_frames() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (SIDE, SIDE), (k, 0, 0)) for k in range(100)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    return file.getvalue()


def jpeg_scans(side: int) -> bytes:
    """A progressive picture whose last scan comes 10,000 times; each goes over the whole of it."""
    file = io.BytesIO()
    Image.new("L", (side, side), 7).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 10_000 + data[-2:]


def tiff_pages() -> bytes:
    """A sound picture, and three million empty pages behind it."""
    first = bytearray(tiff(zlib.compress(bytes(SIDE * SIDE)), 8))
    at, count = len(first), 3_000_000
    first[8 + 2 + 12 * 9 : 8 + 2 + 12 * 9 + 4] = struct.pack("<I", at)
    pages = np.zeros(count, np.dtype([("tags", "<u2"), ("next", "<u4")]))
    pages["next"][:-1] = at + 6 * np.arange(1, count)
    return bytes(first) + pages.tobytes()


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
    yield "canvas-webp-3-uint8-16", webp_canvas(flags=0)
    yield "claimed_frames-webp-3-uint8-16", webp_canvas(flags=2)
    yield "frames-webp-3-uint8-16", webp_frames()
    yield "scans-jpeg-1-uint8-2048", jpeg_scans(2048)
    # Tables of 255 x 255 x 255 points of three 16 bit numbers, 95 MiB each, that are not there; the last one says it
    # takes eight inputs.
    for kind, inputs, grid in (("mft2", 3, 255), ("mft1", 3, 255), ("mft2", 8, 20)):
        lut = kind.encode() + bytes(4) + struct.pack(">4B", inputs, 3, grid, 0) + bytes(200)
        profile = profiles.assembled("RGB ", {"A2B0": lut, "B2A0": lut}, connection="Lab ")
        yield f"table_{kind}_{inputs}-icc-3-float32-2", profile
    yield "pages-tiff-1-uint8-16", tiff_pages()


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
    spent = [seconds for *_, seconds in told]
    slow = {
        it[0]: after - before for it, before, after in zip(told[1:], spent, spent[1:], strict=False)
    }
    assert max(slow.values()) < MOST_SECONDS, f"of the processor: {slow}"


def test_a_tiff_of_two_pictures_is_refused_and_one_with_a_preview_is_read() -> None:
    """What is not counted is still found."""
    array = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE, 1)
    header = codec.header_of(Pixels(array, ColorSpace.NON_COLOR), ImageEncoding.TIFF)
    for kind, readable in ((0, False), (1, True)):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            writer.write(array[..., 0], photometric="minisblack", metadata=None)
            writer.write(array[::2, ::2, 0], photometric="minisblack", subfiletype=kind)
        if readable:
            assert np.array_equal(codec.decode(header, file.getvalue(), Limits()).array, array)
        else:
            with pytest.raises(InvalidRequest, match="several pages"):
                codec.decode(header, file.getvalue(), Limits())
