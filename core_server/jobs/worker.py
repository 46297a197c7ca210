"""The worker process: the main thread owns the runtime and its device, a second thread listens to the gateway.

It ends by itself when its gateway is gone: the pipe closes. Ctrl-C in a terminal and a service manager's SIGTERM
reach it too; both are the gateway's business.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import NoReturn

import msgspec

from core_server import heap
from core_server.canvas.pixels import Pixels
from core_server.config import ContentFilter, Tiers
from core_server.errors import DeviceFault, OutOfMemory, ScumbleServerError, TaskCancelled
from core_server.jobs import messages, segments
from core_server.jobs.job import JobFailure
from core_server.logs import logging_to
from core_server.pipelines.content_filter import filtered
from core_server.pipelines.task import Runtime, RuntimeInfo, StepProgress, TaskOutput

RuntimeFactory = Callable[[str, str, Path, Tiers], Runtime]

log = logging.getLogger(__name__)


def main(  # noqa: PLR0917
    commands: Connection,
    events: Connection,
    factory: str,
    model: str,
    device: str,
    data_dir: str,
    max_log_bytes: int,
    max_idle_seconds: float,
    tiers: Tiers = Tiers(),  # noqa: B008  frozen
    content_filter: ContentFilter = ContentFilter.OFF,
    content_filter_percent: int = 100,
) -> None:
    """Entry of the process. factory: "module:function" called with (model, device, data_dir, tiers).

    max_idle_seconds: without work, after which the runtime gives its memory back; 0 for never.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.stderr is not None:
        faulthandler.enable()
    first_to_go()
    heap.reuse_blocks(heap.WORKER_BLOCK_BYTES, heap.WORKER_KEPT_BYTES)
    with logging_to(Path(data_dir), "worker", max_log_bytes):
        worker = _Worker(commands, events, max_idle_seconds or None)
        threading.Thread(target=worker.listen, name="listen", daemon=True).start()
        try:
            runtime = _load_factory(factory)(model, device, Path(data_dir), tiers)
            runtime = filtered(runtime, content_filter, content_filter_percent)
        except Exception as error:
            if not isinstance(error, ScumbleServerError):
                log.exception("The runtime could not be made")
            worker.send(messages.StartFailed(failure=messages.failure_of(error)))
            return
        worker.serve(runtime)


def first_to_go() -> None:
    """Where memory runs out, Linux shall end this process: not the gateway, and not somebody's unsaved work."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")


def _load_factory(name: str) -> RuntimeFactory:
    module, _, function = name.partition(":")
    factory: RuntimeFactory = getattr(importlib.import_module(module), function)
    return factory


def _leave(status: int = 0) -> NoReturn:
    """Ends the process at once, from any thread: the gateway is gone, or the device, and with it the reason to be."""
    # Python's own shutdown would wait for the task under way. What must not be skipped are the named semaphores that
    # libraries (tqdm) hold, since they outlive a process.
    util._run_finalizers(0)  # type: ignore[attr-defined]
    os._exit(status)


class _Worker:
    def __init__(
        self, commands: Connection, events: Connection, idle_seconds: float | None = None
    ) -> None:
        self._idle_seconds = idle_seconds
        self._commands = commands
        self._events = events
        self._tasks: queue.SimpleQueue[
            messages.Run | messages.Paint | messages.Load | messages.Unload
        ] = queue.SimpleQueue()
        self._grants: queue.SimpleQueue[messages.Grant] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._attached = segments.Attached()

    def send(self, message: messages.FromWorker) -> None:
        data = messages.encode(message)
        try:
            self._events.send_bytes(data)
        except OSError:
            _leave()

    def listen(self) -> None:
        """Second thread: sorts what the gateway says; ends the process when it says no more."""
        while True:
            try:
                message = messages.decode_to_worker(self._commands.recv_bytes())
            except (EOFError, OSError):
                _leave()
            match message:
                case messages.Cancel():
                    self._cancelled.add(message.job_id)
                case messages.Grant():
                    self._grants.put(message)
                case _:
                    self._tasks.put(message)

    def serve(self, runtime: Runtime) -> None:
        """Main thread: one task after the other, for ever."""
        problem = ""
        try:
            runtime.load("")
        except DeviceFault as error:
            log.error("%s", error)
            _leave(messages.DEVICE_FAULT_STATUS)
        except ScumbleServerError as error:
            problem = error.message
        except Exception as error:
            log.exception("The default model could not be loaded")
            problem = messages.failure_of(error).message
        self.send(messages.Ready(info=runtime.info(), message=problem))
        rested = False
        while True:
            try:
                task_or_order = self._tasks.get(timeout=None if rested else self._idle_seconds)
            except queue.Empty:
                self._attached.drop()
                # The host applications on this machine need the device's memory too.
                runtime.rest()
                self.send(messages.Rested(info=runtime.info()))
                rested = True
                continue
            rested = False
            match task_or_order:
                case messages.Load(model=model):
                    self._answer(runtime, runtime.load, model)
                case messages.Unload(model=model):
                    self._answer(runtime, runtime.unload, model)
                case messages.Run() as task:
                    self._attached.drop()
                    self._run(runtime, task)
                    self._cancelled.discard(task.job_id)
                case messages.Paint() as task:
                    self._paint(runtime, task)
                    self._cancelled.discard(task.job_id)

    def _answer(self, runtime: Runtime, do: Callable[[str], object], model: str) -> None:
        try:
            do(model)
        except Exception as error:  # noqa: BLE001
            self.send(messages.Loaded(info=_info(runtime, error), failure=_told(error)))
            _leave_if_broken(error)
            return
        self.send(messages.Loaded(info=_info(runtime)))

    def _run(self, runtime: Runtime, task: messages.Run) -> None:
        def on_step(progress: StepProgress) -> None:
            if task.job_id in self._cancelled:
                raise TaskCancelled
            self.send(_step(task.job_id, progress))

        try:
            if task.job_id in self._cancelled:
                raise TaskCancelled
            images = _images(task)
            outputs = runtime.run(task.request, images, on_step)
            placed = self._deliver(task.job_id, outputs)
        except Exception as error:  # noqa: BLE001
            told, info = _told(error), _info(runtime, error)
            self.send(messages.Failed(job_id=task.job_id, failure=told, info=info))
            _leave_if_broken(error)
            return
        self.send(messages.Done(job_id=task.job_id, outputs=placed, info=_info(runtime)))

    def _paint(self, runtime: Runtime, task: messages.Paint) -> None:
        """One frame of a live session. Only what takes long is told of on the way: a frame is over soon."""

        loaded = False

        def on_step(progress: StepProgress) -> None:
            nonlocal loaded
            if task.job_id in self._cancelled:
                raise TaskCancelled
            if not progress.steps:
                loaded = True
                self.send(_step(task.job_id, progress))

        try:
            on_step(StepProgress(0, 1, ""))
            canvas = segments.unpack(self._attached.get(task.segment, task.made), task.canvas)
            picture = runtime.paint(task.frame, canvas, on_step)
            output = self._attached.get(task.output, task.made)
            [pixels] = segments.pack(output, [picture.pixels])
        except Exception as error:  # noqa: BLE001
            self._attached.drop()
            told, info = _told(error), _info(runtime, error)
            self.send(messages.Failed(job_id=task.job_id, failure=told, info=info))
            _leave_if_broken(error)
            return
        self._attached.frame_ended()
        info = _info(runtime) if loaded else None
        self.send(messages.Painted(job_id=task.job_id, pixels=pixels, told=picture.told, info=info))

    def _deliver(self, job_id: str, outputs: Sequence[TaskOutput]) -> list[messages.PlacedOutput]:
        """Asks the gateway for a segment and fills it."""
        images: list[Pixels] = []
        for output in outputs:
            images.append(output.pixels)
            if output.composite_mask is not None:
                images.append(output.composite_mask)
        self.send(messages.Need(job_id=job_id, size=segments.size_of(images)))
        grant = self._grants.get()
        if grant.refusal:
            raise OutOfMemory(grant.refusal)
        segment = SharedMemory(grant.segment)
        try:
            places = iter(segments.pack(segment, images))
        finally:
            segment.close()
        return [
            messages.PlacedOutput(
                pixels=next(places),
                seed=output.seed,
                recipe=msgspec.json.encode(output.recipe),
                bounds=output.bounds,
                composite_mask=None if output.composite_mask is None else next(places),
                plan=output.plan,
                map_name=output.map_name,
            )
            for output in outputs
        ]


def _images(task: messages.Run) -> dict[str, Pixels]:
    if not task.segment:
        return {}
    segment = SharedMemory(task.segment)
    try:
        return {name: segments.unpack(segment, placed) for name, placed in task.images.items()}
    finally:
        segment.close()


def _step(job_id: str, progress: StepProgress) -> messages.Step:
    preview = progress.preview
    if preview is None:
        return messages.Step(
            job_id=job_id, step=progress.step, steps=progress.steps, stage=progress.stage
        )
    height, width, channels = preview.shape
    return messages.Step(
        job_id=job_id,
        step=progress.step,
        steps=progress.steps,
        stage=progress.stage,
        preview=preview.tobytes(),
        preview_shape=(height, width, channels),
    )


def _told(error: Exception) -> JobFailure:
    if not isinstance(error, ScumbleServerError) or isinstance(error, DeviceFault):
        log.error("A task failed", exc_info=error)
    return messages.failure_of(error)


def _leave_if_broken(error: Exception) -> None:
    """A device that has failed does nothing more for this process; the next one finds it fresh."""
    if isinstance(error, DeviceFault):
        _leave(messages.DEVICE_FAULT_STATUS)


def _info(runtime: Runtime, error: Exception | None = None) -> RuntimeInfo | None:
    """After a failure the device may not even answer."""
    if isinstance(error, DeviceFault):
        return None
    try:
        return runtime.info()
    except Exception:
        log.exception("The runtime does not tell about itself")
        return None
