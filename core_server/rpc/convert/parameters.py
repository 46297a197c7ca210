"""The settings that all tasks share: `scumble.v1.GenerationParameters` and our `Parameters`."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from core_server.config import Limits
from core_server.pipelines.request import (
    Adapter,
    AdapterKind,
    ControlImage,
    ControlKind,
    DenoiserPrecision,
    Parameters,
    ReferenceImage,
    StructureStart,
)
from core_server.ranges import (
    ADAPTER_WEIGHT,
    ADAPTERS,
    BLOCK_CACHE,
    CONTROL_IMAGES,
    CONTROL_WEIGHT,
    COUNT,
    GUIDANCE,
    GUIDANCE_END,
    REFERENCE_IMAGES,
    REFERENCE_WEIGHT,
    STEPS,
    Range,
)
from core_server.rpc.convert.canvas import SEAMLESS
from core_server.rpc.convert.fields import (
    MAX_NAME_CHARS,
    EnumTable,
    needed,
    shortest,
    text,
)
from scumble.v1 import generation_pb2, image_pb2

ImageResolver = Callable[[image_pb2.ImageSource, str], Awaitable[str]]
"""Called with an image source and its field path: stores the image if need be and returns its id."""

DRAWN_SEED_BITS = 32
"""Seeds drawn here are short enough to be read out; clients may give any of 64 bit."""

ADAPTER_KINDS = EnumTable(generation_pb2.AdapterKind, "ADAPTER_KIND_", AdapterKind)
STRUCTURES = EnumTable(
    generation_pb2.StructureStart, "STRUCTURE_START_", StructureStart, StructureStart.AUTO
)
PRECISIONS = EnumTable(generation_pb2.DenoiserPrecision, "DENOISER_PRECISION_", DenoiserPrecision)
CONTROL_KINDS = EnumTable(generation_pb2.ControlKind, "CONTROL_KIND_", ControlKind)


async def from_proto_parameters(
    message: generation_pb2.GenerationParameters,
    field: str,
    limits: Limits,
    resolve: ImageResolver,
    *,
    prompt_needed: bool,
) -> Parameters:
    """The shared settings; a seed is drawn if there is none. `field`: path of the settings themselves.

    Everything that costs nothing is checked before an image is resolved. Errors: InvalidRequest, ImageNotFound.
    """
    at = f"{field}."
    prompt_chars = limits.max_prompt_chars
    steps = guidance = None
    if message.HasField("num_inference_steps"):
        most = STEPS.up_to(limits.max_steps)
        steps = most.check(message.num_inference_steps, f"{at}num_inference_steps")
    if message.HasField("guidance_scale"):
        guidance = GUIDANCE.check(shortest(message.guidance_scale), f"{at}guidance_scale")
    count = message.count if message.HasField("count") else 1
    checked = Parameters(
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
        count=COUNT.up_to(limits.max_count).check(count, f"{at}count"),
        seamless=SEAMLESS.from_proto(message.seamless, f"{at}seamless"),
        adapters=_adapters(message, f"{at}adapters"),
        style=text(message.style, f"{at}style", "The style's name", MAX_NAME_CHARS),
        structure=STRUCTURES.from_proto(message.structure, f"{at}structure"),
        few_step=message.few_step if message.HasField("few_step") else None,
        guidance_end=_number(message, "guidance_end", at, GUIDANCE_END, 1.0),
        block_cache=_number(message, "block_cache", at, BLOCK_CACHE, 0.0),
        denoiser_precision=PRECISIONS.from_proto(
            message.denoiser_precision, f"{at}denoiser_precision"
        )
        if message.denoiser_precision
        else None,
    )
    controls = _controls(message, f"{at}control_images")
    references = _references(message, f"{at}reference_images")
    return Parameters(
        **{name: getattr(checked, name) for name in checked.__struct_fields__}
        | {
            "control_images": tuple(
                [
                    ControlImage(
                        kind=kind,
                        image=await resolve(it.image, f"{at}control_images[{k}].image"),
                        weight=weight,
                    )
                    for k, (it, kind, weight) in enumerate(controls)
                ]
            ),
            "reference_images": tuple(
                [
                    ReferenceImage(
                        image=await resolve(it.image, f"{at}reference_images[{k}].image"),
                        weight=weight,
                    )
                    for k, (it, weight) in enumerate(references)
                ]
            ),
        }
    )


def to_proto_parameters(parameters: Parameters) -> generation_pb2.GenerationParameters:
    """What GetJob reports: images by id."""
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
        adapters=[
            generation_pb2.Adapter(
                kind=ADAPTER_KINDS.to_proto(it.kind), name=it.name, weight=it.weight
            )
            for it in parameters.adapters
        ],
        control_images=[
            generation_pb2.ControlImage(
                kind=CONTROL_KINDS.to_proto(it.kind),
                image=image_pb2.ImageSource(image_id=it.image),
                weight=it.weight,
            )
            for it in parameters.control_images
        ],
        reference_images=[
            generation_pb2.ReferenceImage(
                image=image_pb2.ImageSource(image_id=it.image), weight=it.weight
            )
            for it in parameters.reference_images
        ],
        style=parameters.style,
        structure=STRUCTURES.to_proto(parameters.structure),
        few_step=parameters.few_step,
        guidance_end=parameters.guidance_end if parameters.guidance_end < 1 else None,
        block_cache=parameters.block_cache or None,
        denoiser_precision=PRECISIONS.to_proto(parameters.denoiser_precision)
        if parameters.denoiser_precision
        else generation_pb2.DENOISER_PRECISION_UNSPECIFIED,
    )


def _adapters(message: generation_pb2.GenerationParameters, field: str) -> tuple[Adapter, ...]:
    ADAPTERS.check(len(message.adapters), field)
    found = []
    for index, it in enumerate(message.adapters):
        at = f"{field}[{index}]."
        found.append(
            Adapter(
                kind=ADAPTER_KINDS.from_proto(it.kind, f"{at}kind"),
                name=text(it.name, f"{at}name", "The adapter's name", MAX_NAME_CHARS, needed=True),
                weight=_weight(it, at, ADAPTER_WEIGHT, 1.0),
            )
        )
    return tuple(found)


def _controls(
    message: generation_pb2.GenerationParameters, field: str
) -> list[tuple[generation_pb2.ControlImage, ControlKind, float]]:
    CONTROL_IMAGES.check(len(message.control_images), field)
    found = []
    for index, it in enumerate(message.control_images):
        at = f"{field}[{index}]."
        kind = CONTROL_KINDS.from_proto(it.kind, f"{at}kind")
        needed(it, "image", at, "The control image")
        found.append((it, kind, _weight(it, at, CONTROL_WEIGHT, 1.0)))
    return found


def _references(
    message: generation_pb2.GenerationParameters, field: str
) -> list[tuple[generation_pb2.ReferenceImage, float]]:
    REFERENCE_IMAGES.check(len(message.reference_images), field)
    found = []
    for index, it in enumerate(message.reference_images):
        at = f"{field}[{index}]."
        needed(it, "image", at, "The reference image")
        found.append((it, _weight(it, at, REFERENCE_WEIGHT, 0.6)))
    return found


def _number(
    message: generation_pb2.GenerationParameters, name: str, at: str, allowed: Range, default: float
) -> float:
    if not message.HasField(name):  # type: ignore[arg-type]
        return default
    return allowed.check(shortest(getattr(message, name)), f"{at}{name}")


def _weight(
    message: generation_pb2.Adapter | generation_pb2.ControlImage | generation_pb2.ReferenceImage,
    at: str,
    allowed: Range,
    default: float,
) -> float:
    if not message.HasField("weight"):
        return default
    return allowed.check(shortest(message.weight), f"{at}weight")
