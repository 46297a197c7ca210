"""The two calls that carry pictures in pieces, packed and unpacked without protobuf's copies (`scumble.chunks`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scumble import chunks
from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import image_pb2

if TYPE_CHECKING:
    import grpc

_SERVICE = f"/{messages.DESCRIPTOR.services_by_name['GenerationService'].full_name}/"

Part = image_pb2.ImageHeader | memoryview
"""Of an upload: the header, then the pieces."""


@dataclass(frozen=True, slots=True)
class DownloadPart:
    """Of a download. header: in the first part. chunk: the next bytes, a view of what gRPC received."""

    header: image_pb2.ImageHeader | None = None
    chunk: bytes | memoryview = b""


def upload_image(
    channel: grpc.Channel,
) -> grpc.StreamUnaryMultiCallable[Part, messages.UploadImageResponse]:
    """`GenerationService.UploadImage`."""
    return channel.stream_unary(
        f"{_SERVICE}UploadImage", _pack, messages.UploadImageResponse.FromString
    )


def download_image(
    channel: grpc.Channel,
) -> grpc.UnaryStreamMultiCallable[messages.DownloadImageRequest, DownloadPart]:
    """`GenerationService.DownloadImage`."""
    return channel.unary_stream(
        f"{_SERVICE}DownloadImage", messages.DownloadImageRequest.SerializeToString, _unpack
    )


def _pack(part: Part) -> bytes:
    if isinstance(part, memoryview):
        return chunks.packed(part)
    return messages.UploadImageRequest(header=part).SerializeToString()


def _unpack(data: bytes) -> DownloadPart:
    piece = chunks.unpacked(data)
    if piece is not None:
        return DownloadPart(chunk=piece)
    message = messages.DownloadImageResponse.FromString(data)
    return DownloadPart(message.header if message.HasField("header") else None, message.chunk)
