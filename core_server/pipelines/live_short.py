"""The short way from a canvas to its picture: the denoiser called directly, the whole frame by one graph if it can be.

A frame is begun here and finished by whoever waits for it: between the two the device works, and the next frame may be
begun.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np
import torch

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import Pixels
from core_server.pipelines.denoise import tiling
from core_server.pipelines.families.family import LatentSpace, Route
from core_server.pipelines.live_network import FrameNetwork
from core_server.pipelines.live_samples import on_device, source_of
from core_server.pipelines.live_waits import Waits
from core_server.pipelines.live_words import LiveCaches, Numbers, numbers_of, solver_of
from core_server.pipelines.memory import Rung
from core_server.pipelines.model import LoadedModel, need_finite
from core_server.pipelines.request import ImageToImage
from core_server.pipelines.settings import Settings
from core_server.pipelines.task import StepCallback, StepProgress
from core_server.pipelines.tiers.frame_graphs import FrameGraphs
from core_server.pipelines.tiers.state import state_of

Finish = Callable[[], Pixels]
"""Waits for the device; from any thread. Errors: TaskFailed for numbers that are not finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What a frame by a graph alone needs beside its canvas and `numbers`. state: as `ShortWay` makes it; serving: as
    `ModelTiers.ready` takes it; stamp: as `stamp_of` the model was."""

    model: LoadedModel
    graphs: FrameGraphs
    state: Hashable
    serving: Hashable
    stamp: Hashable
    waits: Waits

    def begin(self, canvas: Pixels, numbers: Numbers) -> Finish | None:
        """A frame; None where the graph is gone or the model is another one by now."""
        model = self.model
        if self.stamp != stamp_of(model):
            return None
        state = (self.state, model.tiers.ready(self.serving, numbers.words))
        arguments = (on_device(canvas, model.device), None, *numbers)
        result = self.graphs.again(state, arguments)
        return None if result is None else handed_over(result, canvas, self.waits)


@dataclass(frozen=True, slots=True, eq=False)
class Repeatable:
    """A frame that a graph painted from its canvas alone: another canvas needs nothing else."""

    recorded: Recorded
    numbers: Numbers

    def begin(self, canvas: Pixels) -> Finish | None:
        """The same frame of another canvas, as `Recorded.begin`."""
        return self.recorded.begin(canvas, self.numbers)


@dataclass(slots=True, eq=False)
class ShortWay:
    """For one loaded model."""

    caches: LiveCaches
    waits: Waits = field(default_factory=Waits)
    _recorded: dict[Hashable, Recorded] = field(default_factory=dict)

    def begin(
        self,
        request: ImageToImage,
        settings: Settings,
        canvas: Pixels,
        extent: Extent,
        on_step: StepCallback,
    ) -> tuple[Finish, Repeatable | None]:
        """A frame of a plain canvas, and what repeats it. extent: the canvas's own."""
        caches, model = self.caches, self.caches.model
        autoencoder = caches.autoencoder
        numbers = numbers_of(caches, request, settings, extent)
        kind = self._kind(request, settings)
        known = self._recorded.get(kind)
        if known is not None and not request.parameters.adapters:
            # Another prompt or strength: the graph takes it as it takes another canvas.
            on_step(StepProgress(0, settings.num_inference_steps, "Painting"))
            finish = known.begin(canvas, numbers)
            if finish is not None:
                return finish, Repeatable(known, numbers)
        # An autoencoder that is turned to another precision and back is no graph's.
        fixed = autoencoder.is_tiny or not model.decodes_upcast
        graphs = model.tiers.frames_for(model, extent) if fixed else None
        samples = on_device(canvas, model.device)
        with tiling(request.parameters.seamless, model, extent):
            on_step(StepProgress(0, settings.num_inference_steps, "Painting"))
            clean = None
            if graphs is None or not autoencoder.is_tiny:
                here = samples.to(model.device, non_blocking=True)
                clean = self._clean(request, canvas, extent, lambda: source_of(here))
            arguments = (samples, clean, *numbers)
            network = self._network(request, settings, extent, on_step)
            if graphs is not None:
                if not model.tiers.is_settled:
                    network(*arguments)
                serving, constant = model.tiers.serving, self._state(kind, network)
                state = (constant, model.tiers.ready(serving, numbers.words))
                if graphs.may_launch(state, arguments):
                    whole = self._network(request, settings, extent, on_step, whole=True)
                    result = graphs.call(whole, state, arguments, {})
                    repeatable = None
                    if clean is None and model.rack is None:
                        stamp = stamp_of(model)
                        made = Recorded(model, graphs, constant, serving, stamp, self.waits)
                        self._recorded[kind], repeatable = made, Repeatable(made, numbers)
                    return handed_over(result, canvas, self.waits), repeatable
            return handed_over(network(*arguments), canvas, self.waits), None

    def paint(  # noqa: PLR0917
        self,
        request: ImageToImage,
        settings: Settings,
        canvas: Pixels,
        extent: Extent,
        source: Callable[[], torch.Tensor],
        on_step: StepCallback,
    ) -> torch.Tensor:
        """A frame of any canvas. extent: px at model size; source: what it is encoded from, as `source_of`.

        Returns (height, width, 3) float32 sRGB 0..1 on the device. Errors: TaskFailed.
        """
        numbers = numbers_of(self.caches, request, settings, extent)
        with tiling(request.parameters.seamless, self.caches.model, extent):
            clean = self._clean(request, canvas, extent, source)
            on_step(StepProgress(0, settings.num_inference_steps, "Painting"))
            network = self._network(request, settings, extent, on_step)
            picture, finite = network.painted(clean, *numbers)
            need_finite(finite)
            return picture

    def _clean(
        self,
        request: ImageToImage,
        canvas: Pixels,
        extent: Extent,
        source: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        axes, seed = request.parameters.seamless, request.parameters.seed
        return self.caches.latents.get(
            (_digest(canvas), tuple(extent), axes, seed),
            lambda: self.caches.autoencoder.encode(source(), seed, axes),
        )

    def _network(
        self,
        request: ImageToImage,
        settings: Settings,
        extent: Extent,
        on_step: StepCallback,
        *,
        whole: bool = False,
    ) -> FrameNetwork:
        """Within `tiling`. whole: for a graph of all of it."""
        model, steps = self.caches.model, settings.num_inference_steps
        denoiser = model.denoiser

        def told(step: int) -> None:
            on_step(StepProgress(step, steps, "Painting"))

        return FrameNetwork(
            denoiser=(model.tiers.ungraphed or denoiser) if whole else denoiser,
            dtype=next(denoiser.parameters()).dtype,
            solver=solver_of(self.caches, settings),
            autoencoder=self.caches.autoencoder,
            axes=request.parameters.seamless,
            extent=extent,
            after_step=None if whole else told,
            graphed=not whole,
        )

    def _kind(self, request: ImageToImage, settings: Settings) -> Hashable:
        """What of the settings is constant in a graph."""
        solver = solver_of(self.caches, settings)
        guided = settings.guidance_scale > 1
        return (request.parameters.seamless, solver.kind, solver.noised_again, guided)

    def _state(self, kind: Hashable, network: FrameNetwork) -> Hashable:
        """Of everything that decides the numbers beside the arguments."""
        model = self.caches.model
        return (
            kind,
            model.tiers.kernels,
            state_of(model.denoiser, has_adapters=model.rack is not None),
            self.caches.autoencoder.state,
            network.dtype,
        )


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


def stamp_of(model: LoadedModel) -> Hashable:
    """What must not have changed since a graph was recorded; adapters, once there were any, are looked at each time."""
    return (
        model.rung is Rung.RESIDENT,
        model.rack is None,
        id(model.tiers.frames),
        next(model.denoiser.parameters()).data_ptr(),
    )


def handed_over(result: torch.Tensor, canvas: Pixels, waits: Waits) -> Finish:
    """result: as `live_network.FrameNetwork` gives it. The device writes it to the host when it comes to that."""
    event = None
    if result.device.type == "cuda":
        host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
        host.copy_(result, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(result.device))
    else:
        host = result.cpu()
    shape, space, profile = canvas.array.shape, canvas.color_space, canvas.icc_profile

    def finish() -> Pixels:
        if event is not None:
            waits.until(event)
        samples = host.numpy()
        need_finite(host[-1])
        return Pixels(samples[:-1].reshape(shape), space, profile)

    return finish


def _digest(canvas: Pixels) -> bytes:
    """Of what the model's source is made from: its samples are a quarter of the source's bytes."""
    found = hashlib.sha256(np.ascontiguousarray(canvas.array).data)
    found.update(canvas.color_space.value.encode() + (canvas.icc_profile or b""))
    return found.digest()
