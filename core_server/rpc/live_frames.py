"""Frames of live sessions are packed and unpacked without protobuf's copies of their samples (`scumble.frames`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scumble import frames
from scumble.v1 import live_service_pb2 as messages

_METHOD = f"/{messages.DESCRIPTOR.services_by_name['LiveService'].full_name}/Paint"
_CANVAS, _IMAGE = (
    messages.PaintRequest.CANVAS_FIELD_NUMBER,
    messages.PaintResponse.IMAGE_FIELD_NUMBER,
)


@dataclass(frozen=True, slots=True)
class Request:
    """A `PaintRequest`. payload: of its canvas, as the client sent it, in the place of the message's own; None: it has
    no canvas."""

    message: messages.PaintRequest
    payload: bytes | memoryview | None


@dataclass(frozen=True, slots=True)
class Response:
    """A `PaintResponse`. payload: of its image, which has none in the message; None: it has no image."""

    message: messages.PaintResponse
    payload: bytes | memoryview | None


def request_deserializer(
    method: str, otherwise: Callable[[bytes], Any] | None
) -> Callable[[bytes], Any] | None:
    """For a method's requests; `otherwise` for all that are no frames."""
    if method != _METHOD or otherwise is None:
        return otherwise

    def decode(data: bytes) -> Request:
        taken = frames.unpacked(data, _CANVAS)
        if taken is not None:
            return Request(otherwise(taken[0]), taken[1])
        message = otherwise(data)
        return Request(message, message.canvas.payload if message.HasField("canvas") else None)

    return decode


def response_serializer(
    method: str, otherwise: Callable[[Any], bytes] | None
) -> Callable[[Any], bytes] | None:
    """For a method's responses; `otherwise` for all that are no frames."""
    if method != _METHOD or otherwise is None:
        return otherwise

    def encode(answer: Response) -> bytes:
        packed = otherwise(answer.message)
        return packed if answer.payload is None else frames.packed(packed, _IMAGE, answer.payload)

    return encode
