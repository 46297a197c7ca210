"""An inpaint at both sizes: the document's context and what the model sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from core_server.canvas.belonging import check_context, check_selection
from core_server.canvas.colour import from_unit, to_unit
from core_server.canvas.colour_match import ColourMatch, match_colours
from core_server.canvas.fill import fill
from core_server.canvas.geometry import Bounds
from core_server.canvas.harmony import harmonise
from core_server.canvas.joint import feather_joint
from core_server.canvas.masks import (
    make_masks,
    read_wrapped,
    selection_bounds,
)
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.canvas.plan import CanvasIntent, CanvasPlan, FillMode, SeamlessAxes
from core_server.canvas.planner import plan_canvas, resolve
from core_server.canvas.rendition import Rendition
from core_server.errors import InvalidRequest
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.passes import in_multiples
from core_server.pipelines.request import Inpaint
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes, device_max_pixels

_CONTINUING = (CanvasIntent.FILL, CanvasIntent.REMOVE_OBJECT, CanvasIntent.EXPAND)
"""Intents whose patch goes on with its surroundings. An object is meant to differ; a refined picture is its own."""


@dataclass(frozen=True, slots=True, eq=False)
class InpaintCanvas:
    """What an inpaint needs to know of its document, all over plan.context.

    context: the document's own pixels, and as a model sees them. image: what it is shown, filled under the mask. mask:
    where it paints. composite_mask: over plan.mask, in the selection's sample type. multiple: of the model's sides.
    """

    plan: CanvasPlan
    context: Rendition
    image: FloatArray
    mask: FloatArray
    composite_mask: Pixels
    multiple: int

    def patch(self, painted: FloatArray, unpainted: FloatArray) -> tuple[Pixels, ColourMatch]:
        """The pixels of plan.mask from the repainted context, and how their colours were matched.

        unpainted: what `painted` would be had the model changed nothing.
        """
        if self.context.document.color_space is ColorSpace.NON_COLOR:
            match = ColourMatch(0.0, reason="the picture holds data, not colours")
        else:
            masked = self.mask > 0
            painted, match = match_colours(painted, unpainted, masked, self.plan.color_match)
        bounds = _inner(self.plan)
        inner = bounds.slices
        painted, unpainted = painted[inner], unpainted[inner]
        if match.strength > 0:
            painted, edge = self._without_edge(painted, unpainted)
            match = replace(match, edge=edge)
        context = self.context.cut(bounds)
        # Under a fill the model never saw the document, so nothing it painted there can be the document's.
        shown = None if self.plan.fill is FillMode.NONE else 1 - self.mask[inner]
        new = context.restore(painted, unpainted, shown)
        untouched = self.composite_mask.array == 0
        array = np.where(untouched, context.document.array, new.array)
        return Pixels(array, new.color_space, new.icc_profile), match

    def _without_edge(self, painted: FloatArray, unpainted: FloatArray) -> tuple[FloatArray, str]:
        """What was painted in plan.mask, brought to its surroundings along its edge, and how; see the two functions."""
        plan = self.plan
        mask, axes = self.mask[_inner(plan).slices], plan.wrapped_axes(plan.mask)
        if plan.exact_selection:
            joined = feather_joint(painted, unpainted, mask > 0, axes)
            return painted + np.float32(plan.color_match) * (joined - painted), "joined"
        if plan.intent not in _CONTINUING:
            return painted, ""
        # From the end of the mask's soft edge to as far inside the selection as that edge is wide.
        reach = plan.grow + plan.feather + plan.feather // 2
        strength = plan.color_match
        painted = harmonise(painted, unpainted, mask, reach=reach, strength=strength, seamless=axes)
        return painted, "harmonised"

    def pasted(self, patch: Pixels) -> FloatArray:
        """The document's pixels of plan.context with the patch in them, 0..1 or more: what the client will see."""
        whole = to_unit(self.context.document.array)
        inner = whole[_inner(self.plan).slices]
        inner += (to_unit(patch.array) - inner) * to_unit(self.composite_mask.array)
        return whole


def prepare(
    model: LoadedModel, request: Inpaint, settings: Settings, images: Mapping[str, Pixels]
) -> InpaintCanvas:
    """The canvas of a request. Errors: InvalidRequest for what `inpaint` refuses, but for the steps."""
    image, selection = images[request.image], images[request.selection]
    check_selection(image.extent, selection.extent, selection.channels)
    if request.plan is None:
        axes = request.options.seamless
        if axes is SeamlessAxes.NONE:
            axes = request.parameters.seamless
        options = msgspec.structs.replace(request.options, seamless=axes)
        plan = plan_canvas(
            image.extent,
            selection_bounds(selection.array[..., 0], axes),
            options,
            request.strength,
            model.profile,
            max_pixels=device_max_pixels(model),
        )
        array = read_wrapped(image.array, plan.context)
        image = Pixels(array, image.color_space, image.icc_profile)
        selected = read_wrapped(selection.array, plan.context)
    else:
        plan = _checked(request.plan, image, model)
        selection_bounds(selection.array[..., 0])
        selected = selection.array
    soft = np.clip(to_unit(selected[..., 0]), 0, 1)
    intent, mode = resolve(plan.intent, plan.fill, settings.prompt)
    plan = msgspec.structs.replace(plan, intent=intent, fill=mode)
    multiple = TiledSizes.of(model, plan.wrapped_axes(plan.context)).multiple
    plan = in_multiples(plan, multiple)
    masks = make_masks(soft, plan)
    hidden = None if mode is FillMode.NONE else masks.denoise >= 1
    context = Rendition.of(image, hidden)
    composite = masks.composite[_inner(plan).slices]
    if plan.exact_selection:
        mask_array: Any = selected[_inner(plan).slices]
    else:
        mask_array = from_unit(composite, selected.dtype)[..., None]
    return InpaintCanvas(
        plan=plan,
        context=context,
        image=fill(context.rgb, masks.denoise, mode, plan.wrapped_axes(plan.context)),
        mask=masks.denoise,
        composite_mask=Pixels.mask(mask_array[..., 0]),
        multiple=multiple,
    )


def _inner(plan: CanvasPlan) -> Bounds:
    """plan.mask in context px."""
    return plan.mask.moved(-plan.context.x, -plan.context.y)


def _checked(plan: CanvasPlan, image: Pixels, model: LoadedModel) -> CanvasPlan:
    """The client's plan, if it can be carried out. Errors: InvalidRequest."""
    context = plan.context
    check_context(image.extent, context.extent)
    multiple = model.profile.multiple
    most = 4 * max(model.profile.max_extent.area, context.extent.area)
    sizes = [plan.model]
    refine = plan.refine if plan.refine is not None else plan.mask
    if plan.refine_model is not None:
        sizes.append(plan.refine_model)
    fits = (
        plan.mask.contains(plan.selection)
        and context.contains(plan.mask)
        and min(plan.selection.extent) > 0
        and context.contains(refine)
        and all(side > 0 and side % multiple == 0 for extent in sizes for side in extent)
        and all(extent.area <= most for extent in sizes)
        and (plan.refine is None) == (plan.refine_model is None) == (plan.passes == 1)
        and (plan.refine is None or 0 < plan.refine_strength <= 1)
        and min(plan.grow, plan.feather, plan.blend) >= 0
    )
    if not fits:
        raise InvalidRequest(
            "inpaint.plan",
            "The plan contradicts itself or does not fit the model; ask PlanCanvas for a new one and send it "
            "unchanged.",
        )
    return plan
