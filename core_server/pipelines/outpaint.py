"""Continue a picture beyond its borders; its own pixels stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from core_server.canvas.colour_match import match_colours
from core_server.canvas.fill import fill
from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.growth import Increment, Sides, grown, increments, tiling_sides
from core_server.canvas.joint import feather_joint
from core_server.canvas.masks import read_wrapped, write_wrapped
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import (
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    FillMode,
)
from core_server.canvas.planner import plan_canvas
from core_server.canvas.rendition import Rendition
from core_server.canvas.seams import as_recipe, seams
from core_server.errors import InvalidRequest
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.passes import (
    Painter,
    Pass,
    in_multiples,
    paint_context,
    painter,
    parts_of,
    passes_of,
    seed_of_part,
    unchanged,
)
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.recipe import make_recipe
from core_server.pipelines.request import Outpaint
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes, device_max_pixels
from core_server.pipelines.strength import require_steps
from core_server.pipelines.task import StepCallback, TaskOutput


@dataclass(frozen=True, slots=True)
class _Step:
    """One increment as it is painted. origin: where plan's document lies in the grown picture."""

    increment: Increment
    origin: tuple[int, int]
    plan: CanvasPlan
    passes: tuple[Pass, ...]


def outpaint(
    model: LoadedModel,
    request: Outpaint,
    settings: Settings,
    images: Mapping[str, Pixels],
    on_step: StepCallback,
) -> list[TaskOutput]:
    """One larger picture for each seed, in the original's sample type, channels and colour space; new parts are opaque.

    The original's pixels are in it bit for bit. bounds: the picture relative to the original, so that x and y are
    -left and -top. composite_mask: full scale on what is new, 0 on the original. On a seamless axis what is added on
    both sides is one gap of the tile, closed so that the larger tile tiles too.
    Errors: InvalidRequest when nothing is added, or strength leaves less than one step.
    """
    sides = Sides(request.left, request.right, request.top, request.bottom)
    if min(sides) < 0 or not any(sides):
        raise InvalidRequest(
            "outpaint",
            f"What is added is {', '.join(f'{name} {px}' for name, px in zip(Sides._fields, sides, strict=True))} px; "
            "each must be 0 or more, and not all 0.",
            allowed="0 or more, not all 0",
        )
    require_steps(
        settings.num_inference_steps,
        request.strength,
        "outpaint.strength",
        counts_partial_step=model.family.counts_partial_step,
    )
    mode = FillMode.STRUCTURE if request.fill is FillMode.AUTO else request.fill
    document = images[request.image]
    axes = request.parameters.seamless
    steps = _steps(model, request, settings, document.extent, sides)
    parts = [part for step in steps for part in parts_of(step.passes)]
    reporter = StepReporter(model, on_step, parts, len(settings.seeds))
    there = tiling_sides(sides, axes)
    canvas = _canvas(document, there)
    is_new = np.ones(canvas.rgb.shape[:2], np.bool_)
    is_new[Bounds(there.left, there.top, *document.extent).slices] = False
    # A tile grows to the right and downwards only; what belongs on the left and at the top is moved there at the end.
    move = (sides.top - there.top, sides.left - there.left)
    outputs = []
    for seed in settings.seeds:
        rgb = canvas.rgb.copy()
        for index, step in enumerate(steps):
            own = seed_of_part(seed, index)
            _grow(rgb, step, mode, painter(model, settings, own, reporter))
        picture = canvas.restore(rgb, shown=(~is_new).astype(np.float32))
        pixels = Pixels(
            np.ascontiguousarray(np.roll(picture.array, move, (0, 1))),
            picture.color_space,
            picture.icc_profile,
        )
        passes = [it for step in steps for it in step.passes]
        recipe = make_recipe(
            model,
            request,
            settings,
            seed,
            steps_run=sum(it.steps for it in passes),
            notes=prompt_notes(model, settings) + canvas.notes(),
            details={
                "image": request.image,
                "strength": request.strength,
                "fill": mode.value,
                **sides._asdict(),
                "extent": list(pixels.extent),
                "increments": [
                    {
                        "added": list(step.increment.added),
                        "passes": [it.told() for it in step.passes],
                    }
                    for step in steps
                ],
                **as_recipe(seams(pixels.array, axes)),
            },
        )
        outputs.append(
            TaskOutput(
                pixels,
                seed,
                recipe,
                bounds=grown(document.extent, sides),
                composite_mask=Pixels.mask(np.roll(is_new, move, (0, 1)) * np.uint8(255)),
            )
        )
    return outputs


def _steps(
    model: LoadedModel, request: Outpaint, settings: Settings, extent: Extent, sides: Sides
) -> tuple[_Step, ...]:
    profile = model.profile
    # Half of a size that it paints well is new and half is there to go on from.
    best = profile.best_extent
    side = min(best) if best else (min(profile.min_extent) + min(profile.max_extent)) // 2
    depth = max(side // 2, profile.multiple)
    axes = request.parameters.seamless
    there = tiling_sides(sides, axes)
    steps = []
    limit, most = profile.max_extent, device_max_pixels(model)
    whole = grown(extent, there).extent
    fits = (
        whole.width <= limit.width
        and whole.height <= limit.height
        and whole.area <= (most or whole.area)
    )
    for increment in increments(extent, sides, depth, axes, fits=fits):
        picture, added = increment.picture, increment.added
        plan = plan_canvas(
            picture.extent,
            added.moved(-picture.x, -picture.y),
            CanvasOptions(
                intent=CanvasIntent.EXPAND, exact_selection=True, seamless=increment.seamless
            ),
            1.0,
            profile,
            max_pixels=most,
        )
        multiple = TiledSizes.of(model, plan.wrapped_axes(plan.context)).multiple
        plan = in_multiples(plan, multiple)
        passes = passes_of(
            plan,
            settings.num_inference_steps,
            request.strength,
            multiple,
            counts_partial_step=model.family.counts_partial_step,
        )
        steps.append(
            _Step(increment, (picture.y + there.top, picture.x + there.left), plan, passes)
        )
    return tuple(steps)


def _grow(rgb: FloatArray, step: _Step, mode: FillMode, paint: Painter) -> None:
    """Paints one increment into `rgb`, the grown picture as a model sees it."""
    plan = step.plan
    (top, left), (width, height) = step.origin, plan.document
    picture = rgb[top : top + height, left : left + width]
    added = np.zeros((height, width), np.bool_)
    added[plan.selection.slices] = True
    before = step.increment.before.moved(-step.increment.picture.x, -step.increment.picture.y)
    added[before.slices] = False
    axes = plan.wrapped_axes(plan.context)
    context = np.asarray(read_wrapped(picture, plan.context), np.float32)
    new = np.asarray(read_wrapped(added, plan.context), np.bool_)
    mask = new.astype(np.float32)
    filled = fill(context, mask, mode, axes)
    painted = paint_context(filled, mask, step.passes, paint)
    seen = paint_context(filled, mask, step.passes, unchanged)
    inner = plan.mask.moved(-plan.context.x, -plan.context.y).slices
    # Only within the mask's rectangle is a second pass's picture what it should be.
    painted, _ = match_colours(painted[inner], seen[inner], new[inner])
    joined = feather_joint(painted, context[inner], new[inner], plan.wrapped_axes(plan.mask))
    write_wrapped(picture, plan.mask, joined)


def _canvas(document: Pixels, sides: Sides) -> Rendition:
    """The grown document with nothing in its new parts yet, opaque there."""
    original = Rendition.of(document)
    whole = grown(document.extent, sides).extent
    place = Bounds(sides.left, sides.top, *document.extent).slices
    array = np.zeros((whole.height, whole.width, document.channels), document.array.dtype)
    if document.channels == 4:
        kind = array.dtype.kind
        array[..., 3] = np.iinfo(array.dtype).max if kind == "u" else 1
    array[place] = document.array
    rgb = np.zeros((whole.height, whole.width, 3), np.float32)
    rgb[place] = original.rgb
    grown_document = Pixels(array, document.color_space, document.icc_profile)
    return replace(original, document=grown_document, rgb=rgb)
