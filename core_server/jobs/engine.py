"""The seam between the gateway and whatever runs the pipelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core_server.canvas.pixels import Pixels
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


class Engine(Protocol):
    """Runs one request at a time on a device. All methods are called on the gateway's event loop."""

    @property
    def status(self) -> EngineStatus:
        """Cheap; never waits."""

    async def start(self) -> None:
        """Returns at once; the runtime loads behind it."""

    async def wait_ready(self) -> None:
        """Returns when a run would start at once. An engine that had given up tries to start once more.

        Errors: the reason why it cannot be started (TaskFailed), Unavailable when it is being stopped.
        """

    async def run(
        self,
        job_id: str,
        request: Request,
        images: Mapping[str, Pixels],
        on_step: Callable[[StepProgress], None],
    ) -> Sequence[TaskOutput]:
        """Runs one request to its end. Errors: TaskFailed (WorkerCrashed when the process died), InvalidRequest."""

    async def paint(
        self,
        frame_id: str,
        frame: LiveFrame,
        canvas: Pixels,
        on_step: Callable[[StepProgress], None],
    ) -> LivePicture:
        """Paints one frame of a live session; in the place of a run, never beside one. Two may be under way, and end in
        order, if the pictures before were told to be `ahead`. Errors: as `run`."""

    def cancel(self, job_id: str) -> None:
        """Asks the running job to end at its next step; `run` then raises TaskCancelled."""

    async def load(self, model: str) -> None:
        """Loads a model before it is needed."""

    async def unload(self, model: str) -> None:
        """Gives a model's memory back, once nothing runs; a model that is not loaded is none."""

    def set_models(self, models: Sequence[ModelProfile]) -> None:
        """The models on this disk have changed: `status.info` tells of these until the runtime tells again."""

    async def stop(self) -> None:
        """Ends the worker; a running request raises WorkerCrashed."""
