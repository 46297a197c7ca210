"""Takes one job after the other from the queue to the engine and writes down how it ended.

The device does not wait for the disk: while the worker hands a picture over the next job is claimed and given to it,
and while that one is painted the picture is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.config import Batching, Limits
from core_server.errors import (
    DeviceFault,
    ScumbleServerError,
    TaskCancelled,
    Unavailable,
    WorkerCrashed,
)
from core_server.jobs import company, disk
from core_server.jobs.blobs import BlobStore
from core_server.jobs.checkpoints import Reached, nobody
from core_server.jobs.engine import Engine, EngineState, Pass, Wish
from core_server.jobs.filed import FiledPixels, input_of
from core_server.jobs.job import (
    ImageHeader,
    JobEvent,
    JobFailure,
    JobProgress,
    JobState,
)
from core_server.jobs.ledger import MAX_CRASHES, Ledger, LiveJob
from core_server.jobs.messages import failure_of
from core_server.jobs.results import Results
from core_server.jobs.turns import Turns
from core_server.pipelines.request import image_ids
from core_server.pipelines.task import StepProgress, TaskOutput

log = logging.getLogger(__name__)

_PREVIEW_SECONDS = 0.25
_PAUSE_SECONDS = 2.0
_MOST_UNFINISHED = 2
"""Passes: one on the device, and one whose pictures are on their way to a disk that may be full."""


class Dispatcher:
    """One pass at a time, in the ledger's order. While results go to disk the next job is painted; never two."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: BlobStore,
        engine: Engine,
        limits: Limits,
        turns: Turns,
        *,
        batching: Batching = Batching(),  # noqa: B008  frozen
        reached: Reached = nobody,
    ) -> None:
        self._turns = turns
        self._batching = batching
        self._ledger = ledger
        self._blobs = blobs
        self._engine = engine
        self._limits = limits
        self._stopping = asyncio.Event()
        self.results = Results(ledger, blobs, limits, self._stopping, reached)
        self._unfinished: deque[set[asyncio.Task[None]]] = deque()

    def stop(self) -> None:
        """Lets `run` return; the engine has been stopped or is about to be."""
        self._stopping.set()
        self._ledger.wake()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            if self._ledger.first is None:
                await self._ledger.wait_for_work()
                continue
            try:
                await self._next()
            except Exception as error:  # whatever it is, the jobs behind it want their turn
                log.exception("The next job could not be taken up; trying again")
                self._tell(error)
                await self._pause()
        while self._unfinished:
            await self._finished()

    def _tell(self, error: Exception) -> None:
        """Says to those who watch the first job why it does not begin, where that is known."""
        trouble, live = disk.trouble(error), self._ledger.first
        if trouble is None or live is None:
            return
        stage = f"The job waits to begin. {trouble.message}"
        if live.job.progress is None or live.job.progress.stage != stage:
            self._ledger.progressed(live, JobProgress(step=0, steps=1, stage=stage))

    async def _next(self) -> None:
        try:
            await self._engine.wait_ready()
        except Unavailable:
            await self._pause()
            return
        except ScumbleServerError as error:
            await self._refuse_first(error)
            return
        async with self._turns.job():
            given = await self._begin()
            while given is not None:
                following = await self._following(given)
                await given.ended
                given = following

    async def _following(self, given: Pass) -> Pass | None:
        """The next pass, given to the worker while it hands over this one; None where it is better chosen then."""
        await given.ending
        is_ready = self._engine.status.state is EngineState.READY
        if self._stopping.is_set() or not is_ready or not self._turns.is_quiet:
            return None
        try:
            return await self._begin()
        except (OSError, sqlite3.Error):  # said to whoever waits when it happens again
            log.exception("The next job could not be taken up yet")
            return None

    async def _begin(self) -> Pass | None:
        """Takes up the first job and its company; None if there is none that goes to the device."""
        while len(self._unfinished) >= _MOST_UNFINISHED:
            await self._finished()
        several = self._batching.pictures > 1
        lives = await self._ledger.claim(self._company if several else None, company.LOOK_AHEAD)
        ready: list[tuple[LiveJob, Wish]] = []
        for live in lives:
            live.restart_clock()
            async with self._ending(live):
                has_images = bool(image_ids(live.job.request))
                images = await asyncio.to_thread(self._images, live) if has_images else {}
                if live.cancel_requested:
                    raise TaskCancelled
                ready.append((live, self._wish(live, images)))
        # Who was cancelled while another one's pictures were read has no place in the pass.
        for live, _ in ready:
            async with self._ending(live):
                if live.cancel_requested:
                    raise TaskCancelled
        ready = [(live, wish) for live, wish in ready if not live.job.state.is_final]
        if not ready:
            return None
        count = sum(live.job.request.parameters.count for live, _ in ready)
        pictures = min(self._pictures(ready[0][0]), count) if several else 1
        given = self._engine.give([wish for _, wish in ready], pictures)
        self._unfinished.append(
            {
                asyncio.create_task(self._finish(live, outcome))
                for (live, _), outcome in zip(ready, given.outcomes, strict=True)
            }
        )
        return given

    def _company(self, first: LiveJob, waiting: Sequence[LiveJob]) -> Sequence[LiveJob]:
        return company.company_of(first, waiting, self._pictures(first))

    def _pictures(self, live: LiveJob) -> int:
        """How many like this job's may be painted at once."""
        info = self._engine.status.info
        if info is None or live.crashes:
            return 1
        known = info.together, info.default_model
        return company.pictures_at_once(live.job, self._batching, *known)

    def _wish(self, live: LiveJob, images: Mapping[str, Pixels | FiledPixels]) -> Wish:
        job = live.job
        return Wish(job.job_id, job.request, images, lambda step: self._on_step(live, step))

    async def _finish(self, live: LiveJob, outcome: Awaitable[Sequence[TaskOutput]]) -> None:
        """From the device to the disk."""
        try:
            async with self._ending(live):
                await self.results.keep(live, await outcome)
        except (OSError, sqlite3.Error):  # the server stops; the next start finds the job running
            log.exception("The end of job %s could not be written", live.job.job_id)

    async def _finished(self) -> None:
        """Returns when the jobs of the longest unfinished pass have ended."""
        await asyncio.wait(self._unfinished[0])
        self._unfinished.popleft()

    async def _refuse_first(self, error: ScumbleServerError) -> None:
        """The engine cannot be started: say so to whoever waits, instead of letting them wait for ever."""
        live = self._ledger.first
        if live is not None:
            await self._end(live, JobState.FAILED, failure_of(error))

    @contextlib.asynccontextmanager
    async def _ending(self, live: LiveJob) -> AsyncIterator[None]:
        """Whatever goes wrong with a job within the block is how it ends."""
        try:
            yield
        except TaskCancelled:
            await self._end(live, JobState.CANCELLED)
        except (WorkerCrashed, Unavailable) as error:
            await self._after_crash(live, error)
        except Exception as error:
            if not isinstance(error, ScumbleServerError):
                log.exception("Job %s failed", live.job.job_id)
            await self._end(live, JobState.FAILED, failure_of(error))

    async def _end(
        self,
        live: LiveJob,
        state: JobState,
        failure: JobFailure | None = None,
        *,
        crashed: bool = False,
    ) -> None:
        """Writes down how an attempt ended, also if the disk is full for a while: until then the job is running."""
        while True:
            try:
                await self._ledger.enter(live, state, failure=failure, crashed=crashed)
            except (OSError, sqlite3.Error):
                if self._stopping.is_set():
                    raise
                log.exception("The end of job %s cannot be written; trying again", live.job.job_id)
                await self._pause()
            else:
                return

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _PAUSE_SECONDS)

    async def _after_crash(self, live: LiveJob, error: ScumbleServerError) -> None:
        if self._stopping.is_set():
            # Our own doing, so it does not count against the job.
            state = JobState.CANCELLED if live.cancel_requested else JobState.QUEUED
            await self._end(live, state)
        elif live.cancel_requested:
            await self._end(live, JobState.CANCELLED, crashed=True)
        elif live.crashes + 1 < MAX_CRASHES:
            log.warning("Job %s is tried again. %s", live.job.job_id, error)
            await self._end(live, JobState.QUEUED, crashed=True)
        else:
            attempts, fault = live.job.attempts, isinstance(error, DeviceFault)
            hint = (
                ""
                if fault
                else " The server goes on; the same job may work with a smaller picture."
            )
            failure = JobFailure(
                reason=error.reason if fault else WorkerCrashed.reason,
                message=f"The job was tried {attempts} times and is not tried again. {error.message}{hint}",
                metadata=error.metadata | {"attempts": str(attempts)},
            )
            await self._end(live, JobState.FAILED, failure, crashed=True)

    def _on_step(self, live: LiveJob, step: StepProgress) -> None:
        if live.cancel_requested:
            return  # what was on its way when the wish came is nobody's business any more
        now = time.monotonic()
        self._ledger.progressed(
            live,
            JobProgress(
                step=step.step,
                steps=step.steps,
                stage=step.stage,
                remaining_seconds=live.clock.remaining(step.step, step.steps, now),
            ),
        )
        if step.preview is None or now - live.last_preview_time < _PREVIEW_SECONDS:
            return
        live.last_preview_time = now
        height, width, channels = step.preview.shape
        live.feed.publish(
            JobEvent(
                number=live.feed.next_number(),
                time=time.time(),
                preview=step.preview.tobytes(),
                preview_header=ImageHeader(
                    extent=Extent(width, height),
                    channels=channels,
                    dtype="uint8",
                    color_space=ColorSpace.SRGB,
                ),
            )
        )

    def _images(self, live: LiveJob) -> dict[str, Pixels | FiledPixels]:
        """In a thread."""
        wanted = set(image_ids(live.job.request))
        return {image_id: input_of(self._blobs, image_id, self._limits) for image_id in wanted}
