"""Between the client's values and `scumble.v1` messages, in pairs: `*_to_message` and `*_from_message`."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from scumble.client.catalogue import Model, ModelState, Scheduler
from scumble.client.errors import InternalError, InvalidRequest
from scumble.client.pixels import Pixels
from scumble.client.values import (
    Bounds,
    CacheFigures,
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    ColorSpace,
    DenoiserPrecision,
    Extent,
    FillMode,
    Limits,
    ModelSizing,
    NumberRange,
    SampleType,
    SeamlessAxes,
    ServerInfo,
    WorkerState,
)
from scumble.v1 import canvas_pb2, generation_pb2, image_pb2, model_service_pb2, server_service_pb2

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

E = TypeVar("E", bound=StrEnum)


def enum_to_message(enum: Any, prefix: str, value: StrEnum | str) -> Any:
    """The number of `PREFIX_VALUE`; 0 for "auto". Raises InvalidRequest for names the contract does not have."""
    if value == "auto":
        return 0
    name = f"{prefix}_{value.upper()}"
    names: list[str] = enum.keys()
    if name not in names:
        known = ", ".join(n.removeprefix(f"{prefix}_").lower() for n in names if enum.Value(n))
        field = prefix.lower()
        raise InvalidRequest.about(
            field, f"{str(value)!r} is no {field.replace('_', ' ')}; there are: {known}.", known
        )
    return enum.Value(name)


def enum_from_message(enum: Any, prefix: str, number: int, kind: type[E], default: E) -> E:
    """The member for a number; `default` for 0 and for what only a newer server knows."""
    if number == 0 or number not in enum.values():
        return default
    name = enum.Name(number).removeprefix(f"{prefix}_").lower()
    return kind(name) if name in kind._value2member_map_ else default


def time_from_message(message: Any, field: str) -> datetime | None:
    """A timestamp field as aware UTC time; None if unset."""
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(tzinfo=UTC)


def extent_to_message(extent: Extent) -> image_pb2.Extent:
    """An extent. Raises InvalidRequest beyond 32 bit."""
    try:
        return image_pb2.Extent(width=extent.width, height=extent.height)
    except (ValueError, TypeError) as error:
        raise InvalidRequest.about(
            "extent", f"Width and height are whole numbers of px, not {tuple(extent)}."
        ) from error


def extent_from_message(message: image_pb2.Extent) -> Extent:
    """An extent."""
    return Extent(message.width, message.height)


def bounds_to_message(bounds: Bounds) -> image_pb2.Bounds:
    """A rectangle. Raises InvalidRequest beyond 32 bit."""
    try:
        return image_pb2.Bounds(x=bounds.x, y=bounds.y, width=bounds.width, height=bounds.height)
    except (ValueError, TypeError) as error:
        raise InvalidRequest.about(
            "bounds", f"Bounds are whole numbers of px, not {tuple(bounds)}."
        ) from error


def bounds_from_message(message: image_pb2.Bounds) -> Bounds:
    """A rectangle."""
    return Bounds(message.x, message.y, message.width, message.height)


def header_to_message(pixels: Pixels) -> image_pb2.ImageHeader:
    """Everything about raw pixels but the samples."""
    return image_pb2.ImageHeader(
        extent=extent_to_message(pixels.extent),
        channels=pixels.channels,
        sample_type=enum_to_message(image_pb2.SampleType, "SAMPLE_TYPE", pixels.sample_type),
        color_space=enum_to_message(image_pb2.ColorSpace, "COLOR_SPACE", pixels.color_space),
        icc_profile=pixels.icc_profile,
        encoding=image_pb2.IMAGE_ENCODING_RAW,
    )


def pixels_from_message(
    header: image_pb2.ImageHeader, payload: bytes | bytearray | memoryview
) -> Pixels:
    """Raw pixels. Raises InternalError for packed ones, which this client never asks for."""
    if header.encoding not in (
        image_pb2.IMAGE_ENCODING_RAW,
        image_pb2.IMAGE_ENCODING_UNSPECIFIED,
    ):
        name = image_pb2.ImageEncoding.Name(header.encoding)
        raise InternalError(f"The server sent {name} where raw pixels were asked for.")
    return Pixels(
        payload,
        header.extent.width,
        header.extent.height,
        header.channels,
        enum_from_message(
            image_pb2.SampleType, "SAMPLE_TYPE", header.sample_type, SampleType, SampleType.U8
        ),
        enum_from_message(
            image_pb2.ColorSpace, "COLOR_SPACE", header.color_space, ColorSpace, ColorSpace.SRGB
        ),
        header.icc_profile,
    )


def options_to_message(options: CanvasOptions) -> canvas_pb2.CanvasOptions:
    """The planner's overrides."""
    return canvas_pb2.CanvasOptions(
        intent=enum_to_message(canvas_pb2.CanvasIntent, "CANVAS_INTENT", options.intent),
        fill=enum_to_message(canvas_pb2.FillMode, "FILL_MODE", options.fill),
        exact_selection=options.exact_selection,
        grow=options.grow,
        feather=options.feather,
        padding=options.padding,
        seamless=enum_to_message(canvas_pb2.SeamlessAxes, "SEAMLESS_AXES", options.seamless),
        color_match=options.color_match,
        passes=options.passes,
    )


def plan_to_message(plan: CanvasPlan) -> canvas_pb2.CanvasPlan:
    """A plan."""
    return canvas_pb2.CanvasPlan(
        document=extent_to_message(plan.document),
        selection=bounds_to_message(plan.selection),
        mask=bounds_to_message(plan.mask),
        context=bounds_to_message(plan.context),
        model=extent_to_message(plan.model),
        grow=plan.grow,
        feather=plan.feather,
        blend=plan.blend,
        exact_selection=plan.exact_selection,
        fill=enum_to_message(canvas_pb2.FillMode, "FILL_MODE", plan.fill),
        intent=enum_to_message(canvas_pb2.CanvasIntent, "CANVAS_INTENT", plan.intent),
        passes=plan.passes,
        seamless=enum_to_message(canvas_pb2.SeamlessAxes, "SEAMLESS_AXES", plan.seamless),
        padding=plan.padding,
        sizing=enum_to_message(canvas_pb2.ModelSizing, "MODEL_SIZING", plan.sizing),
        max_model_pixels=plan.max_model_pixels,
        refine=None if plan.refine is None else bounds_to_message(plan.refine),
        refine_model=None if plan.refine_model is None else extent_to_message(plan.refine_model),
        refine_strength=plan.refine_strength,
        color_match=plan.color_match,
    )


def plan_from_message(message: canvas_pb2.CanvasPlan) -> CanvasPlan:
    """A plan."""
    return CanvasPlan(
        document=extent_from_message(message.document),
        selection=bounds_from_message(message.selection),
        mask=bounds_from_message(message.mask),
        context=bounds_from_message(message.context),
        model=extent_from_message(message.model),
        grow=message.grow,
        feather=message.feather,
        blend=message.blend,
        exact_selection=message.exact_selection,
        fill=enum_from_message(
            canvas_pb2.FillMode, "FILL_MODE", message.fill, FillMode, FillMode.AUTO
        ),
        intent=enum_from_message(
            canvas_pb2.CanvasIntent,
            "CANVAS_INTENT",
            message.intent,
            CanvasIntent,
            CanvasIntent.AUTO,
        ),
        passes=message.passes,
        seamless=seamless_from_message(message.seamless),
        padding=message.padding,
        sizing=enum_from_message(
            canvas_pb2.ModelSizing,
            "MODEL_SIZING",
            message.sizing,
            ModelSizing,
            ModelSizing.AS_IS,
        ),
        max_model_pixels=message.max_model_pixels,
        refine=bounds_from_message(message.refine) if message.HasField("refine") else None,
        refine_model=extent_from_message(message.refine_model)
        if message.HasField("refine_model")
        else None,
        refine_strength=shortest(message.refine_strength),
        color_match=shortest(message.color_match) if message.HasField("color_match") else 1.0,
    )


def shortest(value: float) -> float:
    """What was meant by a number that travelled in single precision: 0.4, not 0.4000000059604645."""
    return float(f"{value:.7g}")


def seamless_from_message(number: int) -> SeamlessAxes:
    """Axes; NONE for unset."""
    return enum_from_message(
        canvas_pb2.SeamlessAxes, "SEAMLESS_AXES", number, SeamlessAxes, SeamlessAxes.NONE
    )


def model_from_message(message: model_service_pb2.Model) -> Model:
    """A model."""
    return Model(
        model_id=message.model_id,
        title=message.title,
        family=message.family,
        state=enum_from_message(
            model_service_pb2.ModelState,
            "MODEL_STATE",
            message.state,
            ModelState,
            ModelState.AVAILABLE,
        ),
        license=message.license,
        commercial_use=message.commercial_use,
        size_bytes=message.size_bytes,
        min_extent=extent_from_message(message.min_extent),
        max_extent=extent_from_message(message.max_extent),
        num_inference_steps=message.num_inference_steps,
        guidance_scale=message.guidance_scale,
        scheduler=message.scheduler,
        tasks=tuple(message.tasks),
        description=message.description,
        is_default=message.is_default,
        best_extent=extent_from_message(message.best_extent)
        if message.HasField("best_extent")
        else None,
        trained=message.trained,
        kind=message.kind or "model",
        memory_bytes=message.memory_bytes,
        recommended=message.recommended,
        shortcuts=tuple(message.shortcuts),
    )


def scheduler_from_message(message: model_service_pb2.Scheduler) -> Scheduler:
    """A scheduler."""
    return Scheduler(message.name, message.title, message.is_default)


def server_info_from_message(
    message: server_service_pb2.GetServerInfoResponse, address: str
) -> ServerInfo:
    """Who answers at `address`."""
    names = Limits.__dataclass_fields__
    return ServerInfo(
        address=address,
        version=message.version,
        device=message.device,
        device_memory_bytes=message.device_memory_bytes,
        device_free_bytes=message.device_free_bytes,
        worker_state=enum_from_message(
            server_service_pb2.WorkerState,
            "WORKER_STATE",
            message.worker_state,
            WorkerState,
            WorkerState.STARTING,
        ),
        worker_message=message.worker_message,
        default_model=message.default_model,
        limits=Limits(**{name: getattr(message.limits, name) for name in names}),
        features=tuple(message.features),
        active_jobs=message.active_jobs,
        recommended_extent=extent_from_message(message.recommended_extent),
        token_name=message.token_name,
        token_scopes=tuple(message.token_scopes),
        caches=tuple(
            CacheFigures(name=it.name, hits=it.hits, misses=it.misses, bytes=it.bytes)
            for it in message.caches
        ),
        ranges={
            it.field: NumberRange(low=it.low, high=it.high, above_low=it.above_low)
            for it in message.ranges
        },
        denoiser_precisions=tuple(
            it
            for it in DenoiserPrecision
            if enum_to_message(generation_pb2.DenoiserPrecision, "DENOISER_PRECISION", it)
            in message.denoiser_precisions
        ),
    )
