"""Requests: `scumble.v1.Generation` and the task values the worker understands."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Never

import msgspec

from core_server.canvas.plan import SeamlessAxes
from core_server.config import Limits
from core_server.errors import InvalidRequest, NotImplementedHere
from core_server.pipelines.request import (
    ImageToImage,
    Inpaint,
    Parameters,
    Request,
    TextToImage,
    Texture,
)
from core_server.rpc.convert.canvas import (
    SEAMLESS,
    from_proto_options,
    from_proto_picture_extent,
    from_proto_plan,
    to_proto_extent,
    to_proto_options,
    to_proto_plan,
)
from core_server.rpc.convert.fields import (
    MAX_NAME_CHARS,
    needed,
    real,
    shortest,
    strength,
    text,
    whole,
)
from scumble.v1 import canvas_pb2, generation_pb2, image_pb2

ImageResolver = Callable[[image_pb2.ImageSource, str], Awaitable[str]]
"""Called with an image source and its field path: stores the image if need be and returns its id."""

MAX_GUIDANCE = 50.0
IMAGE_TO_IMAGE_STRENGTH = 0.6
INPAINT_STRENGTH = 1.0
DRAWN_SEED_BITS = 32
"""Seeds drawn here are short enough to be read out; clients may give any of 64 bit."""

TASKS = ("text_to_image", "image_to_image", "inpaint", "texture")
"""What this version can do, by the field names of Generation.task."""

_LATER_TASKS = {
    "outpaint": "continue a picture beyond its border (outpaint)",
    "material_maps": "make material maps from a picture (material_maps)",
    "upscale": "enlarge a picture (upscale)",
    "project": "paint what a camera sees (project)",
}


async def from_proto_generation(
    message: generation_pb2.Generation, field: str, limits: Limits, resolve: ImageResolver
) -> Request:
    """A request with everything but its images checked; a seed is drawn if there is none.

    Everything that costs nothing is checked before an image is resolved.
    Errors: InvalidRequest, ImageNotFound, NotImplementedHere.
    """
    task = message.WhichOneof("task")
    if task is None:
        raise InvalidRequest(
            field,
            f"The request names no task; set one of {', '.join(TASKS)}.",
            allowed=", ".join(TASKS),
        )
    if task in _LATER_TASKS:
        _later(f"{_LATER_TASKS[task]}; it can do {', '.join(TASKS)}")
    parameters = from_proto_parameters(
        message.parameters,
        f"{field}.parameters",
        limits,
        prompt_needed=task in ("text_to_image", "texture"),
    )
    at = f"{field}.{task}."
    match task:
        case "text_to_image":
            size = needed(message.text_to_image, "extent", at, "The picture's size")
            extent = from_proto_picture_extent(size, f"{at}extent", limits)
            return TextToImage(parameters=parameters, extent=extent)
        case "image_to_image":
            return await _image_to_image(message.image_to_image, at, parameters, resolve)
        case "inpaint":
            return await _inpaint(message.inpaint, at, parameters, limits, resolve)
        case _:
            unset = message.parameters.seamless == canvas_pb2.SEAMLESS_AXES_UNSPECIFIED
            return _texture(message.texture, at, parameters, limits, unset_seamless=unset)


def from_proto_parameters(
    message: generation_pb2.GenerationParameters, field: str, limits: Limits, *, prompt_needed: bool
) -> Parameters:
    """The shared settings. `field`: path of the settings themselves."""
    at = f"{field}."
    if message.adapters:
        _later("use LoRA or textual inversion (parameters.adapters)")
    if message.control_images:
        _later("use control images (parameters.control_images)")
    if message.reference_images:
        _later("use reference images (parameters.reference_images)")
    if message.style:
        _later("use styles (parameters.style)")
    prompt_chars = limits.max_prompt_chars
    steps = guidance = None
    if message.HasField("num_inference_steps"):
        steps = whole(
            message.num_inference_steps,
            f"{at}num_inference_steps",
            "The number of denoising steps",
            1,
            limits.max_steps,
        )
    if message.HasField("guidance_scale"):
        guidance = real(
            shortest(message.guidance_scale),
            f"{at}guidance_scale",
            "The guidance scale",
            0,
            MAX_GUIDANCE,
        )
    count = message.count if message.HasField("count") else 1
    return Parameters(
        prompt=text(
            message.prompt, f"{at}prompt", "The prompt", prompt_chars, needed=prompt_needed
        ),
        negative_prompt=text(
            message.negative_prompt, f"{at}negative_prompt", "The negative prompt", prompt_chars
        ),
        model=text(message.model, f"{at}model", "The model's name", MAX_NAME_CHARS),
        num_inference_steps=steps,
        guidance_scale=guidance,
        scheduler=text(message.scheduler, f"{at}scheduler", "The scheduler's name", MAX_NAME_CHARS),
        seed=message.seed if message.HasField("seed") else secrets.randbits(DRAWN_SEED_BITS),
        count=whole(count, f"{at}count", "The number of variations", 1, limits.max_count),
        seamless=SEAMLESS.from_proto(message.seamless, f"{at}seamless"),
    )


async def _image_to_image(
    message: generation_pb2.ImageToImageTask,
    at: str,
    parameters: Parameters,
    resolve: ImageResolver,
) -> ImageToImage:
    value = strength(message, at, IMAGE_TO_IMAGE_STRENGTH)
    source = needed(message, "image", at, "The picture to repaint")
    image = await resolve(source, f"{at}image")
    return ImageToImage(parameters=parameters, image=image, strength=value)


async def _inpaint(
    message: generation_pb2.InpaintTask,
    at: str,
    parameters: Parameters,
    limits: Limits,
    resolve: ImageResolver,
) -> Inpaint:
    value = strength(message, at, INPAINT_STRENGTH)
    plan = from_proto_plan(message.plan, f"{at}plan", limits) if message.HasField("plan") else None
    options = from_proto_options(message.options, f"{at}options")
    image_source = needed(message, "image", at, "The picture")
    selection_source = needed(message, "selection", at, "The selection")
    image = await resolve(image_source, f"{at}image")
    selection = await resolve(selection_source, f"{at}selection")
    return Inpaint(
        parameters=parameters,
        image=image,
        selection=selection,
        strength=value,
        plan=plan,
        options=options,
    )


def _texture(
    message: generation_pb2.TextureTask,
    at: str,
    parameters: Parameters,
    limits: Limits,
    *,
    unset_seamless: bool,
) -> Texture:
    """A texture tiles: where nothing is said about its axes, along both."""
    wrapper = generation_pb2.MaterialMap
    for index, number in enumerate(message.maps):
        if number not in wrapper.values() or number == generation_pb2.MATERIAL_MAP_UNSPECIFIED:
            allowed = ", ".join(wrapper.keys()[1:])
            raise InvalidRequest(
                f"{at}maps[{index}]",
                f"There is no material map number {number}; use one of {allowed}.",
                allowed=allowed,
            )
        if number != generation_pb2.MATERIAL_MAP_BASE_COLOR:
            _later("make maps other than the base colour of a texture (texture.maps)")
    size = needed(message, "extent", at, "The texture's size")
    if unset_seamless:
        parameters = msgspec.structs.replace(parameters, seamless=SeamlessAxes.XY)
    return Texture(
        parameters=parameters,
        extent=from_proto_picture_extent(size, f"{at}extent", limits),
        maps=tuple(map_name(number) for number in message.maps),
    )


def map_name(number: generation_pb2.MaterialMap.ValueType) -> str:
    """Such as "base_color"."""
    return generation_pb2.MaterialMap.Name(number).removeprefix("MATERIAL_MAP_").lower()


def map_number(name: str) -> generation_pb2.MaterialMap.ValueType:
    """The reverse of `map_name`; "" is unspecified."""
    if not name:
        return generation_pb2.MATERIAL_MAP_UNSPECIFIED
    return generation_pb2.MaterialMap.Value(f"MATERIAL_MAP_{name.upper()}")


def to_proto_generation(request: Request) -> generation_pb2.Generation:
    """What GetJob reports: images by id, the seed that was drawn."""
    message = generation_pb2.Generation(parameters=_to_proto_parameters(request.parameters))
    match request:
        case TextToImage():
            message.text_to_image.extent.CopyFrom(to_proto_extent(request.extent))
        case ImageToImage():
            message.image_to_image.image.image_id = request.image
            message.image_to_image.strength = request.strength
        case Inpaint():
            message.inpaint.image.image_id = request.image
            message.inpaint.selection.image_id = request.selection
            message.inpaint.strength = request.strength
            if request.plan is not None:
                message.inpaint.plan.CopyFrom(to_proto_plan(request.plan))
            message.inpaint.options.CopyFrom(to_proto_options(request.options))
        case Texture():
            message.texture.extent.CopyFrom(to_proto_extent(request.extent))
            message.texture.maps.extend(map_number(name) for name in request.maps)
    return message


def _to_proto_parameters(parameters: Parameters) -> generation_pb2.GenerationParameters:
    return generation_pb2.GenerationParameters(
        prompt=parameters.prompt,
        negative_prompt=parameters.negative_prompt,
        model=parameters.model,
        num_inference_steps=parameters.num_inference_steps,
        guidance_scale=parameters.guidance_scale,
        scheduler=parameters.scheduler,
        seed=parameters.seed,
        count=parameters.count,
        seamless=SEAMLESS.to_proto(parameters.seamless),
        style=parameters.style,
    )


def _later(what: str) -> Never:
    raise NotImplementedHere(f"This version of the server cannot {what}.")
