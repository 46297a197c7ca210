"""From a selection to the rectangles of an inpaint. Pure integers and floats; runs in the gateway.

Symbols: d = diagonal of the selection's bounds, s = denoising strength; all lengths in document px. The numbers start
from what artists are used to; `docs/canvas.md` explains them with pictures.
"""

from __future__ import annotations

import math

import msgspec

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.plan import (
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    FillMode,
    SeamlessAxes,
    wraps,
)
from core_server.canvas.sizes import ModelSizes, refining_extent, round_up, scaled_extent
from core_server.errors import InvalidRequest
from core_server.ranges import COLOR_MATCH, FEATHER, GROW, PADDING, PASSES, STRENGTH

FEATHER_SHARE, FEATHER_LEAST = 0.10, 32
"""Feather: this share of d, but at least so many px; times s."""
GROW_BASE = 4
"""Grow: this many px and half the feather, so that the soft edge starts this far outside the selection."""
BLEND_MOST = 25
"""Widest soft edge of the composite mask."""
MASK_SHARE = 0.06
"""The mask's bounds lie this share of d further out than the mask itself."""
MASK_LEAST, CONTEXT_LEAST = 256, 512
"""Smallest side of the mask's bounds; smallest side of the context at full strength."""
CONTEXT_MOST = 4
"""A context is at most so many times the selection's mean side (if MASK_LEAST allows): a small selection in a large
document would otherwise be a speck of a picture, painted without detail."""
DETAIL, ENLARGE_LEAST = 256, 1.25
"""A selection is enlarged towards so many model px a side, if that enlarges it at least so many times."""
TWO_PASSES_BELOW = 0.9
"""Painted smaller than this share of its size, the mask is painted a second time at full resolution."""
REFINE_STRENGTH = 0.4
"""Strength of the second pass, times s: enough for detail, too little for a new layout."""
SQUARENESS = 0.75
"""At full strength the context's shorter side is at least this share of the longer one, where the document allows."""

FILL_BY_INTENT = {
    CanvasIntent.FILL: FillMode.BLUR,
    CanvasIntent.ADD_OBJECT: FillMode.NEUTRAL,
    CanvasIntent.REMOVE_OBJECT: FillMode.STRUCTURE,
    CanvasIntent.EXPAND: FillMode.BORDER,
    CanvasIntent.REFINE: FillMode.NONE,
}


def plan_canvas(
    document: Extent,
    selection: Bounds,
    options: CanvasOptions,
    strength: float,
    profile: ModelSizes,
    *,
    max_pixels: int = 0,
) -> CanvasPlan:
    """Plans one inpaint.

    document: size of the whole document. selection: bounds of the selected pixels; inside the document, or on a
    seamless axis beginning inside it and no longer than it. strength: (0, 1]. profile: what the model can do.
    max_pixels: what the device can take in one pass (`sizes.max_model_pixels`), 0 = anything.
    At strength below 1 an AUTO intent means REFINE; at full strength AUTO stays until the prompt is known (`resolve`).
    Errors: InvalidRequest.
    """
    _check(document, selection, options, strength)
    grow, feather, blend = _edges(selection.extent, options, strength)
    reach = grow + math.ceil(feather / 2)
    diagonal = math.hypot(*selection.extent)
    mask_padding = max(reach, math.ceil(feather + GROW_BASE + MASK_SHARE * diagonal))
    if options.exact_selection:
        mask_padding = math.ceil(MASK_SHARE * diagonal)
    mask = _grown(
        selection,
        padding=mask_padding,
        least=MASK_LEAST,
        multiple=profile.multiple,
        document=document,
        seamless=options.seamless,
    )
    intent = options.intent
    if intent is CanvasIntent.AUTO and strength < 1.0:
        intent = CanvasIntent.REFINE
    fill = options.fill
    if fill is FillMode.AUTO:
        fill = FILL_BY_INTENT.get(intent, FillMode.AUTO)
    padding, context = _context(
        mask,
        selection.extent,
        document=document,
        options=options,
        refines=strength < 1.0 and fill is FillMode.NONE,
        profile=profile,
    )
    side = math.sqrt(selection.extent.area)
    wanted = DETAIL / side if DETAIL / side >= ENLARGE_LEAST else 1.0
    if options.intent is CanvasIntent.EXPAND:
        wanted = 1.0  # continued at the scale of the picture, however thin the strip
    model, sizing = scaled_extent(context.extent, profile, wanted, max_pixels)
    scale = math.sqrt(model.area / context.extent.area)
    plan = CanvasPlan(
        document=document,
        selection=selection,
        mask=mask,
        context=context,
        model=model,
        grow=grow,
        feather=feather,
        blend=blend,
        exact_selection=options.exact_selection,
        fill=fill,
        intent=intent,
        passes=1,
        seamless=options.seamless,
        padding=padding,
        sizing=sizing,
        max_model_pixels=max_pixels,
        color_match=1.0 if options.color_match is None else options.color_match,
    )
    refined = refining_extent(mask.extent, profile, max_pixels)
    # A second pass pays only where it shows the mask larger than the first one did.
    shown = math.sqrt(refined.area / mask.extent.area)
    pays = scale < TWO_PASSES_BELOW and shown >= scale * 1.1
    if options.passes == 1 or not (pays or options.passes == PASSES.high):
        return plan
    return msgspec.structs.replace(
        plan,
        passes=2,
        refine=mask,
        refine_model=refined,
        refine_strength=max(round(REFINE_STRENGTH * strength, 2), 0.01),
    )


def resolve(intent: CanvasIntent, fill: FillMode, prompt: str) -> tuple[CanvasIntent, FillMode]:
    """Intent and fill once the prompt is known: with one FILL, without REMOVE_OBJECT; neither result is AUTO."""
    if intent is CanvasIntent.AUTO:
        intent = CanvasIntent.FILL if prompt.strip() else CanvasIntent.REMOVE_OBJECT
    return intent, FILL_BY_INTENT[intent] if fill is FillMode.AUTO else fill


def _check(document: Extent, selection: Bounds, options: CanvasOptions, strength: float) -> None:
    if min(document) < 1:
        raise InvalidRequest(
            "document",
            f"The document is {document.width} x {document.height} px; each side must be at least 1 px.",
        )
    if min(selection.extent) < 1:
        raise InvalidRequest(
            "selection", "The selection is empty; select at least one pixel and try again."
        )
    for start, length, side, around in (
        (selection.x, selection.width, document.width, wraps(options.seamless, 1)),
        (selection.y, selection.height, document.height, wraps(options.seamless, 0)),
    ):
        end = side + length - 1 if around else side
        if start < 0 or start >= side or start + length > end or length > side:
            raise InvalidRequest(
                "selection",
                f"The selection at ({selection.x}, {selection.y}), {selection.width} x {selection.height} px, reaches "
                f"outside the document of {document.width} x {document.height} px; clip it to the document.",
                allowed=f"inside 0, 0, {document.width}, {document.height}",
            )
    STRENGTH.check(strength, "strength")
    for name, value, allowed in (
        ("grow", options.grow, GROW),
        ("feather", options.feather, FEATHER),
        ("padding", options.padding, PADDING),
        ("passes", options.passes, PASSES),
        ("color_match", options.color_match, COLOR_MATCH),
    ):
        if value is not None:
            allowed.check(value, f"options.{name}")


def _edges(selection: Extent, options: CanvasOptions, strength: float) -> tuple[int, int, int]:
    """grow, feather and blend."""
    if options.exact_selection:
        return 0, 0, 0
    feather = options.feather
    if feather is None:
        feather = round(max(FEATHER_SHARE * math.hypot(*selection), FEATHER_LEAST) * strength)
    grow = options.grow
    if grow is None:
        grow = round(GROW_BASE + feather / 2)
    return grow, feather, min(BLEND_MOST, grow + feather // 2)


def _context(
    mask: Bounds,
    selection: Extent,
    *,
    document: Extent,
    options: CanvasOptions,
    refines: bool,
    profile: ModelSizes,
) -> tuple[int, Bounds]:
    """The padding aimed at, and the context: the mask and what the model should see around it.

    refines: whether the model sees the picture under the mask, which then is its own context.
    """
    if options.padding is not None:
        return options.padding, _grown(
            mask,
            padding=options.padding,
            least=0 if refines else CONTEXT_LEAST,
            multiple=profile.multiple,
            document=document,
            seamless=options.seamless,
        )
    if refines:
        return 0, mask
    padding = max(max(document) // 16, (mask.width + mask.height) // 4)
    most = max(MASK_LEAST, round(CONTEXT_MOST * math.sqrt(selection.area)))
    least = min(CONTEXT_LEAST, most)
    sides = [max(min(side + 2 * padding, max(most, side)), least) for side in mask.extent]
    longest = max(sides)
    sides = [max(side, math.ceil(longest * SQUARENESS)) for side in sides]
    for axis, (side, high) in enumerate(zip(mask.extent, profile.max_extent, strict=True)):
        # A little less context instead of a resampled picture.
        if side + padding <= high < sides[axis]:
            sides[axis] = high // profile.multiple * profile.multiple
    width, height = (round_up(side, profile.multiple) for side in sides)
    return padding, _placed(mask, width, height, document, options.seamless)


def _grown(
    inner: Bounds,
    *,
    padding: int,
    least: int,
    multiple: int,
    document: Extent,
    seamless: SeamlessAxes,
) -> Bounds:
    """`inner` padded on all sides, at least `least` px a side, rounded up to `multiple`, kept in the document."""
    width = round_up(max(inner.width + 2 * padding, least), multiple)
    height = round_up(max(inner.height + 2 * padding, least), multiple)
    return _placed(inner, width, height, document, seamless)


def _placed(
    inner: Bounds, width: int, height: int, document: Extent, seamless: SeamlessAxes
) -> Bounds:
    """A rectangle of that size centred on `inner` and containing it, shifted into the document; it is cut only where
    the document is smaller. On a seamless axis it may reach across the border but never covers a pixel twice."""
    x, width = _placed_axis(inner.x, inner.width, width, document.width, wraps(seamless, 1))
    y, height = _placed_axis(inner.y, inner.height, height, document.height, wraps(seamless, 0))
    return Bounds(x, y, width, height)


def _placed_axis(start: int, inner: int, length: int, side: int, around: bool) -> tuple[int, int]:
    length = min(length, side)
    start -= (length - inner) // 2
    return (start if around else min(max(start, 0), side - length)), length
