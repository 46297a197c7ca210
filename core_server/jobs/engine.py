"""The seam between the gateway and whatever runs the pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core_server.canvas.pixels import Pixels
from core_server.jobs.filed import FiledPixels
from core_server.pipelines.live_frame import LiveFrame, LivePicture
from core_server.pipelines.request import Request
from core_server.pipelines.task import ModelProfile, RuntimeInfo, StepProgress, TaskOutput


class EngineState(StrEnum):
    """`scumble.v1.WorkerState` in lower case."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Where the engine stands. message: for people. info: None until the runtime has told."""

    state: EngineState
    message: str = ""
    info: RuntimeInfo | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """One request for the engine. images: by id, pixels or where they are. on_step: called after every step, on the
    event loop."""

    job_id: str
    request: Request
    images: Mapping[str, Pixels | FiledPixels]
    on_step: Callable[[StepProgress], None]


class Pass(Protocol):
    """What was given to the device at once.

    ending: all is painted and being handed over; whoever gives the next pass now keeps the device from waiting for it.
    ended: the worker is free, or has the next pass.
    """

    @property
    def outcomes(self) -> Sequence[asyncio.Future[Sequence[TaskOutput]]]:
        """Of each wish, in order. Errors: TaskFailed (WorkerCrashed when the process died), InvalidRequest,
        TaskCancelled."""

    ending: asyncio.Future[None]
    ended: asyncio.Future[None]


class Engine(Protocol):
    """Does one pass after the other on a device. All methods are called on the gateway's event loop."""

    @property
    def status(self) -> EngineStatus:
        """Cheap; never waits."""

    async def start(self) -> None:
        """Returns at once; the runtime loads behind it."""

    async def wait_ready(self) -> None:
        """Returns when a run would start at once. An engine that had given up tries to start once more.

        Errors: the reason why it cannot be started (TaskFailed), Unavailable when it is being stopped.
        """

    def give(self, wishes: Sequence[Wish], pictures: int = 1) -> Pass:
        """Does these requests, after those that were given before. pictures: how many may be painted at once; several
        wishes must be alike (`request.batch_key`). What has not begun when the worker dies is given to the next one.
        """

    async def paint(
        self,
        frame_id: str,
        frame: LiveFrame,
        canvas: Pixels,
        on_step: Callable[[StepProgress], None],
    ) -> LivePicture:
        """Paints one frame of a live session, while no pass is on the device. Errors: TaskFailed, InvalidRequest."""

    def cancel(self, job_id: str) -> None:
        """Asks a job to end at its next step; its outcome is then TaskCancelled."""

    async def load(self, model: str) -> None:
        """Loads a model before it is needed."""

    async def unload(self, model: str) -> None:
        """Gives a model's memory back, once nothing runs; a model that is not loaded is none."""

    def set_models(self, models: Sequence[ModelProfile]) -> None:
        """The models on this disk have changed: `status.info` tells of these until the runtime tells again."""

    async def stop(self) -> None:
        """Ends the worker; what runs ends with WorkerCrashed, what waits for a worker with Unavailable."""
