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
import time
from collections.abc import Callable, Mapping, Sequence
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
from core_server.jobs.worker_frames import WorkerFrames
from core_server.logs import logging_to
from core_server.pipelines.content_filter import filtered
from core_server.pipelines.task import (
    Runtime,
    RuntimeInfo,
    StepCallback,
    StepProgress,
    TaskOutput,
    Wish,
)

RuntimeFactory = Callable[[str, str, Path, Tiers], Runtime]

log = logging.getLogger(__name__)

_TELL_SECONDS = 1.0
"""How often a worker that is always busy tells of its runtime."""


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
        self._results = segments.Attached()
        self._cancelled: set[str] = set()
        self._sending = threading.Lock()
        self._frames = WorkerFrames(self.send, _step, self._failed, _info, self._cancelled)
        self._told_at = 0.0
        self._is_settled = False

    def send(self, message: messages.FromWorker) -> None:
        data = messages.encode(message)
        try:
            with self._sending:
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
            except msgspec.MsgspecError:
                log.exception("The gateway said what nobody understands")
                _leave(1)
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
        self._settle()
        self.send(messages.Ready(info=runtime.info(), message=problem))
        rested = False
        while True:
            try:
                task_or_order = self._tasks.get(timeout=None if rested else self._idle_seconds)
            except queue.Empty:
                self._frames.settle()
                # The host applications on this machine need the device's memory too.
                runtime.rest()
                self.send(messages.Rested(info=runtime.info()))
                rested = True
                continue
            rested = False
            if not isinstance(task_or_order, messages.Paint):
                self._frames.settle()
            match task_or_order:
                case messages.Load(model=model):
                    self._answer(runtime, runtime.load, model)
                case messages.Unload(model=model):
                    self._answer(runtime, runtime.unload, model)
                case messages.Run() as task:
                    self._run(runtime, task)
                    self._cancelled -= {it.job_id for it in task.asked}
                case messages.Paint() as task:
                    self._is_settled &= not self._frames.paint(runtime, task)
            self._settle()

    def _settle(self) -> None:
        """After something was loaded, which stays for long."""
        if not self._is_settled:
            heap.settle()
            self._is_settled = True

    def _answer(self, runtime: Runtime, do: Callable[[str], object], model: str) -> None:
        self._is_settled = False
        try:
            do(model)
        except Exception as error:  # noqa: BLE001
            self.send(messages.Loaded(info=_info(runtime, error), failure=_told(error)))
            _leave_if_broken(error)
            return
        self.send(messages.Loaded(info=_info(runtime)))

    def _run(self, runtime: Runtime, task: messages.Run) -> None:
        for asked in task.asked:
            self.send(messages.Began(job_id=asked.job_id))
        try:
            images = _images(task)
        except Exception as error:  # noqa: BLE001
            for asked in task.asked:
                self._failed(runtime, asked.job_id, error)
            return
        if task.pictures > 1:
            self._run_together(runtime, task)
            return
        for asked in task.asked:
            self._run_one(runtime, asked, images)

    def _run_together(self, runtime: Runtime, task: messages.Run) -> None:
        """Requests without images, several pictures at once. Who cancels hears of it at once, the others at the end."""
        gone: set[str] = set()

        def step_of(job_id: str) -> StepCallback:
            on_step = self._on_step(job_id)

            def told(progress: StepProgress) -> None:
                try:
                    on_step(progress)
                except TaskCancelled as error:
                    if job_id not in gone:
                        gone.add(job_id)
                        self.send(messages.Failed(job_id=job_id, failure=_told(error)))
                    raise

            return told

        wishes = [Wish(it.request, step_of(it.job_id)) for it in task.asked]
        try:
            outcomes = runtime.run_together(wishes, task.pictures)
        except Exception as error:  # noqa: BLE001
            outcomes = [error] * len(wishes)
        for asked, outcome in zip(task.asked, outcomes, strict=True):
            if asked.job_id in gone:
                continue
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                more = asked is not task.asked[-1]
                self._deliver(runtime, asked.job_id, outcome, more=more)
            except Exception as error:  # noqa: BLE001
                self._failed(runtime, asked.job_id, error)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                _leave_if_broken(outcome)

    def _run_one(
        self, runtime: Runtime, asked: messages.Asked, images: Mapping[str, Pixels]
    ) -> None:
        try:
            if asked.job_id in self._cancelled:
                raise TaskCancelled
            outputs = runtime.run(asked.request, images, self._on_step(asked.job_id))
            self._deliver(runtime, asked.job_id, outputs)
        except Exception as error:  # noqa: BLE001
            self._failed(runtime, asked.job_id, error)
            _leave_if_broken(error)

    def _on_step(self, job_id: str) -> StepCallback:
        def on_step(progress: StepProgress) -> None:
            if job_id in self._cancelled:
                raise TaskCancelled
            self._is_settled &= bool(progress.steps)  # "Loading model" and its like have none
            self.send(_step(job_id, progress))

        return on_step

    def _failed(self, runtime: Runtime, job_id: str, error: Exception) -> None:
        failure, info = _told(error), _info(runtime, error)
        self.send(messages.Failed(job_id=job_id, failure=failure, info=info))

    def _deliver(
        self, runtime: Runtime, job_id: str, outputs: Sequence[TaskOutput], *, more: bool = False
    ) -> None:
        """Asks the gateway for a segment and fills it. more: others of the same pass follow."""
        images: list[Pixels] = []
        for output in outputs:
            images.append(output.pixels)
            if output.composite_mask is not None:
                images.append(output.composite_mask)
        self.send(messages.Need(job_id=job_id, size=segments.size_of(images)))
        # While the gateway looks for room, and for the next job.
        info = _info(runtime) if self._is_time_to_tell(more=more) else None
        grant = self._grants.get()
        if grant.refusal:
            raise OutOfMemory(grant.refusal)
        segment = self._results.get(grant.segment, grant.made)
        try:
            places = iter(segments.pack(segment, images))
        finally:
            self._results.job_ended()
        placed = [
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
        self.send(messages.Done(job_id=job_id, outputs=placed, info=info))

    def _is_time_to_tell(self, *, more: bool) -> bool:
        """Of the runtime: not after each job while the next one waits for the device."""
        now = time.monotonic()
        if (more or not self._tasks.empty()) and now - self._told_at < _TELL_SECONDS:
            return False
        self._told_at = now
        return True


def _images(task: messages.Run) -> dict[str, Pixels]:
    read = {name: filed.read() for name, filed in task.files.items()}
    if not task.segment:
        return read
    segment = SharedMemory(task.segment)
    try:
        return read | {
            name: segments.unpack(segment, placed) for name, placed in task.images.items()
        }
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
