"""Images: headers and the places where a request may have its pixels."""

from __future__ import annotations

from enum import StrEnum

from scumble.v1 import image_pb2

from core_server.canvas.pixels import ColorSpace
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs.job import ImageEncoding, ImageHeader
from core_server.rpc.convert.canvas import from_proto_picture_extent, to_proto_extent
from core_server.rpc.convert.fields import EnumTable, needed

MAX_ICC_BYTES = 4 * 1024 * 1024
CHANNELS = (1, 3, 4)


class _SampleType(StrEnum):
    """The names on the wire; a header holds numpy's."""

    U8 = "u8"
    U16 = "u16"
    F16 = "f16"
    F32 = "f32"


DTYPES = {
    _SampleType.U8: "uint8",
    _SampleType.U16: "uint16",
    _SampleType.F16: "float16",
    _SampleType.F32: "float32",
}
SAMPLE_BYTES = {"uint8": 1, "uint16": 2, "float16": 2, "float32": 4}
_SAMPLE_TYPES = EnumTable(image_pb2.SampleType, "SAMPLE_TYPE_", _SampleType)
_SAMPLE_TYPE_OF = {dtype: member for member, dtype in DTYPES.items()}
COLOR_SPACES = EnumTable(image_pb2.ColorSpace, "COLOR_SPACE_", ColorSpace)
ENCODINGS = EnumTable(image_pb2.ImageEncoding, "IMAGE_ENCODING_", ImageEncoding)


def to_proto_header(header: ImageHeader) -> image_pb2.ImageHeader:
    """Same meaning."""
    return image_pb2.ImageHeader(
        extent=to_proto_extent(header.extent),
        channels=header.channels,
        sample_type=_SAMPLE_TYPES.to_proto(_SAMPLE_TYPE_OF[header.dtype]),
        color_space=COLOR_SPACES.to_proto(header.color_space),
        icc_profile=header.icc_profile,
        encoding=ENCODINGS.to_proto(header.encoding),
    )


def from_proto_header(message: image_pb2.ImageHeader, field: str, limits: Limits) -> ImageHeader:
    """A header within the limits. `field`: path of the header itself."""
    at = f"{field}."
    extent = from_proto_picture_extent(
        needed(message, "extent", at, "The image's size"), f"{at}extent", limits
    )
    if message.channels not in CHANNELS:
        raise InvalidRequest(
            f"{at}channels",
            f"The image has {message.channels} channels; 1 (grey or mask), 3 (RGB) and 4 (RGBA) are allowed.",
            allowed="1, 3, 4",
        )
    color_space = COLOR_SPACES.from_proto(message.color_space, f"{at}color_space")
    _check_profile(message.icc_profile, color_space, f"{at}icc_profile")
    return ImageHeader(
        extent=extent,
        channels=message.channels,
        dtype=DTYPES[_SAMPLE_TYPES.from_proto(message.sample_type, f"{at}sample_type")],
        color_space=color_space,
        icc_profile=message.icc_profile,
        encoding=ENCODINGS.from_proto(message.encoding, f"{at}encoding"),
    )


def payload_bytes(header: ImageHeader) -> int | None:
    """Bytes a payload must have; None for encoded ones, whose size only the file knows."""
    if header.encoding is not ImageEncoding.RAW:
        return None
    return header.extent.area * header.channels * SAMPLE_BYTES[header.dtype]


def to_proto_image(header: ImageHeader, payload: bytes) -> image_pb2.ImageData:
    """A small image in one message."""
    return image_pb2.ImageData(header=to_proto_header(header), payload=payload)


def _check_profile(profile: bytes, color_space: ColorSpace, field: str) -> None:
    if len(profile) > MAX_ICC_BYTES:
        raise InvalidRequest(
            field,
            f"The ICC profile has {len(profile)} bytes; at most {MAX_ICC_BYTES} are allowed.",
            allowed=f"at most {MAX_ICC_BYTES} bytes",
        )
    if bool(profile) != (color_space is ColorSpace.ICC):
        state = "comes with an image" if profile else "is missing from an image"
        space = "is not ICC" if profile else "is ICC"
        raise InvalidRequest(
            field,
            f"The ICC profile {state} whose colour space {space}; "
            "a profile belongs to colour space ICC and to no other.",
            allowed="set exactly when color_space is COLOR_SPACE_ICC",
        )
