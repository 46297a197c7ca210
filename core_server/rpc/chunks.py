"""Pieces of pictures are packed and unpacked without the copies of protobuf's own way (`scumble.chunks`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scumble import chunks
from scumble.v1 import generation_service_pb2 as messages

_SERVICE = f"/{messages.DESCRIPTOR.services_by_name['GenerationService'].full_name}/"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Stands for a message that has a piece of a picture and nothing else. chunk: a view of what gRPC received, or the
    piece to be sent."""

    chunk: bytes | memoryview

    def WhichOneof(self, _: str) -> str:  # noqa: N802 - as the message has it
        """The field that is set."""
        return "chunk"


def request_deserializer(
    method: str, otherwise: Callable[[bytes], Any] | None
) -> Callable[[bytes], Any] | None:
    """For a method's requests; `otherwise` for all that carry no pieces."""
    if method != f"{_SERVICE}UploadImage" or otherwise is None:
        return otherwise

    def decode(data: bytes) -> Any:
        piece = chunks.unpacked(data)
        return otherwise(data) if piece is None else Chunk(piece)

    return decode


def response_serializer(
    method: str, otherwise: Callable[[Any], bytes] | None
) -> Callable[[Any], bytes] | None:
    """For a method's responses; `otherwise` for all that carry no pieces."""
    if method != f"{_SERVICE}DownloadImage" or otherwise is None:
        return otherwise

    def encode(part: Any) -> bytes:
        return chunks.packed(part.chunk) if isinstance(part, Chunk) else otherwise(part)

    return encode
