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
    context_wraps,
    make_masks,
    mask_extent_error,
    read_wrapped,
    selection_bounds,
)
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasPlan, SeamlessAxes
from core_server.canvas.planner import plan_canvas, resolve
from core_server.canvas.resample import document_to_model, model_to_document
from core_server.canvas.sizes import round_up
from core_server.errors import InvalidRequest
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.request import Inpaint
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes


@dataclass(frozen=True, slots=True, eq=False)
class InpaintCanvas:
    """An inpaint at both sizes. image, mask: at model size; context, composite: over plan.context."""

    plan: CanvasPlan
    context: Pixels
    composite: FloatArray
    image: FloatArray
    mask: FloatArray
    composite_mask: Pixels
    axes: SeamlessAxes
    multiple: int

    def patch(self, painted: FloatArray) -> Pixels:
        """The pixels of plan.mask from the model's picture."""
        image = model_to_document(painted, self.plan.context.extent, self.multiple, self.axes)
        inner = _inner(self.plan).slices
        old = Pixels(
            np.ascontiguousarray(self.context.array[inner]),
            self.context.color_space,
            self.context.icc_profile,
        )
        new = from_model_rgb(np.ascontiguousarray(image[inner]), old)
        untouched = self.composite_mask.array == 0
        return Pixels(np.where(untouched, old.array, new.array), old.color_space, old.icc_profile)


def prepare(
    model: LoadedModel, request: Inpaint, settings: Settings, images: Mapping[str, Pixels]
) -> InpaintCanvas:
    image, selection = images[request.image], images[request.selection]
    if selection.channels != 1:
        raise InvalidRequest(
            "inpaint.selection",
            f"The selection has {selection.channels} channels; send one channel, full scale where to repaint.",
            allowed="1 channel",
        )
    if selection.extent != image.extent:
        raise mask_extent_error(image.extent, selection.extent)
    soft = np.clip(to_unit(selection.array[..., 0]), 0, 1)
    if request.plan is None:
        axes = request.options.seamless
        if axes is SeamlessAxes.NONE:
            axes = request.parameters.seamless
        options = msgspec.structs.replace(request.options, seamless=axes)
        bounds = selection_bounds(soft, axes)
        plan = plan_canvas(image.extent, bounds, options, request.strength, model.profile)
        array = read_wrapped(image.array, plan.context)
        image = Pixels(array, image.color_space, image.icc_profile)
        selected = read_wrapped(selection.array, plan.context)
        soft = np.asarray(read_wrapped(soft, plan.context), np.float32)
    else:
        plan = _checked(request.plan, image, model)
        selection_bounds(soft)
        selected = selection.array
    intent, mode = resolve(plan.intent, plan.fill, settings.prompt)
    plan = msgspec.structs.replace(plan, intent=intent, fill=mode)
    axes = context_wraps(plan)
    multiple = TiledSizes.of(model, axes).multiple
    model_size = Extent(*(round_up(side, multiple) for side in plan.model))
    plan = msgspec.structs.replace(plan, model=model_size)
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
        composite=composite,
        image=document_to_model(filled, plan.model, multiple, axes),
        mask=document_to_model(masks.denoise, plan.model, multiple, axes),
        composite_mask=Pixels.mask(mask_array[..., 0]),
        axes=axes,
        multiple=multiple,
    )


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
    fits = (
        plan.mask.contains(plan.selection)
        and context.contains(plan.mask)
        and min(plan.selection.extent) > 0
        and all(side > 0 and side % multiple == 0 for side in plan.model)
        and plan.model.area <= 4 * max(model.profile.max_extent.area, context.extent.area)
        and min(plan.grow, plan.feather, plan.blend) >= 0
    )
    if not fits:
        raise InvalidRequest(
            "inpaint.plan",
            "The plan contradicts itself or does not fit the model; ask PlanCanvas for a new one and send it "
            "unchanged.",
        )
    return plan
