"""What the worker process hosts, seen from outside: a runtime that turns requests into pictures. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy.typing as npt

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import Pixels
from core_server.canvas.plan import CanvasPlan
from core_server.pipelines.live_frame import LiveFrame, LivePicture, LiveStarted
from core_server.pipelines.request import DenoiserPrecision, Request


@dataclass(frozen=True, slots=True)
class StepProgress:
    """One step done.

    step of steps: over all variations of the job. stage: for people ("Loading model", "Painting", "Decoding").
    preview: shape (height, width, 3), uint8 sRGB, at most 256 px a side; None when this step brings none.
    """

    step: int
    steps: int
    stage: str
    preview: npt.NDArray[Any] | None = None


StepCallback = Callable[[StepProgress], None]
"""Called by the runtime after every step, on its thread. Raises `errors.TaskCancelled` to end the task there."""


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """One picture of a result.

    pixels: in the sample type and colour space of the input, uint8 sRGB where there was none.
    bounds: document px; composite_mask: one channel, same size; both None where there is no document.
    recipe: what was really done, JSON-able; repeating it repeats the picture. map_name: "" or a material map.
    """

    pixels: Pixels
    seed: int
    recipe: Mapping[str, Any]
    bounds: Bounds | None = None
    composite_mask: Pixels | None = None
    plan: CanvasPlan | None = None
    map_name: str = ""


class FewStep(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA of the model that paints in few steps without a second pass, and its own settings.

    adapter: folder inside the model's folder with pytorch_lora_weights.safetensors.
    """

    adapter: str
    num_inference_steps: int
    guidance_scale: float
    scheduler: str


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is and likes. Sizes in px. License: SPDX id or name."""

    model_id: str
    title: str
    family: str
    license: str
    commercial_use: bool
    size_bytes: int
    min_extent: Extent
    max_extent: Extent
    multiple: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    schedulers: tuple[str, ...]
    tasks: tuple[str, ...]
    description: str
    best_extent: Extent | None = None
    """The size it paints best; None if nobody knows."""
    trained: bool = True
    """False for random weights, which exist for tests."""
    layout_strength: float | None = None
    """Denoising strength at which it finishes layouts that `training.materials` draws; None: it starts from noise."""
    layout_detail: float = 0.0
    """Share of the fine detail that its autoencoder drops of such a layout which is put back."""
    few_step: FewStep | None = None
    bfloat16_autoencoder: bool = False
    """Its autoencoder may compute in bfloat16 on processors that have it: nobody sees the difference."""
    bfloat16_denoiser: bool = False
    """The same of its denoiser."""
    only_materials: bool = False
    """It knows no objects, people or scenes, which the recipe then says."""


class CacheFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How a cache does; `scumble.v1.CacheFigures`. bytes: 0 where they are counted with the model."""

    name: str
    hits: int
    misses: int
    bytes: int = 0


class RuntimeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where pictures are made. device: such as "cuda:0 (NVIDIA H100)" or "cpu". Memory in bytes, 0 if unknown.

    loaded: ids of the models that are in memory now, the one used last at the end; together: those of them that paint
    several pictures at once (`Runtime.run_together`). denoiser_precisions: those that the device has; see
    `request.DenoiserPrecision`.
    """

    device: str
    memory_bytes: int
    free_bytes: int
    default_model: str
    models: tuple[ModelProfile, ...] = field(default_factory=tuple)
    caches: tuple[CacheFigures, ...] = ()
    loaded: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    denoiser_precisions: tuple[DenoiserPrecision, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """One of several requests that are done together. on_step: as for `Runtime.run`; what it raises ends this one."""

    request: Request
    on_step: StepCallback


class Runtime(Protocol):
    """Owns the device. Made in the worker process by a factory named in the configuration; one thread calls it."""

    def load(self, model: str) -> ModelProfile:
        """Loads a model ("" = default) if it is not loaded yet. Errors: ModelNotFound, ModelLoadFailed, OutOfMemory."""

    def unload(self, model: str) -> None:
        """Gives a model's memory back. One that is not loaded, or not there, is no error."""

    def rest(self) -> None:
        """Gives all memory back after a while without work; models are read again when they are needed."""

    def info(self) -> RuntimeInfo:
        """What there is now."""

    def run(
        self, request: Request, images: Mapping[str, Pixels], on_step: StepCallback
    ) -> Sequence[TaskOutput]:
        """Does one request. `images`: pixels by id. Errors: InvalidRequest, TaskFailed and what `on_step` raises."""

    def run_together(
        self, wishes: Sequence[Wish], pictures: int
    ) -> Sequence[Sequence[TaskOutput] | Exception]:
        """Does requests with the same `request.batch_key`, up to `pictures` pictures at once where that can be.

        What became of each, in order. Errors: DeviceFault.
        """

    def paint(self, frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LivePicture:
        """Paints one frame of a live session. Errors: as `run`."""

    def begin_paint(self, frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LiveStarted:
        """As `paint`, but where the device works by itself it returns before that has ended; `canvas` is not read after
        it has returned."""
