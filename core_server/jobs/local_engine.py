"""The engine of one machine: one worker process, restarted when it dies."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from core_server.canvas.pixels import Pixels
from core_server.config import ServerConfig
from core_server.errors import (
    DeviceFault,
    ScumbleServerError,
    TaskCancelled,
)
from core_server.jobs import messages
from core_server.jobs.deliveries import progress_of
from core_server.jobs.engine import EngineStatus, Wish
from core_server.jobs.exchange import Exchange
from core_server.jobs.filed import FiledPixels
from core_server.jobs.job import JobFailure
from core_server.jobs.running import GivenPass, Running
from core_server.jobs.supervisor import MakeWorker, Supervisor, Worker
from core_server.jobs.worker_process import WorkerProcess
from core_server.pipelines.live_frame import LiveFrame, LivePicture
from core_server.pipelines.request import Request
from core_server.pipelines.task import ModelProfile, StepProgress, TaskOutput

log = logging.getLogger(__name__)

_MOST_TIMES_SENT = 3
"""To workers that die before they begin with it."""
_FAULT_SECONDS = 10.0
"""For a worker to end by itself after its device has failed."""


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
        self._exchange = Exchange(config.data_dir)
        self._running: dict[str, Running] = {}
        self._passes: list[GivenPass] = []
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
        self._exchange.sweep()
        self._supervisor.start()

    async def stop(self) -> None:
        """Ends the worker. What runs ends with WorkerCrashed, unless its pictures have been delivered already, and what
        waits for the worker with Unavailable."""
        await self._supervisor.stop()
        if self._chores:
            await asyncio.wait(self._chores)
        self._stopped = True
        self._shrink()

    async def wait_ready(self) -> None:
        """See `Engine.wait_ready`."""
        await self._supervisor.wait_ready()

    def give(self, wishes: Sequence[Wish], pictures: int = 1) -> GivenPass:
        """See `Engine.give`. What is in a file is read by the worker; other pixels are copied into a shared segment and
        out of it."""
        given = GivenPass(wishes, pictures)
        for running in given.running:
            self._follow(running)
        earlier = self._passes[-1] if self._passes else None
        self._passes.append(given)
        given.ended.add_done_callback(lambda _: self._passes.remove(given))
        self._do(self._send(given, earlier))
        return given

    async def run(
        self,
        job_id: str,
        request: Request,
        images: Mapping[str, Pixels | FiledPixels],
        on_step: Callable[[StepProgress], None],
    ) -> Sequence[TaskOutput]:
        """One request alone, to its end. Errors: as `Pass.outcomes`."""
        [outcome] = self.give([Wish(job_id, request, images, on_step)]).outcomes
        return await outcome

    async def _send(self, given: GivenPass, earlier: GivenPass | None) -> None:
        """Hands a pass to the worker, as soon as there is one, after the inputs of the pass before have been read."""
        try:
            if earlier is not None:
                await earlier.read
            wanted = {name: it for wish in given.wishes for name, it in wish.images.items()}
            files = {name: it for name, it in wanted.items() if isinstance(it, FiledPixels)}
            images = {name: it for name, it in wanted.items() if isinstance(it, Pixels)}
            segment, placed = await self._exchange.inputs(list(images.values()))
            worker = await self._worker_for(given.running)
        except ScumbleServerError as error:
            _fail(given.running, error)
            return
        except Exception as error:
            log.exception("A job could not be given to the worker")
            _fail(given.running, messages.error_of(messages.failure_of(error)))
            return
        if worker is None:
            return
        asked = []
        for wish, running in zip(given.wishes, given.running, strict=True):
            if not running.ended.done():
                running.sent = True
                asked.append(messages.Asked(job_id=wish.job_id, request=wish.request))
        given.times_sent += 1
        self._supervisor.asked()
        worker.send(
            messages.Run(
                asked=tuple(asked), segment=segment, images=dict(zip(images, placed, strict=True)),
                files=files, pictures=given.pictures,
            )
        )  # fmt: skip

    async def paint(
        self,
        frame_id: str,
        frame: LiveFrame,
        canvas: Pixels,
        on_step: Callable[[StepProgress], None],
    ) -> LivePicture:
        """See `Engine.paint`. The picture is as large as is known before, so that one exchange is enough."""
        frames = self._exchange.frames
        while jobs := [it.ended for it in self._running.values() if it.job_id not in frames]:
            await asyncio.wait(jobs)  # the pictures of the last one are still being brought over
        running = Running(frame_id, on_step)
        with self._exchange.frame(frame_id) as places:
            self._follow(running)
            try:
                segment, placed = await places.canvas(canvas)
                worker = self._supervisor.ready_worker or await self._worker_for([running])
                if worker is not None:
                    extent = frame.extent or canvas.extent
                    size = extent.area * canvas.channels * canvas.array.dtype.itemsize
                    output = places.output(size)
                    running.sent = running.begun = True
                    self._supervisor.asked()
                    worker.send(
                        messages.Paint(
                            job_id=frame_id, frame=frame, segment=segment, canvas=placed,
                            output=output, made=self._exchange.made,
                        )
                    )  # fmt: skip
                picture: LivePicture = await running.ended
            finally:
                if running.ended.cancelled() or not running.ended.done():
                    if self._supervisor.worker is not None:
                        self._supervisor.worker.send(messages.Cancel(job_id=frame_id))
                    running.ended.cancel()
        return picture

    def _follow(self, running: Running) -> None:
        """Its messages find it until it ends."""
        self._running[running.job_id] = running

        def ended(_: asyncio.Future[Any]) -> None:
            if self._running.get(running.job_id) is running:
                del self._running[running.job_id]
            self._shrink()

        running.ended.add_done_callback(ended)

    def _shrink(self) -> None:
        """A thread may still copy what a running request needs; whoever ends last clears away."""
        if not self._running:
            self._exchange.shrink(everything=self._stopped)

    async def _worker_for(self, wanted: Sequence[Running]) -> Worker | None:
        """Waits until there is one, whichever dies meanwhile; None if all the requests have ended before.

        Errors: those of `wait_ready`.
        """
        while waiting := {running.ended for running in wanted if not running.ended.done()}:
            ready = asyncio.ensure_future(self.wait_ready())
            either: set[asyncio.Future[Any]] = {ready, *waiting}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if ready.done():
                    ready.result()
            finally:
                ready.cancel()
            worker = self._supervisor.ready_worker
            if worker is not None and not all(it.done() for it in waiting):
                return worker
        return None

    def cancel(self, job_id: str) -> None:
        """See `Engine.cancel`."""
        running = self._running.get(job_id)
        if running is None or running.ended.done():
            return
        running.cancelled = True
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
        works = any(it.sent and not it.ended.done() for it in self._running.values())
        return works or bool(self._loads)

    def _fail_tasks(self, error: ScumbleServerError) -> None:
        for given in list(self._passes):
            was_sent = any(running.sent for running in given.running)
            if was_sent and given.is_unbegun and given.times_sent < _MOST_TIMES_SENT:
                self._send_again(given)
        for running in list(self._running.values()):
            if running.sent:
                running.fail(error)
        while self._loads:
            load = self._loads.popleft()
            if not load.done():
                load.set_exception(error)

    def _send_again(self, given: GivenPass) -> None:
        """It lay behind another one that the worker died under: the next worker gets it."""
        for running in given.running:
            running.sent = False
            if running.cancelled:
                running.fail(TaskCancelled())
        self._do(self._send(given, None))

    async def _replace_if_deaf(self, running: Running, worker: Worker) -> None:
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
                running, worker = self._running.get(message.job_id), self._supervisor.worker
                if running is not None:
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
        running: Running,
        message: messages.Began
        | messages.Step
        | messages.Need
        | messages.Done
        | messages.Painted
        | messages.Failed,
    ) -> None:
        given = next((it for it in self._passes if running in it.running), None)
        match message:
            case messages.Began():
                running.begun = True
            case messages.Step():
                step = progress_of(message)
                if not running.ended.done():
                    running.on_step(step)
                if given is not None:
                    given.stepped()
            case messages.Need():
                running.painted = True
                if given is not None:
                    given.look()
                worker = self._supervisor.worker
                assert worker is not None, "it has just spoken"
                self._do(self._exchange.bring_over(running, message.size, worker))
            case messages.Done():
                self._supervisor.set_info(message.info)
                if not running.placed.done():
                    running.placed.set_result(message)
                if given is not None:
                    given.look()
            case messages.Painted():
                self._supervisor.set_info(message.info)
                self._exchange.take_frame(running, message)
            case messages.Failed():
                self._supervisor.set_info(message.info)
                running.fail(self._error_of(message.failure))

    def _error_of(self, failure: JobFailure) -> ScumbleServerError:
        error = messages.error_of(failure)
        if isinstance(error, DeviceFault):  # this worker is about to end
            self._supervisor.replace(f"Restarting. {error.message}", _FAULT_SECONDS)
        return error

    def _do(self, chore: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def _fail(many: Sequence[Running], error: ScumbleServerError) -> None:
    for running in many:
        running.fail(error)
