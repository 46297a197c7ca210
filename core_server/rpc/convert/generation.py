"""Requests: `scumble.v1.Generation` and the task values the worker understands."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core_server.canvas.plan import SeamlessAxes
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.pipelines.request import (
    ImageToImage,
    Inpaint,
    MaterialMaps,
    Outpaint,
    Parameters,
    Project,
    Request,
    TextToImage,
    Texture,
    Upscale,
)
from core_server.ranges import STRENGTH_FROM_ZERO, check_factor
from core_server.rpc.convert.canvas import (
    FILL_MODES,
    from_proto_options,
    from_proto_picture_extent,
    from_proto_plan,
    to_proto_extent,
    to_proto_options,
    to_proto_plan,
)
from core_server.rpc.convert.fields import needed, shortest, strength, whole
from core_server.rpc.convert.parameters import (
    ImageResolver,
    from_proto_parameters,
    to_proto_parameters,
)
from scumble.v1 import canvas_pb2, generation_pb2, image_pb2

IMAGE_TO_IMAGE_STRENGTH = 0.6
INPAINT_STRENGTH = 1.0
OUTPAINT_STRENGTH = 0.85
UPSCALE_STRENGTH = 0.3
PROJECT_STRENGTH = 1.0
_HEIGHT_SAMPLE_TYPES = {
    "uint8": image_pb2.SAMPLE_TYPE_U8,
    "uint16": image_pb2.SAMPLE_TYPE_U16,
}
_HEIGHT_DTYPES = {number: name for name, number in _HEIGHT_SAMPLE_TYPES.items()} | {
    image_pb2.SAMPLE_TYPE_UNSPECIFIED: "uint8"
}

TASKS = tuple(field.name for field in generation_pb2.Generation.DESCRIPTOR.oneofs[0].fields)
"""Every task of the contract, by the field names of Generation.task; which of them a model can do, its profile says."""


async def from_proto_generation(
    message: generation_pb2.Generation, field: str, limits: Limits, resolve: ImageResolver
) -> Request:
    """A request with everything but its images checked; a seed is drawn if there is none.

    Errors: InvalidRequest, ImageNotFound.
    """
    task = message.WhichOneof("task")
    if task is None:
        raise InvalidRequest(
            field,
            f"The request names no task; set one of {', '.join(TASKS)}.",
            allowed=", ".join(TASKS),
        )
    parameters = await from_proto_parameters(
        message.parameters,
        f"{field}.parameters",
        limits,
        resolve,
        prompt_needed=task in ("text_to_image", "texture"),
    )
    at = f"{field}.{task}."
    match task:
        case "text_to_image":
            size = needed(message.text_to_image, "extent", at, "The picture's size")
            extent = from_proto_picture_extent(size, f"{at}extent", limits)
            request: Request = TextToImage(parameters=parameters, extent=extent)
        case "image_to_image":
            request = await _image_to_image(message.image_to_image, at, parameters, resolve)
        case "inpaint":
            request = await _inpaint(message.inpaint, at, parameters, limits, resolve)
        case "outpaint":
            request = await _outpaint(message.outpaint, at, parameters, limits, resolve)
        case "material_maps":
            unset = message.parameters.seamless == canvas_pb2.SEAMLESS_AXES_UNSPECIFIED
            request = await _material_maps(
                message.material_maps, at, parameters, resolve, unset_seamless=unset
            )
        case "upscale":
            request = await _upscale(message.upscale, at, parameters, resolve)
        case "project":
            request = await _project(message.project, at, parameters, resolve)
        case _:
            unset = message.parameters.seamless == canvas_pb2.SEAMLESS_AXES_UNSPECIFIED
            request = _texture(message.texture, at, parameters, limits, unset_seamless=unset)
    return request


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
    maps = _map_names(message.maps, f"{at}maps")
    size = needed(message, "extent", at, "The texture's size")
    if unset_seamless:
        parameters = msgspec.structs.replace(parameters, seamless=SeamlessAxes.XY)
    return Texture(
        parameters=parameters,
        extent=from_proto_picture_extent(size, f"{at}extent", limits),
        maps=maps,
        height_dtype=_height_dtype(message.height_sample_type, f"{at}height_sample_type"),
    )


async def _outpaint(
    message: generation_pb2.OutpaintTask,
    at: str,
    parameters: Parameters,
    limits: Limits,
    resolve: ImageResolver,
) -> Outpaint:
    sides = {
        name: whole(
            getattr(message, name), f"{at}{name}", f"What is added {where}", 0, limits.max_side
        )
        for name, where in (
            ("left", "on the left"),
            ("right", "on the right"),
            ("top", "at the top"),
            ("bottom", "at the bottom"),
        )
    }
    if not any(sides.values()):
        raise InvalidRequest(
            at.rstrip("."),
            "Nothing is added on any side; give left, right, top or bottom in px.",
            allowed="at least one of left, right, top, bottom above 0",
        )
    value = strength(message, at, OUTPAINT_STRENGTH)
    fill = FILL_MODES.from_proto(message.fill, f"{at}fill")
    source = needed(message, "image", at, "The picture to continue")
    image = await resolve(source, f"{at}image")
    return Outpaint(parameters=parameters, image=image, strength=value, fill=fill, **sides)


async def _material_maps(
    message: generation_pb2.MaterialMapsTask,
    at: str,
    parameters: Parameters,
    resolve: ImageResolver,
    *,
    unset_seamless: bool,
) -> MaterialMaps:
    """Where nothing is said about its axes, the picture is looked at."""
    maps = _map_names(message.maps, f"{at}maps")
    dtype = _height_dtype(message.height_sample_type, f"{at}height_sample_type")
    source = needed(message, "image", at, "The picture")
    image = await resolve(source, f"{at}image")
    return MaterialMaps(
        parameters=parameters,
        image=image,
        maps=maps,
        height_dtype=dtype,
        axes_from_picture=unset_seamless,
    )


async def _upscale(
    message: generation_pb2.UpscaleTask,
    at: str,
    parameters: Parameters,
    resolve: ImageResolver,
) -> Upscale:
    check_factor(message.factor, f"{at}factor")
    value = UPSCALE_STRENGTH
    if message.HasField("strength"):
        value = STRENGTH_FROM_ZERO.check(shortest(message.strength), f"{at}strength")
    source = needed(message, "image", at, "The picture to enlarge")
    image = await resolve(source, f"{at}image")
    return Upscale(parameters=parameters, image=image, factor=message.factor, strength=value)


async def _project(
    message: generation_pb2.ProjectTask,
    at: str,
    parameters: Parameters,
    resolve: ImageResolver,
) -> Project:
    value = strength(message, at, PROJECT_STRENGTH)
    needed(message, "depth", at, "The depth picture")
    found = {
        name: await resolve(getattr(message, name), f"{at}{name}")
        for name in ("depth", "image", "normals", "mask")
        if message.HasField(name)
    }
    return Project(parameters=parameters, strength=value, **found)


def _map_names(
    numbers: Iterable[generation_pb2.MaterialMap.ValueType], field: str
) -> tuple[str, ...]:
    wrapper = generation_pb2.MaterialMap
    names = []
    for index, number in enumerate(numbers):
        if number not in wrapper.values() or number == generation_pb2.MATERIAL_MAP_UNSPECIFIED:
            allowed = ", ".join(wrapper.keys()[1:])
            raise InvalidRequest(
                f"{field}[{index}]",
                f"There is no material map number {number}; use one of {allowed}.",
                allowed=allowed,
            )
        names.append(map_name(number))
    return tuple(names)


def _height_dtype(number: image_pb2.SampleType.ValueType, field: str) -> str:
    if number in _HEIGHT_DTYPES:
        return _HEIGHT_DTYPES[number]
    allowed = "SAMPLE_TYPE_U8, SAMPLE_TYPE_U16"
    raise InvalidRequest(
        field, f"A height map has 8 or 16 bit; use one of {allowed}.", allowed=allowed
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
    message = generation_pb2.Generation(parameters=to_proto_parameters(request.parameters))
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
            message.texture.height_sample_type = _HEIGHT_SAMPLE_TYPES[request.height_dtype]
        case Outpaint():
            message.outpaint.image.image_id = request.image
            for name in ("left", "right", "top", "bottom"):
                setattr(message.outpaint, name, getattr(request, name))
            message.outpaint.strength = request.strength
            message.outpaint.fill = FILL_MODES.to_proto(request.fill)
        case MaterialMaps():
            _put_material_maps(message, request)
        case Upscale():
            message.upscale.image.image_id = request.image
            message.upscale.factor = request.factor
            message.upscale.strength = request.strength
        case Project():
            for name in ("depth", "image", "normals", "mask"):
                if (image_id := getattr(request, name)) is not None:
                    getattr(message.project, name).image_id = image_id
            message.project.strength = request.strength
    return message


def _put_material_maps(message: generation_pb2.Generation, request: MaterialMaps) -> None:
    task = message.material_maps
    task.image.image_id = request.image
    task.maps.extend(map_number(name) for name in request.maps)
    task.height_sample_type = _HEIGHT_SAMPLE_TYPES[request.height_dtype]
    if request.axes_from_picture:
        message.parameters.seamless = canvas_pb2.SEAMLESS_AXES_UNSPECIFIED
