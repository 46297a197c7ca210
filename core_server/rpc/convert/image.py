"""Images: headers and the places where a request may have its pixels."""

from __future__ import annotations

from enum import StrEnum

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace
from core_server.config import Limits
from core_server.jobs.codec import check_header
from core_server.jobs.job import ImageEncoding, ImageHeader
from core_server.rpc.convert.canvas import to_proto_extent
from core_server.rpc.convert.fields import EnumTable, needed, renamed_fields
from scumble.v1 import image_pb2


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
    extent = needed(message, "extent", at, "The image's size")
    header = ImageHeader(
        extent=Extent(extent.width, extent.height),
        channels=message.channels,
        dtype=DTYPES[_SAMPLE_TYPES.from_proto(message.sample_type, f"{at}sample_type")],
        color_space=COLOR_SPACES.from_proto(message.color_space, f"{at}color_space"),
        icc_profile=message.icc_profile,
        encoding=ENCODINGS.from_proto(message.encoding, f"{at}encoding"),
    )
    with renamed_fields({"header": field}):
        check_header(header, limits)
    return header


def payload_bytes(header: ImageHeader) -> int | None:
    """Bytes a payload must have; None for encoded ones, whose size only the file knows."""
    if header.encoding is not ImageEncoding.RAW:
        return None
    return header.extent.area * header.channels * SAMPLE_BYTES[header.dtype]


def to_proto_image(header: ImageHeader, payload: bytes) -> image_pb2.ImageData:
    """A small image in one message."""
    return image_pb2.ImageData(header=to_proto_header(header), payload=payload)
