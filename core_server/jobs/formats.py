"""Image files: PNG, JPEG, WebP, TIFF and OpenEXR, from bytes to samples and back.

These are bytes from the wire, in memory and untrusted; `commands.files` is for files on an artist's disk, with their
metadata. OpenImageIO, which does those, reads no memory from Python, and these libraries keep no metadata.

A file's own size is compared with the header's before its pixels are decoded, so no small file can claim more memory
than the limits allow. Arrays have shape (height, width, channels), row 0 on top, RGB order, straight alpha.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import OpenEXR
import tifffile
from PIL import Image

from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.errors import InvalidRequest
from core_server.jobs.job import ImageEncoding, ImageHeader

_Array = npt.NDArray[Any]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = struct.Struct(">16xIIB")
"""Width, height and bit depth behind the signature and the first chunk's length and name."""
_JPEG_QUALITY = 95
_MOST_SCANS = 100
"""Programs write ten; the two bytes that begin one may stand in a profile or a comment by chance."""
_WEBP_ANIMATION = 0x02
_TIFF_KINDS = {1: (1,), 2: (3, 4)}
"""Channels by photometric interpretation: 1 is grey, 2 is RGB."""
_TIFF_COMPRESSIONS = frozenset({1, 5, 7, 8, 32773, 32946})
"""None, LZW, JPEG, Deflate, PackBits, old Deflate; other decoders would read sizes of their own out of the data."""
_STRAIGHT_ALPHA = 2
_EXR_CHANNELS = {("A", "B", "G", "R"): "RGBA", ("B", "G", "R"): "RGB"}

_WRITABLE = {
    ImageEncoding.PNG: ("uint8", "uint16"),
    ImageEncoding.JPEG: ("uint8",),
    ImageEncoding.WEBP: ("uint8",),
    ImageEncoding.TIFF: ("uint8", "uint16", "float16", "float32"),
    ImageEncoding.EXR: ("float16", "float32"),
}


def read(header: ImageHeader, payload: bytes) -> _Array:
    """Decodes a file that `header` describes. Errors: InvalidRequest if it is broken or differs from the header."""
    with _broken_files_refused(header.encoding):
        array = _READERS[header.encoding](header, payload)
        if array.ndim != 3:
            raise ValueError("its samples do not fill its size")
    height, width, channels = array.shape
    if (width, height) != tuple(header.extent):
        raise _differs(header, f"is {width} x {height} px")
    if channels != header.channels or array.dtype.name != header.dtype:
        raise _differs(header, f"has {channels} channels of {array.dtype.name}")
    return np.ascontiguousarray(array)


def write(pixels: Pixels, encoding: ImageEncoding) -> bytes:
    """Encodes pixels. Errors: InvalidRequest if the format has no room for their sample type or channels."""
    dtype = pixels.array.dtype.name
    if dtype not in _WRITABLE[encoding]:
        raise InvalidRequest(
            "encoding",
            f"{encoding.upper()} cannot hold {dtype} samples; it takes {' or '.join(_WRITABLE[encoding])}. "
            "RAW takes everything.",
            allowed=", ".join(_WRITABLE[encoding]),
        )
    return _WRITERS[encoding](pixels)


def _differs(header: ImageHeader, found: str) -> InvalidRequest:
    width, height = header.extent
    return InvalidRequest(
        "image",
        f"The {header.encoding.upper()} file {found}, its header says {width} x {height} px with "
        f"{header.channels} channels of {header.dtype}; they must agree.",
    )


def _check_size(header: ImageHeader, width: int, height: int) -> None:
    if (width, height) != tuple(header.extent):
        raise _differs(header, f"is {width} x {height} px")


@contextmanager
def _broken_files_refused(encoding: ImageEncoding) -> Iterator[None]:
    try:
        yield
    except (InvalidRequest, MemoryError):
        raise
    except Exception as error:  # decoders raise what they like
        raise InvalidRequest(
            "image",
            f"The {encoding.upper()} file is broken, cut short or of a kind that is not read here "
            f"({str(error).strip() or type(error).__name__}); send the whole file, or RAW samples.",
        ) from error


# --- PNG: Pillow checks the checksums and reads 8 bit; it has no 16 bit colour, OpenCV has


def _read_png(header: ImageHeader, payload: bytes) -> _Array:
    if not payload.startswith(_PNG_SIGNATURE):
        raise ValueError("it is no PNG")
    width, height, depth = _PNG_HEAD.unpack_from(payload)
    _check_size(header, width, height)
    _refuse_png_bombs(header, payload)
    with Image.open(io.BytesIO(payload), formats=["PNG"]) as image:
        image.verify()
    if depth < 16:
        return _read_pillow(header, payload)
    array = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError("it cannot be decoded")
    return _swap_red_and_blue(array)


def _refuse_png_bombs(header: ImageHeader, payload: bytes) -> None:
    """libpng unpacks all compressed pixels, also those that no row has room for; more of them than the picture needs
    even if nothing could be packed only cost time."""
    samples = header.extent.area * 4 * 2 + header.extent.height
    room = samples + samples // 50 + 64 * 1024
    at, packed = len(_PNG_SIGNATURE), 0
    while at + 8 <= len(payload):
        (length,), kind = struct.unpack_from(">I", payload, at), payload[at + 4 : at + 8]
        packed += length if kind == b"IDAT" else 0
        at += 12 + length
    if packed > room:
        raise ValueError("it has more compressed pixels than its size has room for")


def _write_png(pixels: Pixels) -> bytes:
    done, data = cv2.imencode(".png", _swap_red_and_blue(pixels.array))
    if not done:
        raise ValueError("OpenCV could not write the PNG")
    return _with_png_color(data.tobytes(), pixels)


def _with_png_color(png: bytes, pixels: Pixels) -> bytes:
    """Says in the file what its numbers mean; OpenCV does not. Source: PNG 1.2, sections 4.2.2 and 11.3.3."""
    match pixels.color_space:
        case ColorSpace.ICC:
            kind, body = b"iCCP", b"icc\0\0" + zlib.compress(pixels.icc_profile)
        case ColorSpace.SRGB:
            kind, body = b"sRGB", b"\0"
        case ColorSpace.LINEAR_REC709:
            kind, body = b"gAMA", struct.pack(">I", 100_000)
        case ColorSpace.NON_COLOR:
            return png
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    head = len(_PNG_SIGNATURE) + 25  # behind IHDR
    return png[:head] + chunk + png[head:]


def _swap_red_and_blue(array: _Array) -> _Array:
    """RGB(A) to OpenCV's BGR(A) or back; grey stays."""
    if array.ndim == 2:
        return array[..., None]
    code = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(array.shape[2])
    return array if code is None else cv2.cvtColor(array, code)


# --- 8 bit


def _read_jpeg(header: ImageHeader, payload: bytes) -> _Array:
    # Each scan of a progressive file goes over the whole picture: thousands of empty ones fit into little room.
    if payload.count(b"\xff\xda") > _MOST_SCANS:
        raise ValueError("it has more scans than any program writes")
    return _read_pillow(header, payload)


def _read_webp(header: ImageHeader, payload: bytes) -> _Array:
    """Pillow makes room for the whole canvas, twice, before it tells its size."""
    _check_size(header, *_webp_extent(payload))
    return _read_pillow(header, payload)


def _webp_extent(payload: bytes) -> tuple[int, int]:
    """Width and height in px. Source: RFC 9649, sections 2.5 to 2.7."""
    kind, body = payload[12:16], payload[20:30]
    if payload[:4] != b"RIFF" or payload[8:12] != b"WEBP" or len(body) < 10:
        raise ValueError("it is no WebP")
    match kind:
        case b"VP8X" if body[0] & _WEBP_ANIMATION:
            raise ValueError("it is an animation")
        case b"VP8X":
            return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        case b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", body, 6)
            return width & 0x3FFF, height & 0x3FFF
    raise ValueError("it is no WebP")


def _read_pillow(header: ImageHeader, payload: bytes) -> _Array:
    with Image.open(io.BytesIO(payload), formats=[header.encoding.upper()]) as image:
        _check_size(header, *image.size)
        if getattr(image, "n_frames", 1) > 1:
            raise ValueError("it is an animation")
        match image.mode:
            case "L" | "RGB" | "RGBA":
                picture: Image.Image = image
            case "1":
                picture = image.convert("L")
            case "LA" | "PA":
                picture = image.convert("RGBA")
            case "P":
                picture = image.convert("RGBA" if "transparency" in image.info else "RGB")
            case mode:
                raise ValueError(f"its colours are {mode}")
        array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array


def _write_jpeg(pixels: Pixels) -> bytes:
    if pixels.channels == 4:
        raise InvalidRequest(
            "encoding",
            "JPEG cannot hold transparency; ask for PNG or RAW.",
            allowed="1 or 3 channels",
        )
    return _write_pillow(pixels, "JPEG", quality=_JPEG_QUALITY, subsampling=0)


def _write_webp(pixels: Pixels) -> bytes:
    return _write_pillow(pixels, "WEBP", lossless=True, exact=True)


def _write_pillow(pixels: Pixels, name: str, **options: Any) -> bytes:
    array = pixels.array[..., 0] if pixels.channels == 1 else pixels.array
    file = io.BytesIO()
    Image.fromarray(array).save(file, name, icc_profile=pixels.icc_profile or None, **options)
    return file.getvalue()


# --- TIFF


def _read_tiff(header: ImageHeader, payload: bytes) -> _Array:
    with tifffile.TiffFile(io.BytesIO(payload)) as file:
        page = file.pages.first
        _check_size(header, page.imagewidth, page.imagelength)
        if int(page.compression) not in _TIFF_COMPRESSIONS:
            raise ValueError(
                f"its compression is {page.compression!s}; LZW, ZIP, PackBits, JPEG or none is read"
            )
        channels = page.samplesperpixel
        if channels not in _TIFF_KINDS.get(int(page.photometric), ()):
            raise ValueError(f"its colours are {page.photometric.name} with {channels} channels")
        if channels == 4 and int(page.extrasamples[0]) != _STRAIGHT_ALPHA:
            raise ValueError("its alpha is premultiplied or undefined; only straight alpha is read")
        if _has_second_picture(file):
            raise ValueError("it has several pages")
        array: _Array = page.asarray()
        if page.planarconfig == 2 and array.ndim == 3:
            array = np.moveaxis(array, 0, -1)
    return array[..., None] if array.ndim == 2 else array


def _has_second_picture(file: tifffile.TiffFile) -> bool:
    """Beside previews. The chain of pages is not counted: a small file may have millions."""
    try:
        return int(file.pages[1].subfiletype) == 0
    except IndexError:
        return False


def _write_tiff(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels.array[..., 0] if pixels.channels == 1 else pixels.array,
        photometric="minisblack" if pixels.channels == 1 else "rgb",
        extrasamples=["unassalpha"] if pixels.channels == 4 else None,
        compression="zlib",
        iccprofile=pixels.icc_profile or None,
        metadata=None,
    )
    return file.getvalue()


# --- OpenEXR: alpha is premultiplied in the file, as its specification demands


def _read_exr(header: ImageHeader, payload: bytes) -> _Array:
    file = OpenEXR.File(io.BytesIO(payload), header_only=True)
    if len(file.parts) != 1 or len(file.header()["channels"]) > 4:
        raise ValueError("it has several parts or more than four channels")
    low, high = file.header()["dataWindow"]
    width, height = (int(side) + 1 for side in high - low)
    _check_size(header, width, height)
    channels = OpenEXR.File(io.BytesIO(payload), separate_channels=True).channels()
    names = tuple(sorted(channels))
    order = names if len(names) == 1 else _EXR_CHANNELS.get(names)
    if order is None:
        raise ValueError(
            f"its channels are {', '.join(names)}; one, or R, G, B and perhaps A are read"
        )
    array = np.stack([channels[name].pixels for name in order], axis=-1)
    return _divided_by_alpha(array) if len(order) == 4 else array


def _write_exr(pixels: Pixels) -> bytes:
    array = pixels.array
    if pixels.channels == 4:
        array = np.concatenate([array[..., :3] * array[..., 3:], array[..., 3:]], axis=-1)
    names = {1: "Y", 3: "RGB", 4: "RGBA"}[pixels.channels]
    channels = {name: np.ascontiguousarray(array[..., k]) for k, name in enumerate(names)}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    file = io.BytesIO()
    OpenEXR.File(header, channels).write(file)
    return file.getvalue()


def _divided_by_alpha(array: _Array) -> _Array:
    wide = array.astype(np.float32)
    alpha = wide[..., 3:]
    np.divide(wide[..., :3], alpha, out=wide[..., :3], where=alpha != 0)
    return wide.astype(array.dtype)


_READERS: dict[ImageEncoding, Callable[[ImageHeader, bytes], _Array]] = {
    ImageEncoding.PNG: _read_png,
    ImageEncoding.JPEG: _read_jpeg,
    ImageEncoding.WEBP: _read_webp,
    ImageEncoding.TIFF: _read_tiff,
    ImageEncoding.EXR: _read_exr,
}
_WRITERS: dict[ImageEncoding, Callable[[Pixels], bytes]] = {
    ImageEncoding.PNG: _write_png,
    ImageEncoding.JPEG: _write_jpeg,
    ImageEncoding.WEBP: _write_webp,
    ImageEncoding.TIFF: _write_tiff,
    ImageEncoding.EXR: _write_exr,
}
