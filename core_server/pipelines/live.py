"""Live painting: one canvas in, one picture out, as soon as can be. Only caches outlive a frame.

Diffusion UNets take the short way: prompt embeddings, the session's noise and the encoded canvas are kept, and the
denoiser is called directly (`pipelines.live_solver`). Every other model goes through its stock pipeline.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import torch

from core_server.canvas.colour import from_unit, to_unit
from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import SeamlessAxes
from core_server.canvas.rendition import Rendition
from core_server.canvas.resample import document_to_model, model_to_document, resize
from core_server.canvas.sizes import model_extent
from core_server.pipelines.conditioning import prompt_arguments
from core_server.pipelines.denoise import as_tensor, denoise, tiling
from core_server.pipelines.families.family import LatentSpace, Route
from core_server.pipelines.few_step import with_few_steps
from core_server.pipelines.live_autoencoder import LiveAutoencoder
from core_server.pipelines.live_frame import (
    DEFAULT_LIVE_STEPS,
    LiveFrame,
    LivePicture,
    LiveTold,
)
from core_server.pipelines.live_samples import is_plain, picture_of, source_from, source_of
from core_server.pipelines.live_solver import LiveSolver, solver_name
from core_server.pipelines.memory import Rung
from core_server.pipelines.model import FloatArray, LoadedModel, need_finite, on_host
from core_server.pipelines.outfit import dressed
from core_server.pipelines.progress import StepReporter
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.request import ImageToImage, Parameters
from core_server.pipelines.settings import Settings, settle
from core_server.pipelines.sizes import TiledSizes, size_note
from core_server.pipelines.strength import steps_run
from core_server.pipelines.task import StepCallback, StepProgress
from core_server.pipelines.words.styles import Styles

Value = TypeVar("Value")

_CANVAS = "canvas"
_MAX_PROMPTS, _MAX_NOISES, _MAX_CANVASES, _MAX_SOLVERS = 64, 16, 4, 4


class Recent(Generic[Value]):
    """The values used last. hits and misses count what was found and what had to be made."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Any, Value] = OrderedDict()
        self.hits = self.misses = 0

    def get(self, key: Any, make: Callable[[], Value]) -> Value:
        """The value of `key`, made if it is not there."""
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        self.misses += 1
        value = self._kept[key] = make()
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value


Words = dict[str, Any]
"""Arguments of the denoiser that follow from the prompt, and "batch": 1 or, with guidance, 2."""


@dataclass(slots=True, eq=False)
class _Caches:
    """What frames of one loaded model share. All of it depends on that model's weights and goes with them."""

    model: LoadedModel
    words: Recent[Words] = field(default_factory=lambda: Recent(_MAX_PROMPTS))
    noises: Recent[torch.Tensor] = field(default_factory=lambda: Recent(_MAX_NOISES))
    latents: Recent[torch.Tensor] = field(default_factory=lambda: Recent(_MAX_CANVASES))
    notes: Recent[tuple[str, ...]] = field(default_factory=lambda: Recent(_MAX_PROMPTS))
    solvers: Recent[LiveSolver] = field(default_factory=lambda: Recent(_MAX_SOLVERS))
    autoencoder: LiveAutoencoder = field(init=False)

    def __post_init__(self) -> None:
        self.autoencoder = LiveAutoencoder(self.model)


class LivePainter:
    """Paints frames for the runtime, on its thread."""

    def __init__(self, styles: Styles, data_dir: Path) -> None:
        self._styles = styles
        self._data_dir = data_dir
        self._caches: _Caches | None = None

    def forget(self) -> None:
        """Lets go of the model and of everything made with it."""
        self._caches = None

    @property
    def figures(self) -> tuple[int, int]:
        """Hits and misses of what is kept between frames: words, noise and canvases."""
        found = self._caches
        kept = () if found is None else (found.words, found.noises, found.latents)
        return sum(it.hits for it in kept), sum(it.misses for it in kept)

    def caches_of(self, model: LoadedModel) -> _Caches:
        """The caches for `model`; those of another one are given up."""
        if self._caches is None or self._caches.model is not model:
            self._caches = _Caches(model)
        return self._caches

    @torch.no_grad()
    def paint(
        self, loaded: LoadedModel, frame: LiveFrame, canvas: Pixels, on_step: StepCallback
    ) -> LivePicture:
        """One picture. Errors: InvalidRequest, TaskFailed and what `on_step` raises."""
        start = time.perf_counter()
        asked = frame.parameters
        steps = asked.num_inference_steps
        model = with_few_steps(
            loaded, msgspec.structs.replace(asked, num_inference_steps=None), anywhere=True
        )
        if steps is None:
            steps = min(DEFAULT_LIVE_STEPS, model.profile.num_inference_steps)
        parameters = msgspec.structs.replace(asked, num_inference_steps=steps)
        request = ImageToImage(parameters=parameters, image=_CANVAS, strength=frame.strength)
        settings = settle(request, model.profile, self._styles).at(parameters.seed)
        if frame.extent is not None and frame.extent != canvas.extent:
            canvas = _resampled(canvas, frame.extent, parameters.seamless)
        axes = parameters.seamless
        sizes = TiledSizes.of(model, axes)
        painted = model_extent(canvas.extent, sizes)
        short = takes_short_way(model)
        seen: tuple[str, ...] = ()
        with dressed(model, request, settings, {_CANVAS: canvas}, self._data_dir) as settings:

            def shortly(source: Callable[[], torch.Tensor]) -> torch.Tensor:
                return self._paint_shortly(
                    model, request, settings, _digest(canvas), painted, source, on_step
                )

            if short and is_plain(canvas, painted):
                pixels = picture_of(shortly(lambda: source_of(canvas, model.device)), canvas)
            else:
                rendition = Rendition.of(canvas)
                source = document_to_model(rendition.rgb, painted, sizes.multiple, axes)
                if short:
                    found = shortly(lambda: source_from(source, model.device))
                    image: FloatArray = on_host(found).numpy()
                else:
                    image = _paint_stock(model, request, settings, source, on_step)
                image, unpainted = (
                    model_to_document(it, canvas.extent, sizes.multiple, axes)
                    for it in (image, source)
                )
                pixels, seen = rendition.restore(image, unpainted), rendition.notes()
            notes = (
                *self._prompt_notes(model, parameters, settings),
                *size_note(canvas.extent, painted, sizes.multiple),
                *seen,
                *settings.notes,
                *(self.caches_of(model).autoencoder.notes if short else ()),
            )
        told = LiveTold(
            model=model.profile.model_id,
            num_inference_steps=steps,
            guidance_scale=settings.guidance_scale,
            scheduler=solver_name(settings.scheduler) if short else settings.scheduler,
            model_extent=painted,
            few_step=model.few_step,
            notes=notes,
            seconds=time.perf_counter() - start,
        )
        return LivePicture(pixels, told)

    def _prompt_notes(
        self, model: LoadedModel, parameters: Parameters, settings: Settings
    ) -> tuple[str, ...]:
        if parameters.adapters:  # they change what words mean, for this frame alone
            return tuple(prompt_notes(model, settings))
        key = (settings.prompt, settings.negative_prompt, settings.guidance_scale > 1)
        return self.caches_of(model).notes.get(key, lambda: tuple(prompt_notes(model, settings)))

    def _paint_shortly(  # noqa: PLR0917
        self,
        model: LoadedModel,
        request: ImageToImage,
        settings: Settings,
        digest: bytes,
        extent: Extent,
        source: Callable[[], torch.Tensor],
        on_step: StepCallback,
    ) -> torch.Tensor:
        """digest: of the canvas; source: what it is encoded from. Returns (height, width, 3) float32 sRGB 0..1 on the
        device."""
        caches, parameters, strength = self.caches_of(model), request.parameters, request.strength
        axes, steps, seed = parameters.seamless, settings.num_inference_steps, parameters.seed
        words = _words(caches, parameters, settings, extent)
        denoiser = model.denoiser
        dtype = next(denoiser.parameters()).dtype

        def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            batch = words["batch"]
            arguments = {key: value for key, value in words.items() if key != "batch"}
            doubled = torch.cat([latents] * batch).to(dtype)
            output: torch.Tensor = denoiser(
                doubled, timestep.expand(batch), return_dict=False, **arguments
            )[0]
            if batch == 1:
                return output.to(latents.dtype)
            without, along = output.to(latents.dtype).chunk(2)
            guided: torch.Tensor = without + settings.guidance_scale * (along - without)
            return guided

        with tiling(axes, model, extent):
            clean = caches.latents.get(
                (digest, tuple(extent), axes, seed),
                lambda: caches.autoencoder.encode(source(), seed, axes),
            )

            def noise(index: int) -> torch.Tensor:
                key = (seed, index, tuple(clean.shape))
                return caches.noises.get(key, lambda: _noise(clean, seed, index))

            on_step(StepProgress(0, steps, "Painting"))
            solver = caches.solvers.get(
                settings.scheduler,
                lambda: LiveSolver.of(model.components["scheduler"].config, settings.scheduler),
            )
            latents = solver.solve(
                predict, clean, noise, steps, strength,
                after_step=lambda step: on_step(StepProgress(step, steps, "Painting")),
            )  # fmt: skip
            picture, finite = caches.autoencoder.decode(latents, extent, axes)
            need_finite(finite)
            return picture


def _digest(canvas: Pixels) -> bytes:
    """Of what the model's source is made from: its samples are a quarter of the source's bytes."""
    found = hashlib.sha256(np.ascontiguousarray(canvas.array).data)
    found.update(canvas.color_space.value.encode() + (canvas.icc_profile or b""))
    return found.digest()


def takes_short_way(model: LoadedModel) -> bool:
    """Whether the denoiser can be called directly: a diffusion UNet for plain pictures, all of it on the device."""
    config = model.denoiser.config
    return (
        model.family.denoiser == "unet"
        and model.family.latent_space is LatentSpace.SCALED
        and "image_to_image" in model.family.tasks
        and model.route("image_to_image") is Route.STOCK
        and int(config.in_channels) == model.latents.channels
        and getattr(config, "encoder_hid_dim_type", None) is None
        and not model.options.get("requires_aesthetics_score", False)
        and model.rung in (None, Rung.RESIDENT)
    )


def _words(caches: _Caches, parameters: Parameters, settings: Settings, extent: Extent) -> Words:
    key = (settings.prompt, settings.negative_prompt, settings.guidance_scale > 1, tuple(extent))

    def make() -> Words:
        return _encode_words(caches.model, settings, extent)

    # Adapters change the text encoder for this frame alone.
    return make() if parameters.adapters else caches.words.get(key, make)


def _encode_words(model: LoadedModel, settings: Settings, extent: Extent) -> Words:
    pipeline = model.pipeline("image_to_image", settings.scheduler)
    guided = settings.guidance_scale > 1
    given = prompt_arguments(model, pipeline, settings) or {
        "prompt": settings.prompt,
        "negative_prompt": settings.negative_prompt or None,
    }
    found = pipeline.encode_prompt(
        device=model.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=guided,
        **given,
    )
    halves = found[1::-1] if guided else found[:1]
    words: Words = {"batch": len(halves), "encoder_hidden_states": torch.cat(list(halves))}
    if len(found) == 4:  # SDXL: a summary of the prompt, and sizes as in its paper's section 2.2
        pooled = found[3:1:-1] if guided else found[2:3]
        sizes = [extent.height, extent.width, 0, 0, extent.height, extent.width]
        ids = torch.tensor([sizes] * len(halves), dtype=found[0].dtype, device=model.device)
        words["added_cond_kwargs"] = {"text_embeds": torch.cat(list(pooled)), "time_ids": ids}
    return words


def _noise(like: torch.Tensor, seed: int, index: int) -> torch.Tensor:
    """The index-th noise of a seed."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for _ in range(index):
        torch.randn(like.shape, generator=generator)
    return torch.randn(like.shape, generator=generator).to(like.device, like.dtype)


def _paint_stock(
    model: LoadedModel,
    request: ImageToImage,
    settings: Settings,
    source: FloatArray,
    on_step: StepCallback,
) -> FloatArray:
    """As many steps of the stock schedule as were asked for, from the first one at or below the strength."""
    parameters, strength = request.parameters, request.strength
    steps, partial = settings.num_inference_steps, model.family.counts_partial_step
    whole = max(steps, int(steps / strength))
    while steps_run(whole, strength, counts_partial_step=partial) < steps:
        whole += 1
    reporter = StepReporter(
        model, on_step, steps_run(whole, strength, counts_partial_step=partial), 1
    )
    return denoise(
        "image_to_image",
        model,
        dataclasses.replace(settings, num_inference_steps=whole),
        parameters.seed,
        axes=parameters.seamless,
        reporter=reporter,
        image=as_tensor(source),
        strength=strength,
    )


def _resampled(canvas: Pixels, extent: Extent, axes: SeamlessAxes) -> Pixels:
    """A canvas at another size. Colours under alpha count as much as they are seen."""
    array = to_unit(canvas.array)
    if canvas.channels == 4:
        array = np.concatenate([array[..., :3] * array[..., 3:], array[..., 3:]], axis=2)
    array = resize(array, extent, seamless=axes)
    if canvas.channels == 4:
        alpha = np.clip(array[..., 3:], 0, 1)
        colour = array[..., :3] / np.maximum(alpha, np.float32(1e-4))
        array = np.concatenate([colour, alpha], axis=2)
    if canvas.array.dtype.kind == "u":
        array = np.clip(array, 0, 1)
    samples = np.ascontiguousarray(from_unit(np.asarray(array, np.float32), canvas.array.dtype))
    return Pixels(samples, canvas.color_space, canvas.icc_profile)
