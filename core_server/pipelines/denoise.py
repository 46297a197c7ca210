"""From noise or a picture to a picture: the one place that calls a stock diffusers pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from core_server.canvas.geometry import Extent
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.resample import extent_of, resize
from core_server.pipelines.conditioning import prompt_arguments
from core_server.pipelines.control import stock_pipeline
from core_server.pipelines.control_residuals import Steering, steered, steering
from core_server.pipelines.families.family import Route, Seamless
from core_server.pipelines.model import FloatArray, LoadedModel
from core_server.pipelines.progress import LatentsHook, StepReporter
from core_server.pipelines.schedulers import has_clean_steps
from core_server.pipelines.seamless import seamless
from core_server.pipelines.seamless_roll import Roller, rolled_denoiser
from core_server.pipelines.seamless_vae import seamless_vae
from core_server.pipelines.settings import Settings
from core_server.pipelines.shortcuts import Guided, cached_blocks, need_shortcuts
from core_server.pipelines.sizes import TiledSizes
from core_server.pipelines.stepped_scheduler import SteppedScheduler, noised
from core_server.pipelines.strength import steps_run

Beside = Callable[[Roller], AbstractContextManager[None]]
"""A context within which the denoiser's calls see more. The roller: how latents are shifted in the step at hand."""


def denoise(
    task: str,
    model: LoadedModel,
    settings: Settings,
    seed: int,
    *,
    axes: SeamlessAxes,
    reporter: StepReporter,
    change: LatentsHook | None = None,
    **inputs: Any,
) -> FloatArray:
    """What the stock pipeline gives for a generator on the CPU, bit for bit, if nothing is changed.

    task: "text_to_image" (inputs: width, height), "image_to_image" (image, strength) or "inpaint" (image, mask_image,
    strength; width and height as the image's). change: sees, and may replace, the grid of latents after each step.
    Returns (height, width, 3) float32 sRGB 0..1 at model size. Decoding is a step of its own, so that cancelling works
    before it. Errors: InvalidRequest for a task that the model's family cannot do.
    """
    settings = settings.at(seed)
    generator = torch.Generator("cpu").manual_seed(seed)
    control = settings.control
    pipeline = stock_pipeline(task, model, settings)
    route = model.route(task)
    extent = _extent(inputs)
    painted = Extent(*model.family.paints_at(task, *extent))
    known = _known_by(pipeline.__class__)
    arguments = {
        **model.family.arguments(settings.guidance),
        **prompt_arguments(model, pipeline, settings),
        "num_inference_steps": settings.num_inference_steps,
        "generator": generator,
        "output_type": "latent",
        "width": extent.width,
        "height": extent.height,
        # FLUX.1 Kontext would choose a size by itself.
        "max_area": extent.area,
        "_auto_resize": False,
        **inputs,
    }
    multiple = TiledSizes.of(model, axes).multiple
    steer = steering(
        model, settings, pipeline, generator, seed=seed, painted=painted, multiple=multiple
    )
    if control is not None and steer is None:
        arguments |= control.arguments(task, painted, multiple, axes)
    need_shortcuts(model, settings)
    lasting = Guided(settings, reporter.steps)
    hook = reporter.step_hook(painted, change, lasting.step_done)
    # The words of a LoRA or a textual inversion are this job's alone.
    words = nullcontext() if "adapters" in settings.recipe else model.prompts.used_by(pipeline)
    with (
        cached_blocks(model, settings),
        tiling(
            axes,
            model,
            painted,
            beside=_beside(settings, pipeline, steer),
            networks=() if control is None else control.networks,
            precision=settings.denoiser_precision,
        ),
        lasting.by(model.denoiser),
        words,
        _encoding_once(model, settings, axes),
    ):
        reporter.begin()
        model.prepare_preview()
        if route is Route.WHOLE_MASK:
            arguments["mask_image"] = torch.ones(1, 1, extent.height, extent.width)
        begin = None
        if route is Route.LATE_START:
            begin, arguments["latents"] = _late_start(
                model, pipeline, settings, generator, **inputs
            )
        # What a consistency model's pipeline returns no callback can change.
        clean = has_clean_steps(settings.scheduler)
        called_back = "callback_on_step_end" in known and not clean
        if begin is not None or not called_back:
            on_step = None if called_back else hook.on_latents
            pipeline.scheduler = SteppedScheduler(pipeline.scheduler, begin, on_step, clean=clean)
        hook.order = max(int(pipeline.scheduler.order), 1)
        if called_back:
            arguments["callback_on_step_end"] = hook.on_step_end
        if model.family.pil_images:
            arguments |= _as_pil(arguments)
        if settings.reference is not None:
            guided = settings.guidance_scale > 1
            arguments |= settings.reference.arguments(arguments, known, guided=guided)
        result = pipeline(**{key: value for key, value in arguments.items() if key in known})
        reporter.picture_done()
        reporter.stage("Decoding")
        picture = model.decode(result.images, painted)
    return resized(picture, extent, axes)


@contextmanager
def tiling(
    axes: SeamlessAxes,
    model: LoadedModel,
    extent: Extent,
    *,
    beside: Sequence[Beside] = (),
    networks: Iterable[torch.nn.Module] = (),
    precision: str = "",
) -> Iterator[None]:
    """Within the context the model paints, encodes and decodes tiles along `axes`, as fast as it can.

    extent: px at model size. beside: what else the denoiser's calls are to see; networks: those for control, which tile
    too. precision: of the denoiser's products, "" as it is loaded.
    """
    width, height = extent
    multiple = model.scale_factor * model.family.patch
    is_packed = model.latents.is_packed
    cell = multiple if is_packed else model.scale_factor  # px of what the denoiser takes as one
    rolled = axes if model.family.seamless is Seamless.ROLL else SeamlessAxes.NONE
    roller = Roller(rolled, Extent(width // cell, height // cell))
    with ExitStack() as stack:
        stack.enter_context(model.tiers.painting(model, axes, extent, precision))
        stack.enter_context(seamless(axes, model.denoiser, *networks))
        stack.enter_context(seamless_vae(axes, model.vae, model.scale_factor))
        for context in beside:
            stack.enter_context(context(roller))
        stack.enter_context(rolled_denoiser(model.denoiser, roller))
        yield


def _beside(settings: Settings, pipeline: Any, steer: Steering | None) -> list[Beside]:
    """What a transformer sees at each call beside what the pipeline shows it."""
    reference = settings.reference
    found: list[Beside] = [lambda roller: steered(steer, roller)]
    if reference is not None:
        found.append(lambda _: reference.beside(pipeline))
    return found


@contextmanager
def _encoding_once(model: LoadedModel, settings: Settings, axes: SeamlessAxes) -> Iterator[None]:
    """Within the context no picture is encoded twice: not to start from, and not, at each step, as control."""
    networks = () if settings.control is None else settings.control.networks
    controls = [
        it.controlnet_cond_embedding for it in networks if hasattr(it, "controlnet_cond_embedding")
    ]
    how = (axes, model.tiers.kernels, getattr(model.vae, "use_tiling", False))
    with ExitStack() as stack:
        stack.enter_context(model.encoded.used_by(model.vae, "encode", how))
        for embedding in controls:
            stack.enter_context(model.encoded.used_by(embedding, "forward", axes))
        yield


@cache
def _known_by(kind: Any) -> Mapping[str, inspect.Parameter]:
    """What a pipeline's call takes, by name."""
    return inspect.signature(kind.__call__).parameters


def as_tensor(image: FloatArray) -> torch.Tensor:
    """(height, width) or (height, width, channels) to (1, channels, height, width).

    A view with channels last in memory, as diffusers itself turns a PIL picture into a tensor: convolutions choose
    their algorithm by the layout, and another layout gives other last bits.
    """
    return torch.from_numpy(image.reshape(1, *image.shape[:2], -1).transpose(0, 3, 1, 2))


def _extent(inputs: dict[str, Any]) -> Extent:
    if "image" in inputs:
        height, width = inputs["image"].shape[-2:]
        return Extent(int(width), int(height))
    return Extent(int(inputs["width"]), int(inputs["height"]))


@torch.no_grad()
def _late_start(
    model: LoadedModel,
    pipeline: Any,
    settings: Settings,
    generator: torch.Generator,
    *,
    image: torch.Tensor,
    strength: float,
) -> tuple[int, torch.Tensor]:
    """Timesteps to leave out, and the picture with the noise of the first that is left, as the pipeline's latents."""
    scheduler = pipeline.scheduler
    pixels = pipeline.image_processor.preprocess(image).to(model.device, model.dtype)
    grid = model.latents.encode(pixels, generator)
    noise = torch.randn(grid.shape, generator=generator, dtype=grid.dtype).to(model.device)
    steps = settings.num_inference_steps
    cells = grid.shape[-2] * grid.shape[-1]
    own = model.family.schedule(steps, cells, scheduler.config)
    if "sigmas" in own:
        scheduler.set_timesteps(device=model.device, **own)
    else:
        scheduler.set_timesteps(steps, device=model.device, **own)
    left_out = steps - steps_run(steps, strength)
    begin = left_out * int(scheduler.order)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    start = noised(scheduler, grid, noise, scheduler.timesteps[begin : begin + 1])
    return begin, model.latents.started(start)


def _as_pil(arguments: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("image", "mask_image"):
        if name in arguments:
            array = arguments[name][0].permute(1, 2, 0).numpy()
            found[name] = Image.fromarray((array * 255).round().astype(np.uint8).squeeze())
    return found


def resized(picture: FloatArray, extent: Extent, axes: SeamlessAxes) -> FloatArray:
    """For pipelines that paint pictures at a size of their own, whatever they are asked for."""
    if extent_of(picture) == extent:
        return picture
    return np.asarray(np.clip(resize(picture, extent, seamless=axes), 0, 1), np.float32)
