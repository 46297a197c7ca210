"""A runtime whose fate is written in the prompt. It paints by arithmetic and needs no model.

The prompt's first word before a ":" chooses, the rest is free text:

default        4 quick steps, a deterministic picture from seed and size
slow           steps of 20 ms without an end, until it is cancelled
strides        the same in steps of 1 s
held once      as previews, but the first time it stays at its tenth step until its worker is killed; the flag is
               `<data_dir>/held-once`
hang           never returns and never calls back
eat            takes 32 MiB more with every step of 50 ms, up to 1 GiB, which it keeps without an end
crash          kills its own process with SIGKILL (exit status 9 where there is none)
crash once     the same, but only while `<data_dir>/crashed-once` does not exist
fault          raises DeviceFault, after which the worker ends itself
fault once     the same, but only while `<data_dir>/failed-once` does not exist
oom            raises OutOfMemory
bug            raises ZeroDivisionError
ahead          of a live session: the device goes on by itself, so that the next frame may come
echo           gives the first input image back, bit for bit
previews       20 steps, each with a preview
gated          says that it has begun by `<data_dir>/painting`, then waits while there is `<data_dir>/closed`


`SCUMBLE_FAKE_START` = "crash", "hang" or "missing" breaks the start itself.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.config import Tiers
from core_server.errors import DeviceFault, ModelLoadFailed, ModelNotFound, OutOfMemory
from core_server.pipelines.live_frame import LiveFrame, LivePicture, LiveStarted, LiveTold
from core_server.pipelines.request import (
    DenoiserPrecision,
    ImageToImage,
    Inpaint,
    MaterialMaps,
    Request,
    Texture,
)
from core_server.pipelines.task import (
    CacheFigures,
    FewStep,
    ModelProfile,
    RuntimeInfo,
    StepCallback,
    StepProgress,
    TaskOutput,
    Wish,
)

ENDLESS = 10_000_000
FAULT = "The graphics device reported an error (cuda:0: device-side assert triggered)."


def create(model: str, device: str, data_dir: Path, _tiers: Tiers | None = None) -> FakeRuntime:
    """Same signature as every runtime factory."""
    match os.environ.get("SCUMBLE_FAKE_START"):
        case "crash":
            _die()
        case "hang":
            time.sleep(3600)
        case "missing":
            raise ModelLoadFailed(f"The model {model!r} has no weights.", model=model)
    return FakeRuntime(model, device, data_dir)


def picture(seed: int, extent: Extent) -> np.ndarray:
    """The deterministic picture: shape (height, width, 3), uint8."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.integers(0, 256, (extent.height, extent.width, 3), dtype=np.uint8)


class FakeRuntime:
    """Implements `core_server.pipelines.task.Runtime`. `calls` records what was asked of it."""

    def __init__(self, model: str, device: str, data_dir: Path) -> None:
        self.calls: list[str] = []
        self._model = model
        self._device = device
        self._data_dir = data_dir
        self._eaten: list[np.ndarray] = []
        self._loaded: dict[str, None] = {}

    def load(self, model: str) -> ModelProfile:
        self.calls.append(f"load {model}")
        if model not in ("", self._model, "default", "tiny"):
            raise ModelNotFound(model, known=("default", "tiny"))
        self._loaded[model or self._model] = None
        return _profile(model or self._model)

    def unload(self, model: str) -> None:
        self.calls.append(f"unload {model}")
        self._loaded.pop(model or self._model, None)

    def rest(self) -> None:
        self.calls.append("rest")
        self._loaded.clear()

    def info(self) -> RuntimeInfo:
        return RuntimeInfo(
            device=self._device,
            memory_bytes=8 << 30,
            free_bytes=4 << 30,
            default_model=self._model,
            models=(_profile(self._model),),
            caches=(CacheFigures(name="prompts", hits=3, misses=2, bytes=1024),),
            loaded=tuple(self._loaded),
            together=tuple(self._loaded),
            denoiser_precisions=(DenoiserPrecision.INT8,),
        )

    def run(
        self, request: Request, images: Mapping[str, Pixels], on_step: StepCallback
    ) -> Sequence[TaskOutput]:
        parameters = request.parameters
        script = parameters.prompt.partition(":")[0].strip()
        self.calls.append(f"run {script}")
        self.load(parameters.model)
        steps, seconds = (parameters.num_inference_steps or 4, 0.0)
        self._misbehave(script)
        match script:
            case "eat":
                for step in range(ENDLESS):
                    if step < 32:
                        self._eaten.append(np.ones(32 << 20, np.uint8))
                    time.sleep(0.05)
                    on_step(StepProgress(step + 1, ENDLESS, "Painting"))
            case "slow" | "strides":
                steps, seconds = ENDLESS, 0.02 if script == "slow" else 1.0
            case "previews" | "held once":
                steps, seconds = 20, 0.02
        total = steps * parameters.count
        held = script == "held once" and self._first("held-once")
        for step in range(total):
            if held and step == 10:
                time.sleep(3600)
            time.sleep(seconds)
            shown = script in ("previews", "held once")
            preview = np.full((8, 12, 3), step % 256, np.uint8) if shown else None
            on_step(StepProgress(step + 1, total, "Painting", preview))
        return self._outputs(request, images, script)

    def run_together(
        self, wishes: Sequence[Wish], pictures: int
    ) -> Sequence[Sequence[TaskOutput] | Exception]:
        """One after the other; the recipes tell of how many."""
        self.calls.append(f"together {len(wishes)} of {pictures}")
        outcomes: list[Sequence[TaskOutput] | Exception] = []
        for wish in wishes:
            try:
                outputs = self.run(wish.request, {}, wish.on_step)
            except DeviceFault:
                raise
            except Exception as error:  # noqa: BLE001
                outcomes.append(error)
            else:
                outcomes.append(
                    [replace(it, recipe={**it.recipe, "batch": len(wishes)}) for it in outputs]
                )
        return outcomes

    def _misbehave(self, script: str) -> None:
        """The troubles that a picture and a live frame have in common."""
        match script:
            case "crash":
                _die()
            case "crash once" if self._first("crashed-once"):
                _die()
            case "fault":
                raise DeviceFault(FAULT, device="cuda:0")
            case "fault once" if self._first("failed-once"):
                raise DeviceFault(FAULT, device="cuda:0")
            case "oom":
                raise OutOfMemory("The device has too little memory; make the picture smaller.")
            case "bug":
                _ = 1 // 0
            case "hang":
                time.sleep(3600)
            case "gated":
                (self._data_dir / "painting").touch()
                while (self._data_dir / "closed").exists():
                    time.sleep(0.01)

    def _first(self, name: str) -> bool:
        flag = self._data_dir / name
        there = flag.exists()
        flag.touch()
        return not there

    def begin_paint(self, frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LiveStarted:
        picture = self.paint(frame, canvas, on_step)
        if frame.parameters.prompt.partition(":")[0].strip() == "ahead":
            return LiveStarted(lambda: dataclasses.replace(picture, ahead=True), on_device=True)
        return LiveStarted(lambda: picture)

    def paint(self, frame: LiveFrame, canvas: Pixels, on_step: StepCallback) -> LivePicture:
        """The canvas, inverted; the same scripts, where "slow" takes 0.1 s a frame."""
        script = frame.parameters.prompt.partition(":")[0].strip()
        self.calls.append(f"paint {script}")
        if (frame.parameters.model or self._model) not in self._loaded:
            on_step(StepProgress(0, 0, "Loading model"))
        self.load(frame.parameters.model)
        self._misbehave(script)
        match script:
            case "slow":
                for step in range(5):
                    time.sleep(0.02)
                    on_step(StepProgress(step + 1, 5, "Painting"))
        extent = frame.extent or canvas.extent
        inverted = np.resize(255 - canvas.array, (extent.height, extent.width, canvas.channels))
        told = LiveTold(
            model=frame.parameters.model or self._model,
            num_inference_steps=frame.parameters.num_inference_steps or 2,
            guidance_scale=1.0,
            scheduler="ddim",
            model_extent=extent,
            few_step=False,
            notes=(frame.parameters.prompt,),
            seconds=0.001,
        )
        return LivePicture(Pixels(np.ascontiguousarray(inverted), canvas.color_space), told)

    def _outputs(
        self, request: Request, images: Mapping[str, Pixels], script: str
    ) -> list[TaskOutput]:
        if isinstance(request, MaterialMaps):
            return self._maps(request, images[request.image].extent, request.parameters.seed)
        outputs = []
        for k in range(request.parameters.count):
            outputs.append(self._paint(request, images, script, k))
            if isinstance(request, Texture):
                outputs += self._maps(request, request.extent, outputs[-1].seed)
        return outputs

    def _maps(self, request: MaterialMaps | Texture, extent: Extent, seed: int) -> list[TaskOutput]:
        """One channel of ones; the recipe tells what was asked for."""
        recipe = {"task": "material_maps", "seamless": request.parameters.seamless.value}
        shape, found = (extent.height, extent.width, 1), []
        for name in request.maps:
            dtype = request.height_dtype if name == "height" else "uint8"
            pixels = Pixels(np.ones(shape, dtype), ColorSpace.NON_COLOR)
            found.append(TaskOutput(pixels, seed, recipe, map_name=name))
        return found

    def _paint(
        self, request: Request, images: Mapping[str, Pixels], script: str, k: int
    ) -> TaskOutput:
        seed = (request.parameters.seed + k) % 2**64
        recipe = {
            "model": request.parameters.model or self._model,
            "prompt": request.parameters.prompt,
            "seed": seed,
            "calls": len(self.calls),
        }
        if isinstance(request, ImageToImage | Inpaint):
            source = images[request.image]
            inverted = (
                source.array if script == "echo" else np.ascontiguousarray(source.array[::-1, ::-1])
            )
            pixels = Pixels(inverted, source.color_space, source.icc_profile)
        else:
            pixels = Pixels(picture(seed, request.extent))
        if isinstance(request, Texture):
            return TaskOutput(pixels, seed, recipe, map_name="base_color")
        if not isinstance(request, Inpaint):
            return TaskOutput(pixels, seed, recipe)
        extent = pixels.extent
        bounds = request.plan.context if request.plan else Bounds(0, 0, *extent)
        return TaskOutput(pixels, seed, recipe, bounds, images[request.selection], request.plan)


def _profile(model: str) -> ModelProfile:
    return ModelProfile(
        model_id=model,
        title="Fake",
        family="fake",
        license="MIT",
        commercial_use=True,
        size_bytes=0,
        min_extent=Extent(8, 8),
        max_extent=Extent(2048, 2048),
        multiple=8,
        num_inference_steps=4,
        guidance_scale=5.0,
        scheduler="euler",
        schedulers=("euler", "ddim"),
        tasks=("text_to_image", "image_to_image", "inpaint", "texture"),
        description="Paints by arithmetic.",
        best_extent=Extent(24, 16),
        few_step=FewStep(adapter="few", num_inference_steps=2, guidance_scale=1, scheduler="euler"),
    )


def _die() -> None:
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(9)
