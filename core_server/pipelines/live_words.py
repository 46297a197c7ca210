"""What a live frame needs beside its canvas, as tensors on the device: words, noise, the levels of its steps."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import torch

from core_server.canvas.geometry import Extent
from core_server.pipelines.conditioning import prompt_arguments
from core_server.pipelines.live_autoencoder import LiveAutoencoder
from core_server.pipelines.live_network import Words
from core_server.pipelines.live_solver import LiveSolver
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.request import ImageToImage
from core_server.pipelines.settings import Settings

Value = TypeVar("Value")

_MAX_PROMPTS, _MAX_NOISES, _MAX_CANVASES, _MAX_SOLVERS, _MAX_LEVELS = 64, 16, 4, 4, 64


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


@dataclass(slots=True, eq=False)
class LiveCaches:
    """What frames of one loaded model share. All of it depends on that model's weights and goes with them."""

    model: LoadedModel
    words: Recent[Words] = field(default_factory=lambda: Recent(_MAX_PROMPTS))
    noises: Recent[torch.Tensor] = field(default_factory=lambda: Recent(_MAX_NOISES))
    latents: Recent[torch.Tensor] = field(default_factory=lambda: Recent(_MAX_CANVASES))
    notes: Recent[tuple[str, ...]] = field(default_factory=lambda: Recent(_MAX_PROMPTS))
    solvers: Recent[LiveSolver] = field(default_factory=lambda: Recent(_MAX_SOLVERS))
    levels: Recent[tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=lambda: Recent(_MAX_LEVELS)
    )
    autoencoder: LiveAutoencoder = field(init=False)

    def __post_init__(self) -> None:
        self.autoencoder = LiveAutoencoder(self.model)


class Numbers(NamedTuple):
    """The arguments of `live_network.FrameNetwork` after the canvas."""

    noises: tuple[torch.Tensor, ...]
    timesteps: torch.Tensor
    levels: torch.Tensor
    guidance: torch.Tensor | None
    words: Words


def solver_of(caches: LiveCaches, settings: Settings) -> LiveSolver:
    """For the scheduler that was asked for."""
    config = caches.model.components["scheduler"].config
    return caches.solvers.get(settings.scheduler, lambda: LiveSolver.of(config, settings.scheduler))


def numbers_of(
    caches: LiveCaches, request: ImageToImage, settings: Settings, extent: Extent
) -> Numbers:
    """For a frame of that size, px."""
    model, seed = caches.model, request.parameters.seed
    solver = solver_of(caches, settings)
    steps, strength, guidance = (
        settings.num_inference_steps, request.strength, settings.guidance_scale,
    )  # fmt: skip

    def levels() -> tuple[torch.Tensor, torch.Tensor]:
        timesteps = solver.timesteps(steps, strength)
        return (
            sent(torch.tensor(timesteps), model.device),
            sent(solver.levels(timesteps), model.device),
        )

    timesteps, mixed = caches.levels.get((settings.scheduler, steps, strength), levels)
    grid = model.latents.grid_extent(extent)
    shape = (1, model.latents.channels, grid.height, grid.width)
    count = len(timesteps) if solver.noised_again else 1
    return Numbers(
        tuple(
            caches.noises.get((seed, k, shape), lambda k=k: _noise(shape, seed, k, model.device))  # type: ignore[misc]
            for k in range(count)
        ),
        timesteps,
        mixed,
        None if guidance <= 1 else sent(torch.tensor(guidance), model.device),
        _words(caches, request, settings, extent),
    )


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A small tensor on the device; nobody waits until what the device does now is done."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _noise(shape: tuple[int, ...], seed: int, index: int, device: torch.device) -> torch.Tensor:
    """The index-th noise of a seed."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for _ in range(index):
        torch.randn(shape, generator=generator)
    return sent(torch.randn(shape, generator=generator), device)


def _words(caches: LiveCaches, request: ImageToImage, settings: Settings, extent: Extent) -> Words:
    key = (settings.prompt, settings.negative_prompt, settings.guidance_scale > 1, tuple(extent))

    def make() -> Words:
        return _encode_words(caches.model, settings, extent)

    # Adapters change the text encoder for this frame alone.
    return make() if request.parameters.adapters else caches.words.get(key, make)


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
    words: Words = {"encoder_hidden_states": torch.cat(list(halves))}
    if len(found) == 4:  # SDXL: a summary of the prompt, and sizes as in its paper's section 2.2
        pooled = found[3:1:-1] if guided else found[2:3]
        sizes = [extent.height, extent.width, 0, 0, extent.height, extent.width]
        ids = torch.tensor([sizes] * len(halves), dtype=found[0].dtype, device=model.device)
        words["added_cond_kwargs"] = {"text_embeds": torch.cat(list(pooled)), "time_ids": ids}
    return words
