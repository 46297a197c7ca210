"""Live painting: one canvas in, one picture out, as soon as can be. Only caches outlive a frame.

Diffusion UNets take the short way (`pipelines.live_short`): prompt embeddings, the session's noise and the encoded
canvas are kept, and the denoiser is called directly. Every other model goes through its stock pipeline.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.rendition import Rendition
from core_server.canvas.resample import document_to_model, model_to_document
from core_server.canvas.sizes import model_extent
from core_server.pipelines.few_step import with_few_steps
from core_server.pipelines.live_frame import (
    DEFAULT_LIVE_STEPS,
    LiveFrame,
    LivePicture,
    LiveStarted,
    LiveTold,
)
from core_server.pipelines.live_samples import is_plain, source_from
from core_server.pipelines.live_short import Finish, Repeatable, ShortWay, takes_short_way
from core_server.pipelines.live_solver import solver_name
from core_server.pipelines.live_stock import paint_stock, resampled
from core_server.pipelines.live_words import LiveCaches
from core_server.pipelines.model import LoadedModel, on_host
from core_server.pipelines.outfit import dressed
from core_server.pipelines.prompt import prompt_notes
from core_server.pipelines.request import ImageToImage, Parameters
from core_server.pipelines.settings import Settings, settle
from core_server.pipelines.sizes import TiledSizes, size_note
from core_server.pipelines.task import StepCallback, StepProgress
from core_server.pipelines.words.styles import Styles

_CANVAS = "canvas"
_MAX_MODELS, _MAX_STROKES = 4, 8
_WARM_STEPS = (1, DEFAULT_LIVE_STEPS)


@dataclass(frozen=True, slots=True, eq=False)
class _Stroke:
    """A frame that needs nothing but its graph for the next canvas of its kind."""

    loaded: LoadedModel
    repeatable: Repeatable
    told: LiveTold


class LivePainter:
    """Paints frames for the runtime, on its thread."""

    def __init__(self, styles: Styles, data_dir: Path) -> None:
        self._styles = styles
        self._data_dir = data_dir
        self._ways: OrderedDict[int, ShortWay] = OrderedDict()
        self._strokes: OrderedDict[Hashable, _Stroke] = OrderedDict()

    def forget(self) -> None:
        """Lets go of the models and of everything made with them."""
        while self._ways:
            self._give_up_oldest()

    @property
    def figures(self) -> tuple[int, int]:
        """Hits and misses of what is kept between frames: words, noise and canvases."""
        kept = [
            it
            for way in self._ways.values()
            for it in (way.caches.words, way.caches.noises, way.caches.latents)
        ]
        return sum(it.hits for it in kept), sum(it.misses for it in kept)

    def caches_of(self, model: LoadedModel) -> LiveCaches:
        """What frames of `model` share."""
        return self._way(model).caches

    def _way(self, model: LoadedModel) -> ShortWay:
        way = self._ways.get(id(model))
        if way is None:
            while len(self._ways) >= _MAX_MODELS:
                self._give_up_oldest()
            way = self._ways[id(model)] = ShortWay(LiveCaches(model))
        self._ways.move_to_end(id(model))
        return way

    def _give_up_oldest(self) -> None:
        _, way = self._ways.popitem(last=False)
        self._strokes.clear()
        frames = way.caches.model.tiers.frames
        if frames is not None:  # they read the weights of a tiny autoencoder that goes now
            frames.clear()

    def warm_up(self, loaded: LoadedModel, extent: Extent) -> None:
        """Records the graphs of frames of that size, px, where a tiny autoencoder says that the model is for painting
        live: then the first frame of a session is as fast as the others."""
        if not takes_short_way(loaded) or not self.caches_of(loaded).autoencoder.is_tiny:
            return
        canvas = Pixels(np.zeros((extent.height, extent.width, 3), np.uint8))
        for steps in _WARM_STEPS:
            parameters = Parameters(
                prompt="warming up", model=loaded.profile.model_id, num_inference_steps=steps
            )
            frame = LiveFrame(parameters=parameters, strength=0.5)
            self.paint(loaded, frame, canvas, lambda _step: None)
            self.paint(loaded, frame, canvas, lambda _step: None)

    def paint(
        self, loaded: LoadedModel, frame: LiveFrame, canvas: Pixels, on_step: StepCallback
    ) -> LivePicture:
        """One picture. Errors: InvalidRequest, TaskFailed and what `on_step` raises."""
        return self.begin(loaded, frame, canvas, on_step).finish()

    @torch.no_grad()
    def begin(
        self, loaded: LoadedModel, frame: LiveFrame, canvas: Pixels, on_step: StepCallback
    ) -> LiveStarted:
        """As `paint`; the picture may still be on the device."""
        start, asked = time.perf_counter(), frame.parameters
        given = canvas
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
            canvas = resampled(canvas, frame.extent, parameters.seamless)
        axes = parameters.seamless
        sizes = TiledSizes.of(model, axes)
        painted = model_extent(canvas.extent, sizes)
        way, short = self._way(model), takes_short_way(model)
        repeatable: Repeatable | None = None
        seen: tuple[str, ...] = ()
        with dressed(model, request, settings, {_CANVAS: canvas}, self._data_dir) as settings:
            if short and is_plain(canvas, painted):
                finish, repeatable = way.begin(request, settings, canvas, painted, on_step)
            else:
                rendition = Rendition.of(canvas)
                source = document_to_model(rendition.rgb, painted, sizes.multiple, axes)
                if short:
                    encoded = lambda: source_from(source, model.device)  # noqa: E731
                    found = way.paint(request, settings, canvas, painted, encoded, on_step)
                    image = on_host(found).numpy()
                else:
                    image = paint_stock(model, request, settings, source, on_step)
                image, unpainted = (
                    model_to_document(it, canvas.extent, sizes.multiple, axes)
                    for it in (image, source)
                )
                pixels, seen = rendition.restore(image, unpainted), rendition.notes()
                finish = lambda: pixels  # noqa: E731
            notes = (
                *self._prompt_notes(model, parameters, settings),
                *size_note(canvas.extent, painted, sizes.multiple),
                *seen,
                *settings.notes,
                *(way.caches.autoencoder.notes if short else ()),
            )
        told = LiveTold(
            model=model.profile.model_id,
            num_inference_steps=steps,
            guidance_scale=settings.guidance_scale,
            scheduler=solver_name(settings.scheduler) if short else settings.scheduler,
            model_extent=painted,
            few_step=model.few_step,
            notes=notes,
        )
        if repeatable is not None and given is canvas and not parameters.style:
            self._strokes[frame, _kind(canvas)] = _Stroke(loaded, repeatable, told)
            if len(self._strokes) > _MAX_STROKES:
                self._strokes.popitem(last=False)
        return _started(finish, told, start, ahead=repeatable is not None)

    @torch.no_grad()
    def again(
        self,
        frame: LiveFrame,
        canvas: Pixels,
        on_step: StepCallback,
        is_loaded: Callable[[LoadedModel], bool],
    ) -> LiveStarted | None:
        """A frame like one before, of another canvas, by its graph; None where there is none such."""
        start, kind = time.perf_counter(), (frame, _kind(canvas))
        stroke = self._strokes.get(kind)
        if stroke is None or not is_loaded(stroke.loaded):
            return None
        on_step(StepProgress(0, stroke.told.num_inference_steps, "Painting"))
        finish = stroke.repeatable.begin(canvas)
        if finish is None:
            del self._strokes[kind]
            return None
        self._strokes.move_to_end(kind)
        return _started(finish, stroke.told, start, ahead=True)

    def _prompt_notes(
        self, model: LoadedModel, parameters: Parameters, settings: Settings
    ) -> tuple[str, ...]:
        if parameters.adapters:  # they change what words mean, for this frame alone
            return tuple(prompt_notes(model, settings))
        key = (settings.prompt, settings.negative_prompt, settings.guidance_scale > 1)
        return self.caches_of(model).notes.get(key, lambda: tuple(prompt_notes(model, settings)))


def _started(finish: Finish, told: LiveTold, start: float, *, ahead: bool) -> LiveStarted:
    def finished() -> LivePicture:
        pixels = finish()
        seconds = time.perf_counter() - start
        return LivePicture(pixels, msgspec.structs.replace(told, seconds=seconds), ahead=ahead)

    return LiveStarted(finished, ahead)


def _kind(canvas: Pixels) -> Hashable:
    return (canvas.array.shape, canvas.array.dtype, canvas.color_space, canvas.icc_profile)
