"""The engine of one machine: one worker process, restarted when it dies."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import msgspec

from core_server.canvas.pixels import Pixels
from core_server.config import MIB, ServerConfig
from core_server.errors import (
    DeviceFault,
    ScumbleServerError,
    TaskCancelled,
    WorkerCrashed,
)
from core_server.jobs import messages, segments
from core_server.jobs.deliveries import output_of, progress_of
from core_server.jobs.engine import EngineStatus
from core_server.jobs.job import JobFailure
from core_server.jobs.supervisor import MakeWorker, Supervisor, Worker
from core_server.jobs.worker_process import WorkerProcess
from core_server.pipelines.live_frame import LiveFrame, LivePicture
from core_server.pipelines.request import Request
from core_server.pipelines.task import ModelProfile, StepProgress, TaskOutput

log = logging.getLogger(__name__)

_SMALL_BYTES = 4 * MIB
"""Copied in less time than it takes to hand the copying to a thread."""
_FAULT_SECONDS = 10.0
"""For a worker to end by itself after its device has failed."""


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

    def __init__(
        self,
        config: ServerConfig,
        *,
        cancel_grace_seconds: float = 60.0,
        make_worker: MakeWorker = WorkerProcess,
    ) -> None:
        self._cancel_grace_seconds = cancel_grace_seconds
        self._segments = segments.Segments(config.data_dir)
        self._running: _Running | None = None
        self._loads: deque[asyncio.Future[None]] = deque()
        self._chores: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._supervisor = Supervisor(
            config,
            make_worker,
            on_message=self._on_message,
            on_loss=self._fail_tasks,
            is_busy=self._is_busy,
        )

    @property
    def status(self) -> EngineStatus:
        """Where the worker stands and what it has told about its device."""
        return self._supervisor.status

    @property
    def worker_pid(self) -> int | None:
        """Of the worker process, for logs and tests."""
        worker = self._supervisor.worker
        return worker.pid if worker else None

    async def start(self) -> None:
        """Returns at once; the worker starts behind it."""
        self._segments.sweep()
        self._supervisor.start()

    async def stop(self) -> None:
        """Ends the worker. A running request raises WorkerCrashed, unless its pictures have been delivered already, and
        one that waits for the worker raises Unavailable."""
        await self._supervisor.stop()
        if self._chores:
            await asyncio.wait(self._chores)
        self._stopped = True
        self._shrink()

    async def wait_ready(self) -> None:
        """See `Engine.wait_ready`."""
        await self._supervisor.wait_ready()

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
                job_id=frame_id, frame=frame, segment=segment, canvas=placed[0], output=output,
                made=self._segments.made,
            )  # fmt: skip

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
                size = segments.size_of(images)
                segment = self._segments.for_input(size)
                if size <= _SMALL_BYTES:
                    placed = segments.pack(segment, images)
                else:
                    placed = await asyncio.to_thread(segments.pack, segment, images)
            worker = await self._worker_for(running)
            if worker is not None:
                question = message(segment.name if segment else "", placed)
                running.sent = True
                self._supervisor.asked()
                worker.send(question)
            return await running.ended
        finally:
            abandoned = running.ended.cancelled() or not running.ended.done()
            if abandoned and self._supervisor.worker is not None:
                self._supervisor.worker.send(messages.Cancel(job_id=running.job_id))
            self._running = None
            self._shrink()

    def _shrink(self) -> None:
        """A thread may still copy what the running request needs; whoever ends last clears away."""
        if self._running is None:
            self._segments.shrink(*((0,) if self._stopped else ()))

    async def _worker_for(self, running: _Running) -> Worker | None:
        """Waits until there is one, whichever dies meanwhile; None if the request has ended before.

        Errors: those of `wait_ready`.
        """
        while not running.ended.done():
            ready = asyncio.ensure_future(self.wait_ready())
            either: set[asyncio.Future[Any]] = {ready, running.ended}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if ready.done():
                    ready.result()
            finally:
                ready.cancel()
            worker = self._supervisor.ready_worker
            if worker is not None and not running.ended.done():
                return worker
        return None

    def cancel(self, job_id: str) -> None:
        """See `Engine.cancel`."""
        running = self._running
        if running is None or running.job_id != job_id or running.ended.done():
            return
        worker = self._supervisor.worker
        if not running.sent or worker is None:
            running.fail(TaskCancelled())
            return
        worker.send(messages.Cancel(job_id=job_id))
        self._do(self._replace_if_deaf(running, worker))

    async def load(self, model: str) -> None:
        """Loads a model before it is needed. Errors: ModelNotFound, ModelLoadFailed, OutOfMemory, WorkerCrashed."""
        await self.wait_ready()
        await self._ask(messages.Load(model=model))

    async def unload(self, model: str) -> None:
        """See `Engine.unload`. Errors: WorkerCrashed."""
        if self._supervisor.ready_worker is not None:
            await self._ask(messages.Unload(model=model))

    def set_models(self, models: Sequence[ModelProfile]) -> None:
        """See `Engine.set_models`."""
        if self.status.info is not None:
            self._supervisor.set_info(
                msgspec.structs.replace(self.status.info, models=tuple(models))
            )

    async def _ask(self, question: messages.Load | messages.Unload) -> None:
        worker = self._supervisor.ready_worker
        assert worker is not None
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loads.append(loaded)
        self._supervisor.asked()
        worker.send(question)
        await loaded

    def _is_busy(self) -> bool:
        running = self._running
        works = running is not None and running.sent and not running.ended.done()
        return works or bool(self._loads)

    def _fail_tasks(self, error: ScumbleServerError) -> None:
        if self._running is not None and self._running.sent:
            self._running.fail(error)
        while self._loads:
            load = self._loads.popleft()
            if not load.done():
                load.set_exception(error)

    async def _replace_if_deaf(self, running: _Running, worker: Worker) -> None:
        await asyncio.wait({running.ended}, timeout=self._cancel_grace_seconds)
        if not running.ended.done() and worker is self._supervisor.worker:
            log.warning("The worker did not answer a cancellation and is killed")
            self._supervisor.replace("Restarting, because a cancelled job did not end.")
            running.fail(TaskCancelled())

    # --- what the worker says

    def _on_message(self, message: messages.FromWorker) -> None:
        match message:
            case messages.Loaded():
                self._on_loaded(message)
            case messages.Ready() | messages.StartFailed() | messages.Rested():
                pass  # the supervisor's
            case _:
                running, worker = self._running, self._supervisor.worker
                if running is not None and running.job_id == message.job_id:
                    self._on_task_message(running, message)
                elif isinstance(message, messages.Need) and worker is not None:
                    worker.send(messages.Grant(segment="", refusal="nobody waits for it"))

    def _on_loaded(self, message: messages.Loaded) -> None:
        self._supervisor.set_info(message.info)
        if not self._loads:  # given up meanwhile
            return
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
                self._supervisor.set_info(message.info)
                self._do(self._collect(running, message))
            case messages.Painted():
                self._supervisor.set_info(message.info)
                self._take(running, message)
            case messages.Failed():
                self._supervisor.set_info(message.info)
                running.fail(self._error_of(message.failure))

    def _grant(self, running: _Running, size: int) -> None:
        worker = self._supervisor.worker
        if worker is None:
            return
        try:
            running.output = self._segments.for_output(size)
        except ScumbleServerError as error:
            worker.send(messages.Grant(segment="", refusal=error.message))
        else:
            worker.send(messages.Grant(segment=running.output.name))

    async def _collect(self, running: _Running, done: messages.Done) -> None:
        segment = running.output
        if segment is None:
            running.fail(WorkerCrashed("The worker delivered pictures it had no room for."))
            return
        running.sent = False  # the outputs are safe: the worker may die now
        try:
            outputs = await asyncio.to_thread(
                lambda: [output_of(segment, placed) for placed in done.outputs]
            )
        except Exception as error:
            log.exception("The pictures of job %s could not be taken over", running.job_id)
            running.fail(messages.error_of(messages.failure_of(error)))
            return
        if not running.ended.done():
            running.ended.set_result(outputs)

    def _take(self, running: _Running, painted: messages.Painted) -> None:
        if running.output is None or running.ended.done():
            return
        try:
            pixels = segments.unpack(running.output, painted.pixels)
        except Exception as error:
            log.exception("A live picture could not be taken over")
            running.fail(messages.error_of(messages.failure_of(error)))
            return
        running.ended.set_result(LivePicture(pixels, painted.told))

    def _error_of(self, failure: JobFailure) -> ScumbleServerError:
        error = messages.error_of(failure)
        if isinstance(error, DeviceFault):  # this worker is about to end
            self._supervisor.replace(f"Restarting. {error.message}", _FAULT_SECONDS)
        return error

    def _do(self, chore: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
