"""Live sessions: `scumble.v1.PaintRequest` and `PaintResponse`, and what a session takes and gives."""

from __future__ import annotations

import time

import msgspec
from google.protobuf.duration_pb2 import Duration

from core_server.canvas.geometry import Extent
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.jobs.job import ImageEncoding
from core_server.jobs.live_wishes import LiveAnswer, LiveWish
from core_server.pipelines.live_frame import LiveTold
from core_server.pipelines.request import Parameters
from core_server.ranges import COUNT, SKIP_BELOW, STEPS
from core_server.rpc.convert.canvas import from_proto_picture_extent, to_proto_extent
from core_server.rpc.convert.fields import shortest, strength
from core_server.rpc.convert.image import ENCODINGS, from_proto_header, to_proto_header
from core_server.rpc.convert.parameters import from_proto_parameters
from scumble.v1 import image_pb2
from scumble.v1 import live_service_pb2 as messages


async def from_proto_wish(
    message: messages.PaintRequest,
    payload: bytes | memoryview | None,
    before: Parameters | None,
    limits: Limits,
) -> LiveWish:
    """A wish with all but its samples checked. payload: the canvas's; before: the session's settings so far, whose seed
    stays.

    Errors: InvalidRequest.
    """
    arrived = time.monotonic()
    parameters = None
    if message.HasField("parameters"):
        parameters = await _parameters(message, before, limits)
    elif before is None:
        raise InvalidRequest(
            "parameters",
            "The first message of a live session must have parameters.",
            allowed="set",
        )
    header = extent = encoding = None
    if message.HasField("canvas"):
        header = from_proto_header(message.canvas.header, "canvas.header", limits)
    if message.HasField("extent"):
        extent = from_proto_picture_extent(message.extent, "extent", limits)
    if message.encoding:
        encoding = ImageEncoding(ENCODINGS.from_proto(message.encoding, "encoding"))
    return LiveWish(
        number=message.frame_number,
        parameters=parameters,
        strength=strength(message, "", 0.0) if message.HasField("strength") else None,
        extent=extent,
        encoding=encoding,
        skip_below=SKIP_BELOW.check(shortest(message.skip_below), "skip_below")
        if message.HasField("skip_below")
        else None,
        header=header,
        payload=payload if header is not None else None,
        arrived=arrived,
    )


async def _parameters(
    message: messages.PaintRequest, before: Parameters | None, limits: Limits
) -> Parameters:
    parameters = await from_proto_parameters(
        message.parameters, "parameters", limits, _no_images, prompt_needed=False
    )
    if parameters.num_inference_steps is not None:
        most = STEPS.up_to(limits.max_live_steps).called("The number of steps of a live picture")
        most.check(parameters.num_inference_steps, "parameters.num_inference_steps")
    one = COUNT.up_to(1).called("The number of variations while painting live")
    one.check(parameters.count, "parameters.count")
    for name in ("guidance_end", "block_cache"):
        if message.parameters.HasField(name):
            raise InvalidRequest(
                f"parameters.{name}",
                f"Live painting has no {name}: its few steps leave nothing to leave out; leave it out.",
                allowed="unset",
            )
    if message.parameters.denoiser_precision:
        raise InvalidRequest(
            "parameters.denoiser_precision",
            "Live painting has no denoiser_precision: its pictures are too small to gain by it; leave it out.",
            allowed="unset",
        )
    if before is not None and not message.parameters.HasField("seed"):
        parameters = msgspec.structs.replace(parameters, seed=before.seed)
    return parameters


async def _no_images(source: image_pb2.ImageSource, field: str) -> str:
    raise InvalidRequest(
        field,
        "Live painting takes no control or reference images; ask for single pictures with CreateJob.",
        allowed="unset",
    )


def to_proto_answer(answer: LiveAnswer) -> messages.PaintResponse:
    """What the client gets, but for the picture's samples."""
    message = messages.PaintResponse(
        frame_number=answer.wish.number,
        latency=_duration(answer.seconds),
        skipped=answer.skipped,
        waiting=bool(answer.message),
        message=answer.message,
        frames_dropped=answer.dropped,
        frames_per_second=answer.rate,
    )
    if answer.header is not None:
        message.image.header.CopyFrom(to_proto_header(answer.header))
        message.painting.CopyFrom(_duration(answer.painting))
    if answer.told is not None:
        message.settings.CopyFrom(_settings(answer.wish, answer.told))
    return message


def _settings(wish: LiveWish, told: LiveTold) -> messages.LiveSettings:
    assert wish.parameters is not None
    return messages.LiveSettings(
        model=told.model,
        num_inference_steps=told.num_inference_steps,
        strength=wish.strength or 0.0,
        guidance_scale=told.guidance_scale,
        scheduler=told.scheduler,
        seed=wish.parameters.seed,
        model_extent=to_proto_extent(Extent(*told.model_extent)),
        few_step=told.few_step,
        notes=told.notes,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
