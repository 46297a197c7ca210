"""A canvas plan drawn over its picture: rectangles, the two masks tinted, all numbers below."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from core_server.canvas import geometry, pixels
from core_server.canvas import plan as canvas_plan
from core_server.canvas import planner as canvas_planner
from core_server.canvas.colour import to_srgb
from core_server.canvas.masks import make_masks, read_wrapped, write_wrapped

if TYPE_CHECKING:
    from scumble.client import CanvasPlan, Pixels

_LONGEST, _SHORTEST = 1600, 640
"""The drawing's longer side, px, lies between."""
_COLOURS = {
    "context": (64, 220, 120),
    "refine": (255, 90, 220),
    "mask": (255, 215, 60),
    "selection": (255, 255, 255),
}
_DENOISE, _COMPOSITE = (40, 120, 255), (255, 120, 20)
_TINT = 0.5
_LINE = 22


def draw_plan(document: Pixels, mask: npt.NDArray[Any], plan: CanvasPlan) -> Image.Image:
    """The picture with the plan over it, 8-bit sRGB. mask: (height, width), the selection, any sample type."""
    picture = _shown(document)
    ours = _ours(plan)
    _tint(picture, mask, ours)
    image = Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8))
    longest = max(image.size)
    scale = min(_LONGEST / longest, 1.0) if longest > _SHORTEST else _SHORTEST / longest
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    for name, colour in _COLOURS.items():
        bounds = getattr(plan, name)
        if bounds is not None:
            _rectangles(pen, bounds, ours, scale, colour)
    return _with_legend(image, plan)


def resolved(plan: CanvasPlan, prompt: str) -> CanvasPlan:
    """The plan with intent and fill as the prompt decides them where they are left open."""
    intent, fill = canvas_planner.resolve(
        canvas_plan.CanvasIntent(plan.intent.value), canvas_plan.FillMode(plan.fill.value), prompt
    )
    return dataclasses.replace(
        plan, intent=type(plan.intent)(intent.value), fill=type(plan.fill)(fill.value)
    )


def plan_lines(plan: CanvasPlan) -> list[tuple[str, str]]:
    """(name, what the plan says) for people, in reading order."""

    def at(bounds: Any) -> str:
        return f"{bounds.width} x {bounds.height} px at {bounds.x}, {bounds.y}"

    why = {
        "as_is": "the context's own size",
        "enlarged": "enlarged for detail",
        "reduced": "reduced to the model's range",
        "capped": f"reduced to {plan.max_model_pixels / 1e6:g} megapixels, what the device takes",
    }[plan.sizing.value]
    lines = [
        ("document", f"{plan.document.width} x {plan.document.height} px"),
        ("context", f"{at(plan.context)}, padding {plan.padding} px"),
        ("mask", at(plan.mask)),
        ("selection", at(plan.selection)),
        ("model", f"{plan.model.width} x {plan.model.height} px, {why}"),
    ]
    if plan.refine is not None and plan.refine_model is not None:
        size = f"{plan.refine_model.width} x {plan.refine_model.height} px"
        lines.append(
            ("refine", f"{at(plan.refine)}, again at {size}, strength {plan.refine_strength:g}")
        )
    edges = f"grow {plan.grow}, feather {plan.feather} px"
    if plan.exact_selection:
        lines += [("composite mask", "the selection as it is")]
    else:
        lines += [("denoise mask", edges), ("composite mask", f"blend {plan.blend} px")]
    lines.append(("intent, fill", f"{plan.intent.value}, {plan.fill.value}"))
    if plan.seamless.value != "none":
        lines.append(("seamless", plan.seamless.value))
    return lines


def _shown(document: Pixels) -> npt.NDArray[np.float32]:
    array = document.numpy()
    space = pixels.ColorSpace(document.color_space.value)
    own = pixels.Pixels(array, space, document.icc_profile)
    picture = to_srgb(own).clip(0, 1)
    if own.channels == 4:
        # Transparent parts on the chequered ground that painting programs show.
        y, x = np.indices(picture.shape[:2]) // 8
        ground = np.where((x + y) % 2, np.float32(0.7), np.float32(0.8))[..., None]
        scale = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
        alpha = array[..., 3:].astype(np.float32) / np.float32(scale)
        picture = picture * alpha + ground * (1 - alpha)
    return np.asarray(picture, np.float32)


def _ours(plan: CanvasPlan) -> canvas_plan.CanvasPlan:
    """The client's plan as the planner's: the same numbers."""
    return canvas_plan.CanvasPlan(
        document=geometry.Extent(*plan.document),
        selection=geometry.Bounds(*plan.selection),
        mask=geometry.Bounds(*plan.mask),
        context=geometry.Bounds(*plan.context),
        model=geometry.Extent(*plan.model),
        grow=plan.grow,
        feather=plan.feather,
        blend=plan.blend,
        exact_selection=plan.exact_selection,
        fill=canvas_plan.FillMode(plan.fill.value),
        intent=canvas_plan.CanvasIntent(plan.intent.value),
        passes=plan.passes,
        seamless=canvas_plan.SeamlessAxes(plan.seamless.value),
    )


def _tint(
    picture: npt.NDArray[np.float32], mask: npt.NDArray[Any], plan: canvas_plan.CanvasPlan
) -> None:
    scale = np.iinfo(mask.dtype).max if mask.dtype.kind == "u" else 1
    soft = read_wrapped(mask, plan.context).astype(np.float32) / np.float32(scale)
    masks = make_masks(soft, plan)
    context = np.asarray(read_wrapped(picture, plan.context), np.float32)
    around = masks.denoise - masks.composite
    for weight, colour in ((around, _DENOISE), (masks.composite, _COMPOSITE)):
        share = weight[..., None] * np.float32(_TINT)
        context = context * (1 - share) + np.array(colour, np.float32) / 255 * share
    write_wrapped(picture, plan.context, context)


def _rectangles(
    pen: ImageDraw.ImageDraw,
    bounds: Any,
    plan: canvas_plan.CanvasPlan,
    scale: float,
    colour: tuple[int, int, int],
) -> None:
    """The rectangle, and on a tile its part at the other side."""
    width, height = plan.document
    for dx in (-width, 0, width):
        for dy in (-height, 0, height):
            left, top = (bounds.x + dx) * scale, (bounds.y + dy) * scale
            right, bottom = (bounds.right + dx) * scale - 1, (bounds.bottom + dy) * scale - 1
            if left < width * scale and top < height * scale and right >= 0 and bottom >= 0:
                pen.rectangle(
                    (left, top, max(left, right), max(top, bottom)), outline=colour, width=3
                )


def _with_legend(image: Image.Image, plan: CanvasPlan) -> Image.Image:
    lines = plan_lines(plan)
    colours = {**_COLOURS, "denoise mask": _DENOISE, "composite mask": _COMPOSITE}
    sheet = Image.new(
        "RGB", (max(image.width, 640), image.height + _LINE * (len(lines) + 1)), (24, 24, 24)
    )
    sheet.paste(image, (0, 0))
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    for number, (name, text) in enumerate(lines):
        top = image.height + _LINE // 2 + number * _LINE
        if name in colours:
            pen.rectangle((12, top + 4, 24, top + 14), fill=colours[name])
        pen.text((34, top), name, (170, 170, 170), font)
        pen.text((170, top), text, (240, 240, 240), font)
    return sheet
