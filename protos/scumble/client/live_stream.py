"""The call that paints live, packed and unpacked without protobuf's copies of the samples (`scumble.frames`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scumble import frames
from scumble.v1 import live_service_pb2 as messages

if TYPE_CHECKING:
    import grpc

_METHOD = f"/{messages.DESCRIPTOR.services_by_name['LiveService'].full_name}/Paint"
_CANVAS, _IMAGE = (
    messages.PaintRequest.CANVAS_FIELD_NUMBER,
    messages.PaintResponse.IMAGE_FIELD_NUMBER,
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A request. samples: of its canvas, which the message has without them."""

    message: messages.PaintRequest
    samples: memoryview | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. samples: of its image, a view of what gRPC received."""

    message: messages.PaintResponse
    samples: bytes | memoryview


def paint(channel: grpc.Channel) -> grpc.StreamStreamMultiCallable[Frame, Answer]:
    """`LiveService.Paint`."""
    return channel.stream_stream(_METHOD, _pack, _unpack)


def _pack(frame: Frame) -> bytes:
    message = frame.message.SerializeToString()
    return message if frame.samples is None else frames.packed(message, _CANVAS, frame.samples)


def _unpack(data: bytes) -> Answer:
    taken = frames.unpacked(data, _IMAGE)
    if taken is not None:
        return Answer(messages.PaintResponse.FromString(taken[0]), taken[1])
    message = messages.PaintResponse.FromString(data)
    return Answer(message, message.image.payload)
