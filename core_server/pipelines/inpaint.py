"""Repaint the selected part of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents

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
from core_server.pipelines.denoise import as_tensor, denoise
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.recipe import make_recipe
from core_server.pipelines.request import Inpaint
from core_server.pipelines.seamless import seamless
from core_server.pipelines.settings import Settings
from core_server.pipelines.sizes import TiledSizes, range_note, size_note
from core_server.pipelines.strength import require_steps
from core_server.pipelines.task import StepCallback, TaskOutput


def inpaint(
    model: LoadedModel,
    request: Inpaint,
    settings: Settings,
    images: Mapping[str, Pixels],
    on_step: StepCallback,
) -> list[TaskOutput]:
    """One patch for each seed: the pixels of `plan.mask` in the document's sample type, colour space and alpha, with
    the composite mask that pastes them. Where that mask is 0 the patch holds the document's own pixels, unchanged.

    Errors: InvalidRequest for an empty or wrongly sized selection, a plan that does not fit, or less than one step.
    """
    steps = require_steps(settings.num_inference_steps, request.strength, "inpaint.strength")
    canvas = _prepare(model, request, settings, images)
    plan = canvas.plan
    reporter = StepReporter(model, on_step, steps, len(settings.seeds))
    notes = (
        prompt_notes(model, settings)
        + size_note(plan.context.extent, plan.model, canvas.multiple)
        + range_note(canvas.context)
    )
    outputs = []
    for seed in settings.seeds:
        image = inpaint_at_model_size(
            model,
            settings,
            seed,
            image=canvas.image,
            mask=canvas.mask,
            strength=request.strength,
            axes=canvas.axes,
            reporter=reporter,
        )
        pixels = canvas.patch(image)
        recipe = make_recipe(
            model,
            request,
            settings,
            seed,
            steps_run=steps,
            notes=notes,
            plan=plan,
            details={
                "image": request.image,
                "selection": request.selection,
                "strength": request.strength,
                "extent": list(plan.mask.extent),
                "model_extent": list(plan.model),
            },
        )
        outputs.append(
            TaskOutput(
                pixels,
                seed,
                recipe,
                bounds=plan.mask,
                composite_mask=canvas.composite_mask,
                plan=plan,
            )
        )
    return outputs


def inpaint_at_model_size(
    model: LoadedModel,
    settings: Settings,
    seed: int,
    *,
    image: FloatArray,
    mask: FloatArray,
    strength: float,
    axes: SeamlessAxes,
    reporter: StepReporter,
) -> FloatArray:
    """What the stock inpainting pipeline gives for the same picture and mask, bit for bit.

    image: (height, width, 3) float32 sRGB 0..1, already filled under the mask; mask: (height, width) 0..1, from 0.5 on
    repainted; both at a size the model can do, and so is the result. The stock pipeline knows denoisers with 4 and 9
    input channels; others go through the stock image-to-image pipeline with the unmasked latents put back at each step.
    """
    if int(model.unet.config.in_channels) not in (4, 9):
        keep = _MaskedDenoising(model, settings, seed, image=image, mask=mask, axes=axes)
        return denoise(
            "image_to_image",
            model,
            settings,
            seed,
            axes=axes,
            reporter=reporter,
            change=keep,
            image=as_tensor(image),
            strength=strength,
        )
    return denoise(
        "inpaint",
        model,
        settings,
        seed,
        axes=axes,
        reporter=reporter,
        image=as_tensor(image),
        mask_image=as_tensor(mask),
        width=image.shape[1],
        height=image.shape[0],
        strength=strength,
    )


class _MaskedDenoising:
    """After each step, puts the original's latents, noised for the next step, back where the mask is below 0.5.

    The same blend as the stock inpainting pipeline makes for denoisers with 4 input channels. It draws the noise that
    the image-to-image pipeline itself starts from, so that inside and outside of the mask belong together.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: Settings,
        seed: int,
        *,
        image: FloatArray,
        mask: FloatArray,
        axes: SeamlessAxes,
    ) -> None:
        self._pipeline = model.pipeline("image_to_image", settings.scheduler)
        generator = torch.Generator("cpu").manual_seed(seed)
        with torch.no_grad(), seamless(axes, model.vae):
            pixels = self._pipeline.image_processor.preprocess(as_tensor(image))
            encoded = model.vae.encode(pixels.to(model.device, model.dtype))
            latents = retrieve_latents(encoded, generator=generator)
            self._original = latents * model.vae.config.scaling_factor
        self._noise = torch.randn(
            self._original.shape, generator=generator, dtype=self._original.dtype
        ).to(model.device)
        size = self._original.shape[-2:]
        binary = torch.nn.functional.interpolate((as_tensor(mask) >= 0.5).float(), size=size)
        self._mask = binary.to(model.device, self._original.dtype)

    def __call__(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        scheduler = self._pipeline.scheduler
        timesteps = scheduler.timesteps[-self._pipeline.num_timesteps :]
        original = self._original
        if index < len(timesteps) - 1:
            original = scheduler.add_noise(original, self._noise, timesteps[index + 1][None])
        blended: torch.Tensor = (1 - self._mask) * original + self._mask * latents
        return blended


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
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


def _prepare(
    model: LoadedModel, request: Inpaint, settings: Settings, images: Mapping[str, Pixels]
) -> _Canvas:
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
    return _Canvas(
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
