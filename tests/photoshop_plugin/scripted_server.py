"""Our own server interface with a script instead of a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scumble.client import (
    AdapterInfo,
    AdapterKind,
    Bounds,
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    ColorSpace,
    DenoiserPrecision,
    Event,
    Extent,
    FillMode,
    Inpaint,
    JobState,
    Limits,
    Live,
    LivePicture,
    LiveSettings,
    Model,
    Outpaint,
    Patch,
    Pixels,
    Progress,
    Request,
    SampleType,
    ScumbleError,
    SeamlessAxes,
    ServerInfo,
    Style,
    TextToImage,
    Texture,
    Unavailable,
    Upscale,
    WorkerState,
)

EVENTS = (
    Event(1, state=JobState.QUEUED),
    Event(2, state=JobState.RUNNING),
    Event(3, progress=Progress(1, 2, "Painting", 3.0)),
    Event(4, progress=Progress(2, 2, "Painting", 0.0)),
    Event(5, state=JobState.SUCCEEDED),
)


@dataclass
class ScriptedJob:
    """watch() gives `events`, then raises `fails` if set; result() gives `patches`."""

    patches: list[Patch]
    events: Iterable[Event] = EVENTS
    fails: BaseException | None = None
    id: str = "job-1"
    cancelled: int = 0

    def watch(self) -> Iterator[Event]:
        yield from self.events
        if self.fails is not None:
            raise self.fails

    def result(self) -> list[Patch]:
        return self.patches

    def cancel(self) -> None:
        self.cancelled += 1


@dataclass
class ScriptedLive:
    """A live session whose pictures are the negatives of its canvases, at the size that was asked for."""

    settings: Live
    canvases: list[Pixels] = field(default_factory=list)
    waiting: str = ""
    closed: bool = False
    fails: ScumbleError | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _given: int = 0

    def send(self, pixels: Pixels) -> int:
        with self._changed:
            self.canvases.append(pixels)
            self._changed.notify_all()
            return len(self.canvases)

    def change(self, **changes: Any) -> None:
        with self._changed:
            self.settings = replace(self.settings, **changes)
            self._given = 0
            self._changed.notify_all()

    def latest(self, timeout: float | None = None) -> LivePicture | None:
        with self._changed:
            self._changed.wait_for(lambda: self._given < len(self.canvases), timeout)
            if self.fails is not None:
                raise self.fails
            if self._given == len(self.canvases):
                return None
            self._given = len(self.canvases)
            return self._picture(self.canvases[-1])

    def close(self) -> None:
        self.closed = True

    def _picture(self, canvas: Pixels) -> LivePicture:
        assert self.settings.extent is not None
        width, height = self.settings.extent
        rows, columns = (
            np.arange(count) * size // count
            for count, size in ((height, canvas.height), (width, canvas.width))
        )
        samples = canvas.sample_type.full_scale - canvas.numpy()[rows][:, columns]
        return LivePicture(
            Pixels.from_numpy(samples, canvas.color_space, canvas.icc_profile),
            len(self.canvases),
            0.1,
            0.1,
            LiveSettings(
                model="tiny",
                num_inference_steps=1,
                strength=self.settings.strength,
                guidance_scale=1.0,
                scheduler="",
                seed=self.settings.seed or 0,
                model_extent=Extent(width, height),
                few_step=False,
                notes=(),
            ),
        )


@dataclass
class ScriptedServer:
    """Plans a context of `padding` px around the selection and paints with `model`, on the image it was sent."""

    model: Callable[[Pixels], Pixels] = lambda image: image
    padding: int = 9
    fails: BaseException | None = None
    plan_fails: ScumbleError | None = None
    info_fails: ScumbleError | None = None
    worker_state: WorkerState = WorkerState.READY
    events: Iterable[Event] = EVENTS
    closed: bool = False
    asked: list[tuple[Extent, Bounds, float, CanvasOptions]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    jobs: list[ScriptedJob] = field(default_factory=list)
    live_fails: ScumbleError | None = None
    live_sessions: list[ScriptedLive] = field(default_factory=list)
    offered_models: list[Model] = field(default_factory=list)
    precisions: tuple[DenoiserPrecision, ...] = ()

    def plan(
        self,
        document: Extent,
        selection: Bounds,
        *,
        model: str = "",
        strength: float = 1.0,
        options: CanvasOptions | None = None,
    ) -> CanvasPlan:
        if self.plan_fails is not None:
            raise self.plan_fails
        options = options or CanvasOptions()
        self.asked.append((document, selection, strength, options))
        left, top = max(selection.x - self.padding, 0), max(selection.y - self.padding, 0)
        right = min(selection.right + self.padding, document.width)
        bottom = min(selection.bottom + self.padding, document.height)
        return CanvasPlan(
            document=document,
            selection=selection,
            mask=selection,
            context=Bounds(left, top, right - left, bottom - top),
            model=Extent(64, 64),
            grow=0,
            feather=0,
            blend=0,
            exact_selection=options.exact_selection,
            fill=FillMode.NONE,
            intent=CanvasIntent.FILL,
            passes=1,
            seamless=SeamlessAxes.NONE,
        )

    def server_info(self) -> ServerInfo:
        if self.info_fails is not None:
            raise self.info_fails
        return ServerInfo(
            address="127.0.0.1:1",
            version="0.1.0",
            device="cpu",
            device_memory_bytes=0,
            device_free_bytes=0,
            worker_state=self.worker_state,
            worker_message="" if self.worker_state is WorkerState.READY else "The worker starts.",
            default_model="tiny",
            limits=Limits(**dict.fromkeys(Limits.__dataclass_fields__, 0)),
            features=("inpaint",),
            active_jobs=0,
            recommended_extent=Extent(64, 64),
            denoiser_precisions=self.precisions,
        )

    def models(self) -> list[Model]:
        if self.worker_state is not WorkerState.READY:
            raise Unavailable("Still not ready, after a long time.")
        return self.offered_models

    def adapters(self) -> list[AdapterInfo]:
        return [
            AdapterInfo(
                name="ink",
                kind=AdapterKind.LORA,
                family="stable-diffusion-1",
                trigger_words=("inked",),
                size_bytes=1,
                license="unknown",
            )
        ]

    def styles(self) -> list[Style]:
        return [Style(name="ink", prompt="{prompt}, in ink")]

    def live(self, settings: Live) -> ScriptedLive:
        if self.live_fails is not None:
            raise self.live_fails
        self.live_sessions.append(ScriptedLive(settings))
        return self.live_sessions[-1]

    def job(self, job_id: str) -> ScriptedJob:
        return next(job for job in self.jobs if job.id == job_id)

    def close(self) -> None:
        self.closed = True

    def submit(self, request: Request) -> ScriptedJob:
        self.requests.append(request)
        patches = [self._patch(request, index) for index in range(request.count)]
        job_id = f"job-{len(self.jobs) + 1}"
        self.jobs.append(ScriptedJob(patches, self.events, fails=self.fails, id=job_id))
        return self.jobs[-1]

    def _patch(self, request: Request, index: int) -> Patch:
        seed = (request.seed or 0) + index
        if isinstance(request, Upscale):
            assert isinstance(request.image, Pixels)
            samples = request.image.numpy().repeat(request.factor, 0).repeat(request.factor, 1)
            larger = Pixels.from_numpy(
                samples, request.image.color_space, request.image.icc_profile
            )
            return Patch(pixels=larger, seed=seed, recipe={}, index=index)
        if isinstance(request, Outpaint):
            return self._outpainted(request, index, seed)
        if isinstance(request, TextToImage | Texture):
            samples = bytes((k * 7) % 256 for k in range(3 * request.width * request.height))
            pixels = Pixels(
                samples, request.width, request.height, 3, SampleType.U8, ColorSpace.SRGB
            )
            return Patch(pixels=pixels, seed=seed, recipe={}, index=index)
        assert isinstance(request, Inpaint), request
        assert request.plan is not None
        assert isinstance(request.image, Pixels)
        assert isinstance(request.selection, Pixels)
        return Patch(
            pixels=self.model(request.image),
            seed=seed,
            recipe={},
            index=index,
            bounds=request.plan.context,
            composite_mask=request.selection,
            plan=request.plan,
        )

    def _outpainted(self, request: Outpaint, index: int, seed: int) -> Patch:
        """What is new is full scale and masked; the old px are as they were."""
        assert isinstance(request.image, Pixels)
        old = request.image.numpy()
        height, width = old.shape[:2]
        shape = (
            height + request.top + request.bottom,
            width + request.left + request.right,
            old.shape[2],
        )
        new = np.full(shape, request.image.sample_type.full_scale, old.dtype)
        mask = np.full(shape[:2], 255, np.uint8)
        there = (
            slice(request.top, request.top + height),
            slice(request.left, request.left + width),
        )
        new[there], mask[there] = old, 0
        return Patch(
            pixels=Pixels.from_numpy(new, request.image.color_space, request.image.icc_profile),
            seed=seed,
            recipe={},
            index=index,
            bounds=Bounds(-request.left, -request.top, shape[1], shape[0]),
            composite_mask=Pixels.from_numpy(mask, ColorSpace.NON_COLOR),
        )
