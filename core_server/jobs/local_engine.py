"""The engine of one machine: one worker process, restarted when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import msgspec

from core_server.canvas.pixels import Pixels
from core_server.config import ServerConfig
from core_server.errors import (
    DeviceFault,
    ScumbleServerError,
    TaskCancelled,
    Unavailable,
    WorkerCrashed,
)
from core_server.jobs import messages, segments, watchdog
from core_server.jobs.deliveries import output_of, progress_of
from core_server.jobs.engine import EngineState, EngineStatus
from core_server.jobs.job import JobFailure
from core_server.jobs.worker_process import WorkerProcess
from core_server.pipelines.live_frame import LiveFrame, LivePicture
from core_server.pipelines.request import Request
from core_server.pipelines.task import ModelProfile, RuntimeInfo, StepProgress, TaskOutput

log = logging.getLogger(__name__)

_MAX_START_FAILURES = 3
_FIRST_PAUSE_SECONDS = 0.5


class _Running:
    """The request on the worker. `ended` is settled exactly once, by whatever comes first."""

    def __init__(self, job_id: str, on_step: Callable[[StepProgress], None]) -> None:
        self.job_id = job_id
        self.on_step = on_step
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent = False
        self.output: SharedMemory | None = None

    def fail(self, error: ScumbleServerError) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


class LocalEngine:
    """Implements `engine.Engine`. All methods are called on the event loop that called `start`.

    cancel_grace_seconds: a worker that has not reached its next step so long after `cancel` is killed.
    """

    def __init__(self, config: ServerConfig, *, cancel_grace_seconds: float = 60.0) -> None:
        self._config = config
        self._cancel_grace_seconds = cancel_grace_seconds
        self._segments = segments.Segments(config.data_dir)
        self._status = EngineStatus(EngineState.STARTING, "The worker is starting.")
        self._changed = asyncio.Event()
        self._try_again = asyncio.Event()
        self._start_error: ScumbleServerError = WorkerCrashed("The worker could not be started.")
        self._worker: WorkerProcess | None = None
        self._running: _Running | None = None
        self._loads: deque[asyncio.Future[None]] = deque()
        self._supervisor: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._was_ready = False
        self._last_sign = time.monotonic()
        self._stopping = False

    @property
    def status(self) -> EngineStatus:
        """Where the worker stands and what it has told about its device."""
        return self._status

    @property
    def worker_pid(self) -> int | None:
        """Of the worker process, for logs and tests."""
        return self._worker.pid if self._worker else None

    async def start(self) -> None:
        """Returns at once; the worker starts behind it."""
        self._segments.sweep()
        self._supervisor = asyncio.create_task(self._supervise(), name="supervise worker")

    async def stop(self) -> None:
        """Ends the worker; a running request raises WorkerCrashed."""
        self._stopping = True
        self._try_again.set()
        if self._worker is not None:
            await self._worker.close()
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        self._segments.shrink(keep=0)
        self._set_status(EngineState.FAILED, "The worker was stopped.")

    async def wait_ready(self) -> None:
        """See `Engine.wait_ready`."""
        if self._status.state is EngineState.FAILED and not self._stopping:
            self._set_status(EngineState.RESTARTING, "The worker is being started once more.")
            self._try_again.set()
        while self._status.state is not EngineState.READY:
            if self._stopping:
                raise Unavailable("The server is stopping; try again when it is back.")
            if self._status.state is EngineState.FAILED:
                raise self._start_error
            await self._changed.wait()

    async def run(
        self,
        job_id: str,
        request: Request,
        images: Mapping[str, Pixels],
        on_step: Callable[[StepProgress], None],
    ) -> Sequence[TaskOutput]:
        """See `Engine.run`. Every pixel is copied twice: into the shared segment and out of it."""

        def message(segment: str, placed: list[messages.PlacedPixels]) -> messages.Run:
            named = dict(zip(images, placed, strict=True))
            return messages.Run(job_id=job_id, request=request, segment=segment, images=named)

        running = _Running(job_id, on_step)
        outputs: Sequence[TaskOutput] = await self._work(running, list(images.values()), message)
        return outputs

    async def paint(
        self,
        frame_id: str,
        frame: LiveFrame,
        canvas: Pixels,
        on_step: Callable[[StepProgress], None],
    ) -> LivePicture:
        """See `Engine.paint`. The picture is as large as is known before, so that one exchange is enough."""
        extent = frame.extent or canvas.extent
        running = _Running(frame_id, on_step)
        size = extent.area * canvas.channels * canvas.array.dtype.itemsize

        def message(segment: str, placed: list[messages.PlacedPixels]) -> messages.Paint:
            running.output = self._segments.for_output(size)
            output = running.output.name
            return messages.Paint(
                job_id=frame_id, frame=frame, segment=segment, canvas=placed[0], output=output
            )

        picture: LivePicture = await self._work(running, [canvas], message)
        return picture

    async def _work(
        self,
        running: _Running,
        images: list[Pixels],
        message: Callable[[str, list[messages.PlacedPixels]], messages.Run | messages.Paint],
    ) -> Any:
        if self._running is not None:
            raise RuntimeError("the local engine runs one request at a time")
        self._running = running
        segment: SharedMemory | None = None
        try:
            placed: list[messages.PlacedPixels] = []
            if images:
                segment = self._segments.for_input(segments.size_of(images))
                placed = await asyncio.to_thread(segments.pack, segment, images)
            await self._ready_or_ended(running)
            if not running.ended.done() and self._worker is not None:
                question = message(segment.name if segment else "", placed)
                running.sent = True
                self._last_sign = time.monotonic()
                self._worker.send(question)
            return await running.ended
        finally:
            abandoned = running.ended.cancelled() or not running.ended.done()
            if abandoned and self._worker is not None:
                self._worker.send(messages.Cancel(job_id=running.job_id))
            self._running = None
            self._segments.shrink()

    def cancel(self, job_id: str) -> None:
        """See `Engine.cancel`."""
        running = self._running
        if running is None or running.job_id != job_id or running.ended.done():
            return
        if not running.sent or self._worker is None:
            running.fail(TaskCancelled())
            return
        self._worker.send(messages.Cancel(job_id=job_id))
        self._do(self._kill_if_deaf(running, self._worker))

    async def load(self, model: str) -> None:
        """Loads a model before it is needed. Errors: ModelNotFound, ModelLoadFailed, OutOfMemory, WorkerCrashed."""
        await self.wait_ready()
        await self._ask(messages.Load(model=model))

    async def unload(self, model: str) -> None:
        """See `Engine.unload`. Errors: WorkerCrashed."""
        if self._worker is not None and self._status.state is EngineState.READY:
            await self._ask(messages.Unload(model=model))

    def set_models(self, models: Sequence[ModelProfile]) -> None:
        """See `Engine.set_models`."""
        if self._status.info is not None:
            self._set_info(msgspec.structs.replace(self._status.info, models=tuple(models)))

    async def _ask(self, question: messages.Load | messages.Unload) -> None:
        assert self._worker is not None
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loads.append(loaded)
        self._worker.send(question)
        await loaded

    # --- one life of the worker after the other

    async def _supervise(self) -> None:
        failures = 0
        while not self._stopping:
            worker = self._worker = WorkerProcess(self._config, self._on_message)
            told = self._start_error
            self._was_ready = False
            self._last_sign = time.monotonic()
            await worker.start()
            watching = asyncio.create_task(self._look_after(worker), name="look after worker")
            how = await asyncio.shield(worker.exited)
            watching.cancel()
            self._worker = None
            self._fail_tasks(WorkerCrashed(f"The job's work was lost, because {how}."))
            if self._stopping:
                return
            log.warning("Restarting: %s", how)
            if self._was_ready:
                failures = 0
                self._set_status(EngineState.RESTARTING, f"Restarting, because {how}.")
                continue
            failures += 1
            if self._start_error is told:
                # It said nothing: the process died on the way.
                if failures < _MAX_START_FAILURES:
                    self._set_status(EngineState.RESTARTING, f"Trying again, because {how}.")
                    await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1))
                    continue
                self._start_error = WorkerCrashed(
                    f"The worker could not be started {failures} times in a row: {how}. "
                    "The server's log and `scumble doctor` have more."
                )
            self._try_again.clear()
            self._set_status(EngineState.FAILED, self._start_error.message)
            await self._try_again.wait()
            failures = 0

    async def _look_after(self, worker: WorkerProcess) -> None:
        if worker.pid is None:
            return
        limits = self._config.limits
        error = await watchdog.verdict(worker.pid, limits, self._quiet_since)
        log.warning("The worker is killed: %s", error)
        self._set_status(EngineState.RESTARTING, f"Restarting. {error.message}")
        if not self._was_ready:
            self._start_error = error
        worker.kill()
        self._fail_tasks(error)

    def _quiet_since(self) -> float | None:
        running = self._running
        works = running is not None and running.sent and not running.ended.done()
        return self._last_sign if works or self._loads or not self._was_ready else None

    def _fail_tasks(self, error: ScumbleServerError) -> None:
        if self._running is not None and self._running.sent:
            self._running.fail(error)
        while self._loads:
            load = self._loads.popleft()
            if not load.done():
                load.set_exception(error)

    async def _ready_or_ended(self, running: _Running) -> None:
        """Waits for the worker, or for a cancellation before that."""
        ready = asyncio.ensure_future(self.wait_ready())
        either: set[asyncio.Future[Any]] = {ready, running.ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if running.ended.done():
            ready.cancel()
        else:
            await ready

    async def _kill_if_deaf(self, running: _Running, worker: WorkerProcess) -> None:
        await asyncio.wait({running.ended}, timeout=self._cancel_grace_seconds)
        if not running.ended.done() and worker is self._worker:
            log.warning("The worker did not answer a cancellation and is killed")
            self._set_status(
                EngineState.RESTARTING, "Restarting, because a cancelled job did not end."
            )
            worker.kill()
            running.fail(TaskCancelled())

    # --- what the worker says

    def _on_message(self, message: messages.FromWorker) -> None:
        self._last_sign = time.monotonic()
        match message:
            case messages.Ready():
                self._was_ready = True
                self._set_status(EngineState.READY, message.message, message.info)
            case messages.StartFailed():
                self._start_error = messages.error_of(message.failure)
            case messages.Loaded():
                self._on_loaded(message)
            case messages.Rested():
                self._set_info(message.info)
            case _:
                running = self._running
                if running is not None and running.job_id == message.job_id:
                    self._on_task_message(running, message)
                elif isinstance(message, messages.Need) and self._worker is not None:
                    self._worker.send(messages.Grant(segment="", refusal="nobody waits for it"))

    def _on_loaded(self, message: messages.Loaded) -> None:
        self._set_info(message.info)
        loaded = self._loads.popleft()
        if loaded.done():
            return
        if message.failure is None:
            loaded.set_result(None)
        else:
            loaded.set_exception(self._error_of(message.failure))

    def _on_task_message(
        self,
        running: _Running,
        message: messages.Step | messages.Need | messages.Done | messages.Painted | messages.Failed,
    ) -> None:
        match message:
            case messages.Step():
                if not running.ended.done():
                    running.on_step(progress_of(message))
            case messages.Need():
                self._grant(running, message.size)
            case messages.Done():
                self._set_info(message.info)
                self._do(self._collect(running, message))
            case messages.Painted():
                self._set_info(message.info)
                if running.output is not None and not running.ended.done():
                    pixels = segments.unpack(running.output, message.pixels)
                    running.ended.set_result(LivePicture(pixels, message.told))
            case messages.Failed():
                self._set_info(message.info)
                running.fail(self._error_of(message.failure))

    def _grant(self, running: _Running, size: int) -> None:
        if self._worker is None:
            return
        try:
            running.output = self._segments.for_output(size)
        except ScumbleServerError as error:
            self._worker.send(messages.Grant(segment="", refusal=error.message))
        else:
            self._worker.send(messages.Grant(segment=running.output.name))

    async def _collect(self, running: _Running, done: messages.Done) -> None:
        segment = running.output
        if segment is None:
            running.fail(WorkerCrashed("The worker delivered pictures it had no room for."))
            return
        running.sent = False  # the outputs are safe: the worker may die now
        outputs = await asyncio.to_thread(
            lambda: [output_of(segment, placed) for placed in done.outputs]
        )
        if not running.ended.done():
            running.ended.set_result(outputs)

    def _error_of(self, failure: JobFailure) -> ScumbleServerError:
        error = messages.error_of(failure)
        if isinstance(error, DeviceFault):  # this worker is about to end: send it nothing more
            self._set_status(EngineState.RESTARTING, f"Restarting. {error.message}")
        return error

    # --- small things

    def _set_info(self, info: RuntimeInfo | None) -> None:
        if info is not None:
            self._set_status(self._status.state, self._status.message, info)

    def _set_status(
        self, state: EngineState, message: str = "", info: RuntimeInfo | None = None
    ) -> None:
        self._status = EngineStatus(state, message, info or self._status.info)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _do(self, chore: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
