"""Frames of live sessions in the worker: one is begun while the one before is still on the device.

The main thread begins a frame. Where the device goes on by itself, a second thread waits for it and delivers, so that
the next frame is there when the device is free; otherwise the main thread does that too, as on Windows, where memory
that stays mapped keeps its name (`segments.Attached`).
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from core_server.errors import TaskCancelled
from core_server.jobs import messages, segments
from core_server.pipelines.live_frame import LiveStarted
from core_server.pipelines.task import Runtime, RuntimeInfo, StepProgress

AHEAD_SECONDS = 0.05
"""Who paints slower gains nothing from a frame that waits here, and the newest one would come later."""


@dataclass(frozen=True, slots=True, eq=False)
class _Begun:
    runtime: Runtime
    task: messages.Paint
    started: LiveStarted
    has_loaded: bool


class WorkerFrames:
    """All methods but the second thread's own are called on the worker's main thread.

    failed: tells of an error; info: what the runtime says of itself.
    """

    def __init__(
        self,
        send: Callable[[messages.FromWorker], None],
        step: Callable[[str, StepProgress], messages.Step],
        failed: Callable[[Runtime, str, Exception], None],
        info: Callable[[Runtime], RuntimeInfo | None],
        cancelled: set[str],
    ) -> None:
        self._send = send
        self._step = step
        self._failed = failed
        self._info = info
        self._cancelled = cancelled
        self._attached = segments.Attached()
        self._begun: queue.Queue[_Begun] = queue.Queue()
        self._thread: threading.Thread | None = None

    def settle(self) -> None:
        """Waits until every frame that was begun is delivered, and lets go of their memory."""
        self._begun.join()
        self._attached.drop()

    def paint(self, runtime: Runtime, task: messages.Paint) -> bool:
        """One frame; whether something was loaded for it. Only what takes long is told of on the way: a frame is over
        soon."""
        has_loaded = False

        def on_step(progress: StepProgress) -> None:
            nonlocal has_loaded
            if task.job_id in self._cancelled:
                raise TaskCancelled
            if not progress.steps:
                has_loaded = True
                self._send(self._step(task.job_id, progress))

        try:
            on_step(StepProgress(0, 1, ""))
            if task.made != self._attached.made:
                self.settle()  # what is mapped now may be other memory by the same name
            segment = self._attached.get(task.segment, task.made)
            started = runtime.begin_paint(task.frame, segments.seen(segment, task.canvas), on_step)
        except Exception as error:  # noqa: BLE001
            self.settle()
            self._failed(runtime, task.job_id, error)
            self._cancelled.discard(task.job_id)
            return has_loaded
        begun = _Begun(runtime, task, started, has_loaded)
        if started.on_device and not has_loaded and sys.platform != "win32":
            if self._thread is None:
                self._thread = threading.Thread(target=self._wait, name="frames", daemon=True)
                self._thread.start()
            self._begun.put(begun)
        else:
            self._begun.join()
            self._deliver(begun)
        return has_loaded

    def _wait(self) -> None:
        """Second thread: the frames in the order in which they were begun."""
        while True:
            begun = self._begun.get()
            try:
                self._deliver(begun)
            finally:
                del begun
                self._begun.task_done()

    def _deliver(self, begun: _Begun) -> None:
        task = begun.task
        try:
            picture = begun.started.finish()
            output = self._attached.get(task.output, task.made)
            [pixels] = segments.pack(output, [picture.pixels])
        except Exception as error:  # noqa: BLE001
            self._failed(begun.runtime, task.job_id, error)
        else:
            self._attached.frame_ended()
            ahead = picture.ahead and picture.told.seconds < AHEAD_SECONDS
            info = self._info(begun.runtime) if begun.has_loaded else None
            self._send(
                messages.Painted(
                    job_id=task.job_id, pixels=pixels, told=picture.told, info=info, ahead=ahead
                )
            )
        self._cancelled.discard(task.job_id)
