"""One worker process after the other: started, looked after, replaced when it dies, ended with the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from core_server.config import ServerConfig
from core_server.errors import ScumbleServerError, Unavailable, WorkerCrashed
from core_server.jobs import messages, watchdog
from core_server.jobs.engine import EngineState, EngineStatus
from core_server.jobs.worker_process import WorkerProcess
from core_server.pipelines.task import RuntimeInfo

log = logging.getLogger(__name__)

_MAX_START_FAILURES = 3
_FIRST_PAUSE_SECONDS = 0.5


class Worker(Protocol):
    """One life of the worker, as `WorkerProcess` is."""

    exited: asyncio.Future[str]

    @property
    def pid(self) -> int | None:
        """Of the process, once it is there."""

    async def start(self) -> None:
        """Returns when the process runs, or `exited` says why it does not."""

    def send(self, message: messages.ToWorker) -> None:
        """Never waits."""

    def kill(self) -> None:
        """Ends the process wherever it is."""

    async def close(self) -> None:
        """Returns when `exited` is done. Only after `start`."""


MakeWorker = Callable[[ServerConfig, Callable[[messages.FromWorker], None]], Worker]


class Supervisor:
    """Keeps a worker there until `stop`. All on one event loop.

    on_message: called with what a worker says about its tasks. on_loss: called with the reason when what was under way
    is lost. is_busy: whether the worker has been asked for something that it has not answered.
    """

    def __init__(
        self,
        config: ServerConfig,
        make_worker: MakeWorker = WorkerProcess,
        *,
        on_message: Callable[[messages.FromWorker], None],
        on_loss: Callable[[ScumbleServerError], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._config = config
        self._make_worker = make_worker
        self._on_task_message = on_message
        self._on_loss = on_loss
        self._is_busy = is_busy
        self._status = EngineStatus(EngineState.STARTING, "The worker is starting.")
        self._changed = asyncio.Event()
        self._try_again = asyncio.Event()
        self._stopping = asyncio.Event()
        self._start_error: ScumbleServerError = WorkerCrashed("The worker could not be started.")
        self._worker: Worker | None = None
        self._lives: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()
        self._was_ready = False
        self._last_sign = time.monotonic()

    @property
    def status(self) -> EngineStatus:
        """Where the worker stands and what it has told about its device."""
        return self._status

    @property
    def worker(self) -> Worker | None:
        """The one there is, ready or not."""
        return self._worker

    @property
    def ready_worker(self) -> Worker | None:
        """The one that takes tasks at this moment; None while there is none."""
        ready = self._status.state is EngineState.READY and not self._stopping.is_set()
        return self._worker if ready else None

    def start(self) -> None:
        """The first worker starts behind it."""
        self._lives = asyncio.create_task(self._one_after_the_other(), name="supervise worker")

    async def stop(self) -> None:
        """Returns when there is no worker any more; from the call on, whoever waits for one gets Unavailable."""
        self._stopping.set()
        self._try_again.set()
        self._set_status(EngineState.FAILED)
        if self._lives is None:
            return
        # Never cancelled: a life ends by itself, whatever it is at, and says so to whoever waits for its work.
        await asyncio.wait({self._lives})
        if (error := self._lives.exception()) is not None:
            log.error("The supervision of the worker failed", exc_info=error)

    async def wait_ready(self) -> None:
        """Returns when `ready_worker` is there. One that was given up is tried once more.

        Errors: why it cannot be started, Unavailable when the server stops.
        """
        if self._status.state is EngineState.FAILED and not self._stopping.is_set():
            self._set_status(EngineState.RESTARTING, "The worker is being started once more.")
            self._try_again.set()
        while self.ready_worker is None:
            if self._stopping.is_set():
                raise Unavailable("The server is stopping; try again when it is back.")
            if self._status.state is EngineState.FAILED:
                raise self._start_error
            await self._changed.wait()

    def asked(self) -> None:
        """The worker was asked for something: from now on it is to give signs of progress."""
        self._last_sign = time.monotonic()

    def replace(self, message: str, grace_seconds: float = 0.0) -> None:
        """Another worker, please: this one gets nothing more to do, and is killed if it has not ended by itself.

        message: why, for the status.
        """
        self._set_status(EngineState.RESTARTING, message)
        if self._worker is not None:
            ending = asyncio.create_task(_end(self._worker, grace_seconds), name="replace worker")
            self._chores.add(ending)
            ending.add_done_callback(self._chores.discard)

    def set_info(self, info: RuntimeInfo | None) -> None:
        """What the runtime tells about itself now; None keeps what it told before."""
        self._set_status(self._status.state, self._status.message, info)

    # --- lives

    async def _one_after_the_other(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            told = self._start_error
            how = await self._live()
            if self._stopping.is_set():
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
                    await self._pause(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1))
                    continue
                self._start_error = WorkerCrashed(
                    f"The worker could not be started {failures} times in a row: {how}. "
                    "The server's log and `scumble doctor` have more."
                )
            self._try_again.clear()
            self._set_status(EngineState.FAILED, self._start_error.message)
            await self._try_again.wait()
            failures = 0

    async def _live(self) -> str:
        """From the start of a worker to its end; returns how it ended."""
        worker = self._worker = self._make_worker(self._config, self._on_message)
        self._was_ready = False
        self._last_sign = time.monotonic()
        watching: asyncio.Task[None] | None = None
        try:
            await worker.start()
            watching = asyncio.create_task(self._look_after(worker), name="look after worker")
            await self._exit_or_stop(worker)
            if not worker.exited.done():
                await worker.close()
            how = worker.exited.result()
        finally:
            if watching is not None:
                watching.cancel()
            self._worker = None
        self._on_loss(WorkerCrashed(f"The job's work was lost, because {how}."))
        return how

    async def _look_after(self, worker: Worker) -> None:
        if worker.pid is None:
            return
        error = await watchdog.verdict(
            worker.pid, self._config.limits, self._quiet_since, lambda: self._was_ready
        )
        log.warning("The worker is killed: %s", error)
        self._set_status(EngineState.RESTARTING, f"Restarting. {error.message}")
        if not self._was_ready:
            self._start_error = error
        worker.kill()
        self._on_loss(error)

    def _quiet_since(self) -> float | None:
        return self._last_sign if self._is_busy() or not self._was_ready else None

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _exit_or_stop(self, worker: Worker) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        either: set[asyncio.Future[Any]] = {worker.exited, stopping}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    def _on_message(self, message: messages.FromWorker) -> None:
        self._last_sign = time.monotonic()
        match message:
            case messages.Ready():
                self._was_ready = True
                self._set_status(EngineState.READY, message.message, message.info)
            case messages.StartFailed():
                self._start_error = messages.error_of(message.failure)
            case messages.Rested():
                self.set_info(message.info)
            case _:
                self._on_task_message(message)

    def _set_status(
        self, state: EngineState, message: str = "", info: RuntimeInfo | None = None
    ) -> None:
        if self._stopping.is_set():  # nothing that still happens changes that
            state, message = EngineState.FAILED, "The worker was stopped."
        self._status = EngineStatus(state, message, info or self._status.info)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def _end(worker: Worker, grace_seconds: float) -> None:
    done, _ = await asyncio.wait({worker.exited}, timeout=grace_seconds)
    if not done:
        worker.kill()
