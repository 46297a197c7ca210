"""A fake of `scumble.client.Client` and `Job` that a test scripts: no server, no grpc."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from scumble.client import (
    AdapterInfo,
    ColorSpace,
    Event,
    Extent,
    JobState,
    Limits,
    Model,
    ModelState,
    Patch,
    Pixels,
    Progress,
    Request,
    Scheduler,
    ScumbleError,
    ServerInfo,
    Style,
    Unavailable,
    WorkerState,
)


def picture(width: int = 6, height: int = 4, channels: int = 3) -> Pixels:
    """Every pixel is different and no side looks like another."""
    count = width * height * channels
    array = (np.arange(count) * 3 % 251).astype(np.uint8).reshape(height, width, channels)
    return Pixels.from_numpy(array, ColorSpace.SRGB)


@dataclass
class FakeJob:
    """events: what `watch` yields. held: `watch` waits for it before its last event. error: what `result` raises."""

    events: list[Event] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    error: ScumbleError | None = None
    held: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def watch(self, after: int = 0) -> Iterator[Event]:
        yield from self.events
        while not self.held.wait(0.005):
            if self.closed.is_set():
                raise Unavailable("This client was closed while it waited for the server.")
        yield Event(number=99, state=JobState.SUCCEEDED)

    def result(self, timeout: float | None = None) -> list[Patch]:
        if self.error is not None:
            raise self.error
        return self.patches

    def cancel(self) -> None:
        self.cancelled.set()


@dataclass(eq=False)
class FakeClient:
    """Hands out one job. Not closed before its `with` block is left or `close` is called."""

    job: FakeJob = field(default_factory=FakeJob)
    submitted: list[Request] = field(default_factory=list)
    submit_error: ScumbleError | None = None
    worker_state: WorkerState = WorkerState.READY
    worker_message: str = ""
    installed: tuple[str, ...] = ()
    unloaded: list[str] = field(default_factory=list)

    def submit(self, request: Request, *, request_id: str | None = None) -> FakeJob:
        if self.submit_error is not None:
            raise self.submit_error
        self.submitted.append(request)
        return self.job

    def server_info(self) -> ServerInfo:
        limits = Limits(**dict.fromkeys(Limits.__dataclass_fields__, 0))
        return ServerInfo(
            address="127.0.0.1:1",
            version="0.1.0",
            device="cpu",
            device_memory_bytes=0,
            device_free_bytes=0,
            worker_state=self.worker_state,
            worker_message=self.worker_message,
            default_model="tiny",
            limits=limits,
            features=(),
            active_jobs=0,
            recommended_extent=(64, 64),
        )

    def best_extent(self, model: str = "") -> Extent:
        return Extent(64, 48)

    def models(self) -> list[Model]:
        return [_model(name) for name in self.installed]

    def unload_model(self, model_id: str) -> Model:
        self.unloaded.append(model_id)
        return _model(model_id)

    def adapters(self) -> list[AdapterInfo]:
        return []

    def styles(self) -> list[Style]:
        return []

    def schedulers(self, model: str = "") -> list[Scheduler]:
        return []

    def close(self) -> None:
        self.job.closed.set()

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _model(name: str) -> Model:
    return Model(
        model_id=name, title=name.title(), family="sd15", state=ModelState.INSTALLED, license="MIT",
        commercial_use=True, size_bytes=1, min_extent=Extent(64, 64), max_extent=Extent(512, 512),
        num_inference_steps=4, guidance_scale=5.0, scheduler="euler", tasks=("texture",), description="",
        is_default=False,
    )  # fmt: skip


def progress(step: int, steps: int, number: int = 1) -> Event:
    """A progress event."""
    return Event(number=number, progress=Progress(step, steps, "Painting", 3.0))
