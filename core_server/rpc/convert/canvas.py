"""Rectangles, canvas options and canvas plans."""

from __future__ import annotations

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.plan import (
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    FillMode,
    ModelSizing,
    SeamlessAxes,
)
from core_server.config import Limits
from core_server.errors import InvalidRequest
from core_server.ranges import COLOR_MATCH, FEATHER, GROW, PADDING, PASSES, STRENGTH, Range
from core_server.rpc.convert.fields import EnumTable, needed, shortest, whole
from scumble.v1 import canvas_pb2, image_pb2

MAX_DOCUMENT_SIDE = 300_000
"""What the largest document format of the hosts (PSB) allows, px; documents are planned, never sent whole."""
_MAX_PLANNED_EDGE = 4096
"""Of a plan, px: what the planner makes of a large selection is more than may be asked for."""

INTENTS = EnumTable(
    canvas_pb2.CanvasIntent, "CANVAS_INTENT_", CanvasIntent, unspecified=CanvasIntent.AUTO
)
FILL_MODES = EnumTable(canvas_pb2.FillMode, "FILL_MODE_", FillMode, unspecified=FillMode.AUTO)
SEAMLESS = EnumTable(
    canvas_pb2.SeamlessAxes, "SEAMLESS_AXES_", SeamlessAxes, unspecified=SeamlessAxes.NONE
)
SIZINGS = EnumTable(
    canvas_pb2.ModelSizing, "MODEL_SIZING_", ModelSizing, unspecified=ModelSizing.AS_IS
)


def to_proto_extent(extent: Extent) -> image_pb2.Extent:
    """Same numbers."""
    return image_pb2.Extent(width=extent.width, height=extent.height)


def from_proto_extent(message: image_pb2.Extent, field: str, max_side: int) -> Extent:
    """A size with sides of 1..max_side px. `field`: path of the extent itself."""
    return Extent(
        whole(message.width, f"{field}.width", "The width", 1, max_side),
        whole(message.height, f"{field}.height", "The height", 1, max_side),
    )


def from_proto_picture_extent(message: image_pb2.Extent, field: str, limits: Limits) -> Extent:
    """The size of a picture: within the limits on its sides and on its area."""
    extent = from_proto_extent(message, field, limits.max_side)
    if extent.area > limits.max_pixels:
        raise InvalidRequest(
            field,
            f"{extent.width} x {extent.height} px are {extent.area} px in all; "
            f"at most {limits.max_pixels} are allowed.",
            allowed=f"at most {limits.max_pixels} px in all",
        )
    return extent


def to_proto_bounds(bounds: Bounds) -> image_pb2.Bounds:
    """Same numbers."""
    return image_pb2.Bounds(x=bounds.x, y=bounds.y, width=bounds.width, height=bounds.height)


def from_proto_bounds(message: image_pb2.Bounds, field: str) -> Bounds:
    """A rectangle of at least 1 x 1 px, anywhere near a document."""
    side = MAX_DOCUMENT_SIDE
    return Bounds(
        whole(message.x, f"{field}.x", "The left edge", -side, side),
        whole(message.y, f"{field}.y", "The top edge", -side, side),
        whole(message.width, f"{field}.width", "The width", 1, side),
        whole(message.height, f"{field}.height", "The height", 1, side),
    )


def from_proto_options(message: canvas_pb2.CanvasOptions, field: str) -> CanvasOptions:
    """An unset message means: the planner chooses everything. `field`: path of the options themselves."""

    def override(name: str, allowed: Range) -> int | None:
        if not message.HasField(name):  # type: ignore[arg-type]
            return None
        return int(allowed.check(getattr(message, name), f"{field}.{name}"))

    return CanvasOptions(
        intent=INTENTS.from_proto(message.intent, f"{field}.intent"),
        fill=FILL_MODES.from_proto(message.fill, f"{field}.fill"),
        exact_selection=message.exact_selection,
        grow=override("grow", GROW),
        feather=override("feather", FEATHER),
        padding=override("padding", PADDING),
        seamless=SEAMLESS.from_proto(message.seamless, f"{field}.seamless"),
        color_match=_color_match(message, field),
        passes=override("passes", PASSES),
    )


def to_proto_options(options: CanvasOptions) -> canvas_pb2.CanvasOptions:
    """None stays unset."""
    return canvas_pb2.CanvasOptions(
        intent=INTENTS.to_proto(options.intent),
        fill=FILL_MODES.to_proto(options.fill),
        exact_selection=options.exact_selection,
        grow=options.grow,
        feather=options.feather,
        padding=options.padding,
        seamless=SEAMLESS.to_proto(options.seamless),
        color_match=options.color_match,
        passes=options.passes,
    )


def to_proto_plan(plan: CanvasPlan) -> canvas_pb2.CanvasPlan:
    """Same numbers."""
    return canvas_pb2.CanvasPlan(
        document=to_proto_extent(plan.document),
        selection=to_proto_bounds(plan.selection),
        mask=to_proto_bounds(plan.mask),
        context=to_proto_bounds(plan.context),
        model=to_proto_extent(plan.model),
        grow=plan.grow,
        feather=plan.feather,
        blend=plan.blend,
        exact_selection=plan.exact_selection,
        fill=FILL_MODES.to_proto(plan.fill),
        intent=INTENTS.to_proto(plan.intent),
        passes=plan.passes,
        seamless=SEAMLESS.to_proto(plan.seamless),
        padding=plan.padding,
        sizing=SIZINGS.to_proto(plan.sizing),
        max_model_pixels=plan.max_model_pixels,
        refine=None if plan.refine is None else to_proto_bounds(plan.refine),
        refine_model=None if plan.refine_model is None else to_proto_extent(plan.refine_model),
        refine_strength=plan.refine_strength,
        color_match=plan.color_match,
    )


def from_proto_plan(message: canvas_pb2.CanvasPlan, field: str, limits: Limits) -> CanvasPlan:
    """A plan as PlanCanvas made it: its rectangles must lie in one another. `field`: path of the plan itself."""
    at = f"{field}."

    def bounds(name: str, what: str) -> Bounds:
        return from_proto_bounds(needed(message, name, at, what), at + name)

    document = needed(message, "document", at, "The document's size")
    context = bounds("context", "The context")
    # The context is what travels as a picture, so the limits on pictures hold for it.
    from_proto_picture_extent(to_proto_extent(context.extent), f"{at}context", limits)
    model = needed(message, "model", at, "The model's size")
    passes = PASSES.check(message.passes, f"{at}passes")
    refine = refine_model = None
    refine_strength = 0.0
    if passes > 1:
        refine = bounds("refine", "The rectangle of the second pass")
        again = needed(message, "refine_model", at, "The model's size in the second pass")
        refine_model = from_proto_picture_extent(again, f"{at}refine_model", limits)
        again_allowed = STRENGTH.called("The strength of the second pass")
        refine_strength = shortest(message.refine_strength)
        again_allowed.check(refine_strength, f"{at}refine_strength")
    color_match = _color_match(message, field)
    plan = CanvasPlan(
        document=from_proto_extent(document, f"{at}document", MAX_DOCUMENT_SIDE),
        selection=bounds("selection", "The selection"),
        mask=bounds("mask", "The mask's rectangle"),
        context=context,
        model=from_proto_picture_extent(model, f"{at}model", limits),
        grow=whole(message.grow, f"{at}grow", "The grow", 0, _MAX_PLANNED_EDGE),
        feather=whole(message.feather, f"{at}feather", "The feather", 0, _MAX_PLANNED_EDGE),
        blend=whole(message.blend, f"{at}blend", "The blend", 0, _MAX_PLANNED_EDGE),
        exact_selection=message.exact_selection,
        fill=FILL_MODES.from_proto(message.fill, f"{at}fill"),
        intent=INTENTS.from_proto(message.intent, f"{at}intent"),
        passes=passes,
        seamless=SEAMLESS.from_proto(message.seamless, f"{at}seamless"),
        padding=whole(message.padding, f"{at}padding", "The padding", 0, MAX_DOCUMENT_SIDE),
        sizing=SIZINGS.from_proto(message.sizing, f"{at}sizing"),
        max_model_pixels=max(message.max_model_pixels, 0),
        refine=refine,
        refine_model=refine_model,
        refine_strength=refine_strength,
        color_match=1.0 if color_match is None else color_match,
    )
    _require_nested(plan, at)
    return plan


def _color_match(
    message: canvas_pb2.CanvasOptions | canvas_pb2.CanvasPlan, field: str
) -> float | None:
    if not message.HasField("color_match"):
        return None
    return COLOR_MATCH.check(shortest(message.color_match), f"{field}.color_match")


def _require_nested(plan: CanvasPlan, at: str) -> None:
    document = Bounds(0, 0, *plan.document)
    pairs = [
        ("mask", plan.selection, "mask", plan.mask),
        ("context", plan.mask, "context", plan.context),
    ]
    if plan.refine is not None:
        pairs.append(("refine", plan.refine, "context", plan.context))
    if plan.seamless is SeamlessAxes.NONE:  # otherwise a context may reach across the border
        pairs.append(("context", plan.context, "document", document))
    for name, inner, outer_name, outer in pairs:
        if not outer.contains(inner):
            raise InvalidRequest(
                f"{at}{name}",
                f"The plan does not fit together: {tuple(inner)} does not lie inside the {outer_name} {tuple(outer)}. "
                "Send the plan as PlanCanvas gave it.",
                allowed="selection in mask in context in document",
            )
