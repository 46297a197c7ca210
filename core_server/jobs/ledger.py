"""The unfinished jobs in memory, in step with the store: a state is on disk before anybody hears of it.

RUNNING is written then, and synced a moment later.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from core_server.jobs.eta import StepClock
from core_server.jobs.fair_queue import FairQueue, cost_of
from core_server.jobs.feed import Feed
from core_server.jobs.job import Job, JobEvent, JobFailure, JobProgress, JobResult, JobState
from core_server.jobs.store import Store
from core_server.pipelines.request import task_name

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

_RECENT_JOBS = 32
"""Ended jobs whose steps are still told to whoever lost the connection just before the end; states are on disk."""

MAX_CRASHES = 2
"""A job under which a process died so often is not tried again."""


class LiveJob:
    """An unfinished job and those who watch it."""

    def __init__(self, job: Job, feed: Feed, crashes: int = 0) -> None:
        self.job = job
        self.feed = feed
        self.crashes = crashes
        self.cancel_requested = False
        self.times_passed = 0
        """Passes in which jobs behind it had company's places; see `company`."""
        self.clock = StepClock()
        self.last_preview_time = 0.0

    def restart_clock(self) -> None:
        """A new attempt takes its own time."""
        self.clock = StepClock()

    @property
    def snapshot(self) -> Job:
        """The job as of now, with its newest event's number."""
        return msgspec.structs.replace(self.job, last_event_number=self.feed.last_number)


@dataclass(slots=True)
class Figures:
    """What happened since the start, for monitoring. Seconds over all jobs that ended."""

    accepted: int = 0
    tried_again: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    waited_seconds: float = 0.0
    ran_seconds: float = 0.0


Company = Callable[[LiveJob, Sequence[LiveJob]], Sequence[LiveJob]]
"""(the job whose turn it is, those behind it in order) -> those of them that are painted with it."""


class Ledger:
    """All changes of state go through here, one at a time. The store is used on one thread of its own."""

    def __init__(self) -> None:
        self.live: dict[str, LiveJob] = {}
        self.figures = Figures()
        self._queue: FairQueue[LiveJob] = FairQueue()
        self._recent: dict[str, Feed] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="job-store")
        self._one_at_a_time = asyncio.Lock()
        self._work = asyncio.Event()
        self._store: Store | None = None

    async def open(self, make_store: Callable[[], Store]) -> None:
        """Opens the store and takes up what an earlier run of the server left unfinished.

        What was running is queued again unless a process has died under it before, or it was to be cancelled.
        """
        self._store = await asyncio.get_running_loop().run_in_executor(self._thread, make_store)
        for left in await self.db(Store.unfinished):
            live = LiveJob(left.job, Feed.resumed(left.events), left.crashes)
            self.live[left.job.job_id] = live
            if left.job.state is JobState.QUEUED:
                self._wait(live)
            elif left.cancel_requested:
                await self.enter(live, JobState.CANCELLED, crashed=True)
            elif left.crashes + 1 < MAX_CRASHES:
                await self.enter(live, JobState.QUEUED, crashed=True)
            else:
                failure = JobFailure(
                    reason="WORKER_CRASHED",
                    message=f"The server ended {MAX_CRASHES} times while it worked on this job, so it is not tried "
                    "again. Its log may say why; a smaller picture needs less memory.",
                )
                await self.enter(live, JobState.FAILED, failure=failure, crashed=True)

    async def close(self) -> None:
        """Closes the store."""
        if self._store is not None:
            await self.db(Store.close)
        self._thread.shutdown()

    async def db(
        self, function: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Calls `function(store, ...)` on the store's thread."""
        assert self._store is not None
        bound = functools.partial(function, self._store, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, bound)

    # --- the queue

    async def wait_for_work(self) -> None:
        """Returns when a job waits, or `wake` was called."""
        await self._work.wait()
        self._work.clear()

    def wake(self) -> None:
        """Ends `wait_for_work`."""
        self._work.set()

    @property
    def first(self) -> LiveJob | None:
        """The job whose turn it is."""
        return self._queue.first

    def active_of(self, owner: str) -> int:
        """Unfinished jobs of one owner."""
        return sum(live.job.owner == owner for live in self.live.values())

    async def accept(
        self, job: Job, insert: Callable[[Store, Job, JobEvent], None]
    ) -> LiveJob | None:
        """Queues a new job after `insert` has put it into the store; None if its request_id is there already."""
        live = LiveJob(job, Feed())
        event = JobEvent(
            number=live.feed.next_number(),
            time=job.create_time,
            state=JobState.QUEUED,
            queue_position=len(self.live),
        )
        try:
            await self.db(insert, job, event)
        except sqlite3.IntegrityError:
            return None
        self.live[job.job_id] = live
        self.figures.accepted += 1
        self._wait(live)
        live.feed.publish(event)
        self.wake()
        return live

    async def claim(self, company: Company | None = None, look_ahead: int = 0) -> list[LiveJob]:
        """Starts the first job of the queue, and with it those that `company` chooses of the `look_ahead` next ones.

        Empty if nobody waits any more.
        """
        async with self._one_at_a_time:
            first = self.first
            if first is None:
                return []
            others: Sequence[LiveJob] = ()
            if company is not None:
                others = company(first, self._queue.order(1 + look_ahead)[1:])
            await self._enter(first, JobState.RUNNING)
            started = [first]
            try:
                for live in others:
                    await self._enter(live, JobState.RUNNING)
                    started.append(live)
            except (OSError, sqlite3.Error):
                log.exception(
                    "A job could not be taken up with another one; it waits for its own turn"
                )
            return started

    # --- changes

    async def enter(
        self,
        live: LiveJob,
        state: JobState,
        *,
        failure: JobFailure | None = None,
        results: Sequence[JobResult] = (),
        crashed: bool = False,
    ) -> None:
        """The job is in this state now; does nothing if it has ended."""
        async with self._one_at_a_time:
            if not live.job.state.is_final:
                await self._enter(live, state, failure, results, crashed)

    async def cancel(self, live: LiveJob) -> bool:
        """Ends a queued job; notes the wish for a running one and returns True."""
        async with self._one_at_a_time:
            if live.job.state is JobState.QUEUED:
                await self._enter(live, JobState.CANCELLED)
            elif live.job.state is JobState.RUNNING:
                live.cancel_requested = True
                await self.db(Store.request_cancel, live.job.job_id)
                return True
            return False

    def progressed(self, live: LiveJob, progress: JobProgress) -> None:
        """Tells the watchers; not on disk."""
        live.job = msgspec.structs.replace(live.job, progress=progress)
        live.feed.publish(
            JobEvent(number=live.feed.next_number(), time=time.time(), progress=progress)
        )

    async def _enter(
        self,
        live: LiveJob,
        state: JobState,
        failure: JobFailure | None = None,
        results: Sequence[JobResult] = (),
        crashed: bool = False,
    ) -> None:
        now = time.time()
        before = live.job
        running = state is JobState.RUNNING
        job = msgspec.structs.replace(
            before,
            state=state,
            start_time=now if running else before.start_time,
            end_time=now if state.is_final else None,
            attempts=before.attempts + running,
            progress=None,
            failure=failure,
            results=tuple(results),
        )
        # Who asks for the job while this is being written sees what was before, and watches from there.
        with live.feed.pending() as number:
            event = JobEvent(number=number, time=now, state=state, failure=failure)
            await self.db(Store.update, job, event, crashed=crashed)
            self._entered(live, job, event, crashed)

    def _entered(self, live: LiveJob, job: Job, event: JobEvent, crashed: bool) -> None:
        before, live.job = live.job, job
        live.crashes += crashed
        self.figures.tried_again += crashed and job.state is JobState.QUEUED
        if before.state is JobState.QUEUED and job.state is JobState.RUNNING:
            self._queue.take(live)
        elif before.state is JobState.QUEUED:
            self._queue.remove(live)
        if job.state is JobState.QUEUED:
            self._queue.add_again(live)
            self.wake()
        if job.state.is_final:
            del self.live[job.job_id]
            self._remember(live)
            self._tell_positions()
            self._count(job)
            _log_end(job)
        live.feed.publish(event)
        if job.state.is_final:
            live.feed.forget_previews()

    def recent_feed(self, job_id: str) -> Feed | None:
        """Of a job that ended a short while ago."""
        return self._recent.get(job_id)

    def _remember(self, live: LiveJob) -> None:
        self._recent[live.job.job_id] = live.feed
        if len(self._recent) > _RECENT_JOBS:
            del self._recent[next(iter(self._recent))]

    def _wait(self, live: LiveJob) -> None:
        job = live.job
        self._queue.add(
            live,
            owner=job.owner,
            client=job.client,
            priority=job.priority,
            cost=cost_of(job.request),
        )

    def _count(self, job: Job) -> None:
        ended = job.end_time or time.time()
        started = job.start_time or ended
        self.figures.ended[str(job.state)] += 1
        self.figures.waited_seconds += max(started - job.create_time, 0.0)
        self.figures.ran_seconds += max(ended - started, 0.0)

    def _tell_positions(self) -> None:
        running = len(self.live) - len(self._queue)
        for position, live in enumerate(self._queue.order(), running):
            live.feed.publish_position(
                JobEvent(
                    number=live.feed.next_number(),
                    time=time.time(),
                    state=JobState.QUEUED,
                    queue_position=position,
                )
            )


def _log_end(job: Job) -> None:
    """The one line a job leaves in the log. What was asked for is nobody's business and stays out of it."""
    now = job.end_time or time.time()
    told = {
        "job_id": job.job_id,
        "task": task_name(job.request),
        "state": str(job.state),
        "waited_seconds": round((job.start_time or now) - job.create_time, 3),
        "ran_seconds": round(now - job.start_time, 3) if job.start_time else 0.0,
        "attempts": job.attempts,
        "reason": job.failure.reason if job.failure else "",
    }
    why = f" ({told['reason']})" if job.failure else ""
    log.info(
        "job %s: %s %s%s after %.1f s",
        job.job_id,
        told["task"],
        job.state,
        why,
        told["ran_seconds"],
        extra=told,
    )
