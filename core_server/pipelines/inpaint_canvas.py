"""An inpaint at both sizes: the document's context and what the model sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from core_server.canvas.colour import from_model_rgb, from_unit, to_model_rgb, to_unit
from core_server.canvas.fill import fill
from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.masks import (
    make_masks,
    mask_extent_error,
    read_wrapped,
    selection_bounds,
    wrapped_axes,
)
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasPlan, SeamlessAxes
from core_server.canvas.planner import plan_canvas, resolve
from core_server.canvas.sizes import round_up
from core_server.errors import InvalidRequest
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.request import Inpaint
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes, device_max_pixels


@dataclass(frozen=True, slots=True, eq=False)
class InpaintCanvas:
    """What an inpaint needs to know of its document, all over plan.context.

    context: the document's own pixels. image: as the model is shown them, filled under the mask. mask: where it paints.
    composite_mask: over plan.mask, in the selection's sample type. multiple: of the model's sides.
    """

    plan: CanvasPlan
    context: Pixels
    image: FloatArray
    mask: FloatArray
    composite_mask: Pixels
    multiple: int

    def patch(self, painted: FloatArray) -> Pixels:
        """The pixels of plan.mask from the repainted context."""
        inner = _inner(self.plan).slices
        old = Pixels(
            np.ascontiguousarray(self.context.array[inner]),
            self.context.color_space,
            self.context.icc_profile,
        )
        new = from_model_rgb(np.ascontiguousarray(painted[inner]), old)
        untouched = self.composite_mask.array == 0
        return Pixels(np.where(untouched, old.array, new.array), old.color_space, old.icc_profile)


def prepare(
    model: LoadedModel, request: Inpaint, settings: Settings, images: Mapping[str, Pixels]
) -> InpaintCanvas:
    """The canvas of a request. Errors: InvalidRequest for what `inpaint` refuses, but for the steps."""
    image, selection = images[request.image], images[request.selection]
    if selection.channels != 1:
        raise InvalidRequest(
            "inpaint.selection",
            f"The selection has {selection.channels} channels; send one channel, full scale where to repaint.",
            allowed="1 channel",
        )
    if selection.extent != image.extent:
        raise mask_extent_error(image.extent, selection.extent)
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
    multiple = TiledSizes.of(model, wrapped_axes(plan, plan.context)).multiple
    plan = _in_multiples(plan, multiple)
    masks = make_masks(soft, plan)
    filled = fill(to_model_rgb(image), masks.denoise, mode)
    composite = masks.composite[_inner(plan).slices]
    if plan.exact_selection:
        mask_array: Any = selected[_inner(plan).slices]
    else:
        mask_array = from_unit(composite, selected.dtype)[..., None]
    return InpaintCanvas(
        plan=plan,
        context=image,
        image=filled,
        mask=masks.denoise,
        composite_mask=Pixels.mask(mask_array[..., 0]),
        multiple=multiple,
    )


def _in_multiples(plan: CanvasPlan, multiple: int) -> CanvasPlan:
    """The plan with model sizes that this model can really do: those of tiles have coarser multiples."""
    model = Extent(*(round_up(side, multiple) for side in plan.model))
    refine = plan.refine_model
    if refine is not None:
        refine = Extent(*(round_up(side, multiple) for side in refine))
    return msgspec.structs.replace(plan, model=model, refine_model=refine)


def _inner(plan: CanvasPlan) -> Bounds:
    """plan.mask in context px."""
    return plan.mask.moved(-plan.context.x, -plan.context.y)


def _checked(plan: CanvasPlan, image: Pixels, model: LoadedModel) -> CanvasPlan:
    """The client's plan, if it can be carried out. Errors: InvalidRequest."""
    context = plan.context
    if image.extent != context.extent:
        raise InvalidRequest(
            "inpaint.image",
            f"The image is {image.extent.width} x {image.extent.height} px but the plan's context is {context.width} x "
            f"{context.height} px; send exactly the pixels of plan.context.",
            allowed=f"{context.width} x {context.height}",
        )
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
