"""Progress, previews and cancelling, once for all tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from core_server.pipelines.model import LoadedModel
from core_server.pipelines.task import StepCallback, StepProgress

PREVIEW_INTERVAL = 0.25
"""Seconds between two previews, at least."""

LatentsHook = Callable[[int, torch.Tensor], torch.Tensor]
"""(index of the step just done, its latents) -> the latents to go on with."""


class Part(NamedTuple):
    """One run of the denoiser within a picture. stage: for people, such as "Painting"."""

    stage: str
    steps: int


class StepReporter:
    """Tells `on_step` how far a job of `count` pictures is.

    steps: what one picture takes; a number, or its parts one after the other. Whatever `on_step` raises ends the task
    at that point: between two steps, before and after the decoding.
    """

    def __init__(
        self, model: LoadedModel, on_step: StepCallback, steps: int | Sequence[Part], count: int
    ) -> None:
        self._model = model
        self._on_step = on_step
        self._parts = (Part("Painting", steps),) if isinstance(steps, int) else tuple(steps)
        self._total = sum(part.steps for part in self._parts) * count
        self._done_before = self._parts_done = 0
        self._next_preview = 0.0

    @property
    def _part(self) -> Part:
        return self._parts[self._parts_done % len(self._parts)]

    def begin(self) -> None:
        """The next part begins."""
        self.stage(self._part.stage)

    def stage(self, stage: str) -> None:
        """A stage between steps begins."""
        self._on_step(StepProgress(self._done_before, self._total, stage))

    def picture_done(self) -> None:
        """One more part is denoised."""
        self._done_before += self._part.steps
        self._parts_done += 1

    def step_hook(
        self, change: LatentsHook | None = None
    ) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
        """A diffusers `callback_on_step_end`; `change` may replace the latents after each step."""

        def hook(
            pipeline: Any, index: int, _timestep: Any, tensors: dict[str, Any]
        ) -> dict[str, Any]:
            latents = tensors["latents"]
            if change is not None:
                latents = tensors["latents"] = change(index, latents)
            # Second-order schedulers call the denoiser twice a step.
            step = min(index // max(int(pipeline.scheduler.order), 1) + 1, self._part.steps)
            done = self._done_before + step
            self._on_step(StepProgress(done, self._total, self._part.stage, self._preview(latents)))
            return tensors

        return hook

    def _preview(self, latents: torch.Tensor) -> Any:
        now = time.monotonic()
        if now < self._next_preview:
            return None
        self._next_preview = now + PREVIEW_INTERVAL
        return self._model.preview(latents)
