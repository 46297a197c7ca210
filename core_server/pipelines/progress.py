"""Progress, previews and cancelling, once for all tasks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from core_server.canvas.geometry import Extent
from core_server.pipelines.latents import Latents
from core_server.pipelines.model import LoadedModel
from core_server.pipelines.preview import PreviewFetcher
from core_server.pipelines.task import StepCallback, StepProgress

PREVIEW_INTERVAL = 0.25
"""Seconds between two previews, at least."""

STEPS_AHEAD = 2
"""Steps that Python may have given to the device and that the device has not done."""

LatentsHook = Callable[[int, torch.Tensor], torch.Tensor]
"""(index of the timestep just done, its grid of latents as in `pipelines.latents`) -> the grid to go on with."""

StepWatch = Callable[[int, int], None]
"""(timesteps done, of them in one step) -> nothing."""


class Part(NamedTuple):
    """One run of the denoiser within a picture. stage: for people, such as "Painting"."""

    stage: str
    steps: int


class StepReporter:
    """Tells `on_step` how far a job of `count` pictures is.

    steps: what one picture takes; a number, or its parts one after the other. Whatever `on_step` raises ends the task
    at that point: between two steps, before and after the decoding. sets_pace: False where another reporter does.
    """

    def __init__(
        self,
        model: LoadedModel,
        on_step: StepCallback,
        steps: int | Sequence[Part],
        count: int,
        *,
        sets_pace: bool = True,
    ) -> None:
        self._model = model
        self._on_step = on_step
        self._parts = (Part("Painting", steps),) if isinstance(steps, int) else tuple(steps)
        self._total = sum(part.steps for part in self._parts) * count
        self._done_before = self._parts_done = 0
        self._next_preview = 0.0
        on_cuda = model.device.type == "cuda"
        self._pace = Pace(model.device) if on_cuda and sets_pace else None
        self._fetcher = PreviewFetcher(model.device) if on_cuda else None

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

    @property
    def steps(self) -> int:
        """Of the part under way, or of the next one."""
        return self._part.steps

    def step_hook(
        self, extent: Extent, change: LatentsHook | None = None, watch: StepWatch | None = None
    ) -> StepHook:
        """What is told of each step of the next picture. extent: its px; change: may replace the grid of latents."""
        return StepHook(self, self._model.latents, extent, change, watch)

    def step_done(self, step: int, grid: torch.Tensor) -> None:
        """Step `step` (from 1) of this picture is done and left this grid of latents."""
        if self._pace is not None:
            self._pace.step()
        part = self._part
        done = self._done_before + min(step, part.steps)
        self._on_step(StepProgress(done, self._total, part.stage, self._preview(grid)))

    def _preview(self, grid: torch.Tensor) -> Any:
        now = time.monotonic()
        due = now >= self._next_preview
        if due:
            self._next_preview = now + PREVIEW_INTERVAL
        if self._fetcher is None:
            return self._model.preview(grid) if due else None
        arrived = self._fetcher.take()
        if due:
            self._fetcher.ask(grid)
        return None if arrived is None else self._model.prepare_preview().drawn(arrived)


class Pace:
    """Lets Python be ahead of a CUDA device by so many steps and no more.

    Being ahead keeps the device busy; being far ahead would make progress a lie and cancelling slow.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ends: deque[Any] = deque()

    def step(self) -> None:
        """A step's work is with the device; waits until it has done the step before the last one."""
        end = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        end.record(torch.cuda.current_stream(self._device))
        self._ends.append(end)
        if len(self._ends) > STEPS_AHEAD:
            self._ends.popleft().synchronize()


@dataclass(slots=True)
class StepHook:
    """Sees every step of one picture, in either of the two ways in which a step can be seen.

    order: how often the scheduler calls the denoiser in one step.
    """

    _reporter: StepReporter
    _latents: Latents
    _extent: Extent
    _change: LatentsHook | None
    _watch: StepWatch | None = None
    order: int = 1

    def on_step_end(
        self, _pipeline: Any, index: int, _timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        """A diffusers `callback_on_step_end`."""
        tensors["latents"] = self.on_latents(index, tensors["latents"])
        return tensors

    def on_latents(self, index: int, latents: torch.Tensor) -> torch.Tensor:
        """The same for pipelines without such a callback: a pipeline's latents in, those to go on with out."""
        grid = self._latents.to_grid(latents, self._extent)
        if self._change is not None:
            grid = self._change(index, grid)
            latents = self._latents.from_grid(grid)
        if self._watch is not None:
            self._watch(index + 1, self.order)
        self._reporter.step_done(index // self.order + 1, grid)
        return latents
