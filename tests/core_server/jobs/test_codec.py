from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import SAMPLE_DTYPES, ColorSpace, Pixels
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs import codec
from core_server.jobs.job import ImageEncoding, ImageHeader

HEIGHT, WIDTH = 5, 7
LIMITS = Limits()
LOSSLESS = [
    (encoding, dtype, channels)
    for encoding, dtypes in {
        ImageEncoding.RAW: SAMPLE_DTYPES,
        ImageEncoding.PNG: ("uint8", "uint16"),
        ImageEncoding.WEBP: ("uint8",),
        ImageEncoding.TIFF: SAMPLE_DTYPES,
        ImageEncoding.EXR: ("float16", "float32"),
    }.items()
    for dtype in dtypes
    for channels in (1, 3, 4)
    if (encoding, channels) != (ImageEncoding.WEBP, 1)
]


def samples(dtype: str, channels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    rng = np.random.default_rng(channels)
    if dtype.startswith("uint"):
        return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)
    array = (rng.random((height, width, channels)) * 3).astype(dtype)
    array[..., 3:] = 1  # OpenEXR premultiplies, which only opaque pixels survive exactly
    return array


def header(array: np.ndarray, encoding: ImageEncoding = ImageEncoding.RAW) -> ImageHeader:
    return codec.header_of(Pixels(array), encoding)


@pytest.mark.parametrize(
    ("encoding", "dtype", "channels"), LOSSLESS, ids=[f"{e}-{d}-{c}" for e, d, c in LOSSLESS]
)
def test_lossless_formats_keep_every_bit(
    encoding: ImageEncoding, dtype: str, channels: int
) -> None:
    array = samples(dtype, channels)
    data = codec.encode(Pixels(array), encoding)
    again = codec.decode(header(array, encoding), data, LIMITS)
    assert again.array.dtype == array.dtype
    assert np.array_equal(again.array, array)


def png(array: np.ndarray, color_type: int) -> bytes:
    """A PNG by the letter of its specification, free of any library."""
    height, width, _ = array.shape
    rows = array.astype(array.dtype.newbyteorder(">")).reshape(height, -1)
    depth = array.dtype.itemsize * 8
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    ihdr = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    chunks = [(b"IHDR", ihdr), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize(("channels", "color_type"), [(1, 0), (3, 2), (4, 6)])
def test_png_of_16_bit_is_read_with_all_its_bits_in_rgb_order(
    channels: int, color_type: int
) -> None:
    array = samples("uint16", channels)
    assert len(np.unique(array % 257)) > 1  # 8 bit would not do
    pixels = codec.decode(header(array, ImageEncoding.PNG), png(array, color_type), LIMITS)
    assert np.array_equal(pixels.array, array)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_written_png_is_read_alike_by_others_and_names_its_colours(dtype: str) -> None:
    array = samples(dtype, 4)
    profile = b"an ICC profile" * 40
    data = codec.encode(Pixels(array, ColorSpace.ICC, profile), ImageEncoding.PNG)
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
        assert image.info["icc_profile"] == profile
    bgra = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(bgra[..., [2, 1, 0, 3]], array)


def test_transparent_exr_stays_straight_within_half_a_step() -> None:
    array = samples("float32", 4)
    array[..., 3] = 0.25
    data = codec.encode(Pixels(array, ColorSpace.LINEAR_REC709), ImageEncoding.EXR)
    again = codec.decode(header(array, ImageEncoding.EXR), data, LIMITS)
    assert np.allclose(again.array, array, rtol=1e-6)


@pytest.mark.parametrize("compression", ["lzw", "none", "separate"])
def test_tiff_as_photoshop_writes_it(compression: str) -> None:
    array = samples("uint16", 3)
    if compression == "lzw":
        done, encoded = cv2.imencode(".tif", array[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
        data = encoded.tobytes()
        assert done
    else:
        file = io.BytesIO()
        planes = np.moveaxis(array, -1, 0) if compression == "separate" else array
        planar = "separate" if compression == "separate" else "contig"
        tifffile.imwrite(file, planes, photometric="rgb", planarconfig=planar)
        data = file.getvalue()
    pixels = codec.decode(header(array, ImageEncoding.TIFF), data, LIMITS)
    assert np.array_equal(pixels.array, array)


def test_jpeg_is_near_and_palettes_are_resolved() -> None:
    smooth = np.dstack([np.tile(np.arange(64, dtype=np.uint8), (64, 1))] * 3)
    data = codec.encode(Pixels(smooth), ImageEncoding.JPEG)
    again = codec.decode(header(smooth, ImageEncoding.JPEG), data, LIMITS).array
    assert np.abs(again.astype(int) - smooth).max() <= 3
    file = io.BytesIO()
    Image.fromarray(smooth).convert("P").save(file, "PNG")
    resolved = codec.decode(header(smooth, ImageEncoding.PNG), file.getvalue(), LIMITS)
    assert resolved.array.shape == smooth.shape


def damaged(name: str) -> tuple[ImageHeader, bytes]:
    kind, _, harm = name.partition(" ")
    encoding = ImageEncoding(kind)
    dtype = "float32" if encoding is ImageEncoding.EXR else "uint8"
    if kind == "png" and harm.startswith("16"):
        dtype, harm = "uint16", harm.removeprefix("16 ")
    array = samples(dtype, 3, 48, 64)
    data = codec.encode(Pixels(array), encoding)
    head = header(array, encoding)
    match harm:
        case "cut":
            data = data[: len(data) * 2 // 3]
        case "end":
            data = data[:-6]
        case "flip":
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        case "empty":
            data = b""
        case "other":
            data = b"GIF89a" + data[6:]
        case "size":
            head = header(samples(dtype, 3, 48, 63), encoding)
        case "channels":
            head = header(samples(dtype, 4, 48, 64), encoding)
        case "type":
            other = {"uint8": "uint16", "float32": "float16"}[dtype]
            head = header(samples(other, 3, 48, 64), encoding)
        case "long":
            data += b"x"
    return head, data


DAMAGED = [
    "raw cut",
    "raw long",
    "raw empty",
    *(
        f"png {harm}"
        for harm in ("cut", "end", "flip", "empty", "other", "size", "channels", "type")
    ),
    *(f"png 16 {harm}" for harm in ("cut", "end", "flip", "size")),
    *(f"jpeg {harm}" for harm in ("cut", "empty", "other", "size", "channels", "type")),
    *(f"webp {harm}" for harm in ("cut", "empty", "other", "size", "channels", "type")),
    *(f"tiff {harm}" for harm in ("cut", "empty", "other", "size", "channels", "type")),
    *(f"exr {harm}" for harm in ("cut", "empty", "other", "size", "channels", "type")),
]


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_get_one_sentence(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        codec.decode(*damaged(name), LIMITS)
    assert caught.value.field == "image"
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith(".")


def header_with(**changes: object) -> Callable[[], ImageHeader]:
    values: dict[str, object] = {
        "extent": Extent(4, 4),
        "channels": 3,
        "dtype": "uint8",
        "color_space": ColorSpace.SRGB,
    }
    return lambda: ImageHeader(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        pytest.param(header_with(extent=Extent(0, 4)), "header.extent", id="no width"),
        pytest.param(header_with(extent=Extent(4, -1)), "header.extent", id="negative height"),
        pytest.param(header_with(extent=Extent(20000, 1)), "header.extent", id="too wide"),
        pytest.param(header_with(extent=Extent(9000, 9000)), "header.extent", id="too many pixels"),
        pytest.param(header_with(channels=2), "header.channels", id="two channels"),
        pytest.param(header_with(dtype="float64"), "header.sample_type", id="float64"),
        pytest.param(
            header_with(color_space=ColorSpace.ICC), "header.icc_profile", id="ICC without profile"
        ),
        pytest.param(header_with(icc_profile=b"x"), "header.icc_profile", id="profile without ICC"),
    ],
)
def test_impossible_headers(make: Callable[[], ImageHeader], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        codec.decode(make(), b"", LIMITS)
    assert caught.value.field == field


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("encoding", [ImageEncoding.RAW, ImageEncoding.TIFF, ImageEncoding.EXR])
def test_numbers_that_are_none(encoding: ImageEncoding, value: float, dtype: str) -> None:
    array = samples(dtype, 3)
    array[2, 3, 1] = value
    with pytest.raises(InvalidRequest, match="NaN or infinite"):
        codec.decode(header(array, encoding), codec.encode(Pixels(array), encoding), LIMITS)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    """A hundred bytes that claim 28 GB; the header lies about them."""
    honest = png(np.zeros((4, 4, 4), np.uint16), 6)
    ihdr = b"IHDR" + struct.pack(">II", 60000, 60000) + honest[24:29]
    bomb = honest[:12] + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + honest[33:]
    head = header(np.zeros((8, 8, 4), np.uint16), ImageEncoding.PNG)
    with pytest.raises(InvalidRequest, match="is 60000 x 60000 px, its header says 8 x 8"):
        codec.decode(head, bomb, LIMITS)


@pytest.mark.parametrize(
    ("array", "encoding", "told"),
    [
        pytest.param(samples("float32", 3), ImageEncoding.PNG, "uint8 or uint16", id="float PNG"),
        pytest.param(samples("uint16", 3), ImageEncoding.WEBP, "uint8", id="16 bit WebP"),
        pytest.param(samples("uint8", 4), ImageEncoding.JPEG, "transparency", id="JPEG with alpha"),
        pytest.param(samples("uint8", 3), ImageEncoding.EXR, "float16", id="8 bit EXR"),
    ],
)
def test_formats_that_cannot_hold_it_say_so(
    array: np.ndarray, encoding: ImageEncoding, told: str
) -> None:
    with pytest.raises(InvalidRequest, match=told):
        codec.encode(Pixels(array), encoding)
