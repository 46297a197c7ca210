"""From a request value to the message that travels, with its images inside it or ahead of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scumble.client.convert import (
    enum_to_message,
    extent_to_message,
    header_to_message,
    options_to_message,
    plan_to_message,
)
from scumble.client.errors import InvalidRequest
from scumble.client.pixels import Pixels
from scumble.client.requests import (
    ImageLike,
    ImageToImage,
    Inpaint,
    Live,
    MaterialMaps,
    Outpaint,
    Project,
    Request,
    TextToImage,
    Texture,
    Upscale,
)
from scumble.client.sendable import check_sendable
from scumble.client.values import Extent
from scumble.v1 import canvas_pb2, generation_pb2, image_pb2


def generation_to_message(
    request: Request, upload: Callable[[Pixels], str], inline_bytes: int
) -> generation_pb2.Generation:
    """The message for a request. Images above `inline_bytes` are uploaded first, through `upload`.

    Raises InvalidRequest for what the message cannot hold, and what `upload` raises.
    """

    def source(image: ImageLike) -> image_pb2.ImageSource:
        if isinstance(image, str):
            return image_pb2.ImageSource(image_id=image)
        if image.view.nbytes > inline_bytes:
            return image_pb2.ImageSource(image_id=upload(image))
        data = image_pb2.ImageData(header=header_to_message(image), payload=image.tobytes())
        return image_pb2.ImageSource(data=data)

    def maybe(image: ImageLike | None) -> image_pb2.ImageSource | None:
        return None if image is None else source(image)

    generation = generation_pb2.Generation(parameters=parameters_to_message(request, source))
    match request:
        case TextToImage():
            extent = extent_to_message(Extent(request.width, request.height))
            generation.text_to_image.CopyFrom(generation_pb2.TextToImageTask(extent=extent))
        case Texture():
            generation.texture.CopyFrom(
                generation_pb2.TextureTask(
                    extent=extent_to_message(Extent(request.width, request.height)),
                    maps=_maps(request.maps),
                    height_sample_type=_sample_type(request.height_sample_type),
                )
            )
        case ImageToImage():
            generation.image_to_image.CopyFrom(
                generation_pb2.ImageToImageTask(
                    image=source(request.image), strength=request.strength
                )
            )
        case Inpaint():
            generation.inpaint.CopyFrom(
                generation_pb2.InpaintTask(
                    image=source(request.image),
                    selection=source(request.selection),
                    strength=request.strength,
                    plan=None if request.plan is None else plan_to_message(request.plan),
                    options=options_to_message(request.options),
                )
            )
        case Outpaint():
            generation.outpaint.CopyFrom(
                generation_pb2.OutpaintTask(
                    image=source(request.image),
                    left=request.left,
                    right=request.right,
                    top=request.top,
                    bottom=request.bottom,
                    strength=request.strength,
                    fill=enum_to_message(canvas_pb2.FillMode, "FILL_MODE", request.fill),
                )
            )
        case MaterialMaps():
            generation.material_maps.CopyFrom(
                generation_pb2.MaterialMapsTask(
                    image=source(request.image),
                    maps=_maps(request.maps),
                    height_sample_type=_sample_type(request.height_sample_type),
                )
            )
        case Upscale():
            generation.upscale.CopyFrom(
                generation_pb2.UpscaleTask(
                    image=source(request.image), factor=request.factor, strength=request.strength
                )
            )
        case Project():
            generation.project.CopyFrom(
                generation_pb2.ProjectTask(
                    depth=source(request.depth),
                    image=maybe(request.image),
                    normals=maybe(request.normals),
                    mask=maybe(request.mask),
                    strength=request.strength,
                )
            )
    return generation


def _maps(names: Iterable[str]) -> list[generation_pb2.MaterialMap.ValueType]:
    return [enum_to_message(generation_pb2.MaterialMap, "MATERIAL_MAP", name) for name in names]


def _sample_type(name: str) -> image_pb2.SampleType.ValueType:
    number: image_pb2.SampleType.ValueType = enum_to_message(
        image_pb2.SampleType, "SAMPLE_TYPE", name
    )
    return number


def parameters_to_message(
    request: Request | Live, source: Callable[[ImageLike], image_pb2.ImageSource]
) -> generation_pb2.GenerationParameters:
    """The settings that all requests share. source: makes images ready to travel. Raises InvalidRequest."""
    check_sendable(request)
    try:
        return generation_pb2.GenerationParameters(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            model=request.model,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            scheduler=request.scheduler,
            seed=request.seed,
            count=request.count,
            seamless=enum_to_message(canvas_pb2.SeamlessAxes, "SEAMLESS_AXES", request.seamless),
            adapters=[
                generation_pb2.Adapter(
                    kind=enum_to_message(generation_pb2.AdapterKind, "ADAPTER_KIND", adapter.kind),
                    name=adapter.name,
                    weight=adapter.weight,
                )
                for adapter in request.adapters
            ],
            control_images=[
                generation_pb2.ControlImage(
                    kind=enum_to_message(generation_pb2.ControlKind, "CONTROL_KIND", control.kind),
                    image=source(control.image),
                    weight=control.weight,
                )
                for control in request.control_images
            ],
            reference_images=[
                generation_pb2.ReferenceImage(
                    image=source(reference.image), weight=reference.weight
                )
                for reference in request.reference_images
            ],
            style=request.style,
            structure=enum_to_message(
                generation_pb2.StructureStart, "STRUCTURE_START", request.structure
            ),
            few_step=request.few_step,
            guidance_end=request.guidance_end,
            block_cache=request.block_cache,
            denoiser_precision=enum_to_message(
                generation_pb2.DenoiserPrecision,
                "DENOISER_PRECISION",
                request.denoiser_precision or "auto",
            ),
        )
    except (ValueError, TypeError) as error:
        # protobuf's own words: a text where an adapter's weight belongs, or a prompt that is no Unicode.
        raise InvalidRequest(f"The request cannot be sent: {error}.") from error
