"""What the RPC layer talks to: images in and out, jobs accepted, watched, cancelled and forgotten."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import filelock

from core_server.config import Batching, Limits
from core_server.errors import (
    DataDirInUse,
    FailedPrecondition,
    ImageNotFound,
    InvalidRequest,
    JobNotFound,
    LimitExceeded,
    StartupError,
    Unavailable,
)
from core_server.jobs import inputs, retention
from core_server.jobs.blobs import BlobStore
from core_server.jobs.checkpoints import Reached, nobody
from core_server.jobs.disk import full_disk_told
from core_server.jobs.dispatcher import Dispatcher
from core_server.jobs.engine import Engine
from core_server.jobs.images import Images
from core_server.jobs.job import (
    ImageHeader,
    Job,
    JobEvent,
    JobState,
    Priority,
    StoredImage,
)
from core_server.jobs.ledger import Figures, Ledger, LiveJob
from core_server.jobs.live import LiveDesk
from core_server.jobs.store import Store
from core_server.jobs.turns import Turns
from core_server.pipelines.request import Request, image_ids

T = TypeVar("T")

log = logging.getLogger(__name__)

_HOUSEKEEPING_SECONDS = 3600.0
_STOPPING = "The server is stopping; try again when it is back."


class JobService:
    """Durable jobs in `data_dir`, run by `engine`. All methods are called on one event loop.

    A job that `create` has returned is on disk. Jobs belong to an owner, images to whoever uploaded them and to the
    owners of the jobs that took or gave them; to others neither exists. reached: told of every step of every write.
    """

    def __init__(
        self,
        data_dir: Path,
        engine: Engine,
        limits: Limits,
        reached: Reached = nobody,
        batching: Batching = Batching(),  # noqa: B008  frozen
    ) -> None:
        self._data_dir = data_dir
        self._reached = reached
        self._engine = engine
        self._limits = limits
        self._batching = batching
        self._owned = filelock.FileLock(
            data_dir / "lock", timeout=0, thread_local=False, mode=0o600
        )
        self._ledger = Ledger()
        self._turns = Turns(limits.max_live_hold_seconds)
        self.live = LiveDesk(engine, self._turns, limits)
        """The live sessions."""
        self._blobs: BlobStore
        self._images: Images
        self._dispatcher: Dispatcher
        self._tasks: list[asyncio.Task[None]] = []
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def start(self) -> None:
        """Takes up the jobs that were left, starts the engine behind it and begins to dispatch.

        Errors: DataDirInUse, StartupError.
        """
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._owned.acquire()
        except filelock.Timeout:
            raise DataDirInUse(
                f"Another Scumble server uses {self._data_dir}; stop it, or give this one another --data-dir."
            ) from None
        try:
            blobs = self._data_dir / "blobs"
            self._blobs = await asyncio.to_thread(BlobStore, blobs, self._reached)
            database = self._data_dir / "jobs.sqlite3"
            await self._ledger.open(lambda: _open_store(database, self._reached))
            self._images = Images(
                self._ledger, self._blobs, self._limits, self._whole, self._collect
            )
            self._dispatcher = Dispatcher(
                self._ledger,
                self._blobs,
                self._engine,
                self._limits,
                self._turns,
                batching=self._batching,
                reached=self._reached,
            )
            await self._engine.start()
        except BaseException:
            await self._ledger.close()
            self._owned.release()
            raise
        self._tasks = [
            asyncio.create_task(self._dispatcher.run(), name="dispatch jobs"),
            asyncio.create_task(self._keep_house(), name="keep house"),
        ]

    async def stop(self) -> None:
        """Ends the engine and every watch. A running job is queued again for the next start."""
        if self._stopping or not self._tasks:
            return
        self._stopping = True
        for live in self._ledger.live.values():
            live.feed.interrupt(Unavailable(_STOPPING))
        dispatching, keeping_house = self._tasks
        keeping_house.cancel()
        self._dispatcher.stop()
        await self._engine.stop()
        await asyncio.gather(dispatching, *self._unfinished, return_exceptions=True)
        await self._ledger.close()
        self._owned.release()

    @property
    def engine(self) -> Engine:
        """What runs the jobs."""
        return self._engine

    def active_jobs(self) -> int:
        """Jobs that are queued or running."""
        return len(self._ledger.live)

    def stored_bytes(self) -> int:
        """Bytes of all images on disk."""
        return self._blobs.total_bytes

    @property
    def figures(self) -> Figures:
        """What happened since the start."""
        return self._ledger.figures

    # --- images

    @property
    def images(self) -> Images:
        """Images in and out. Errors: Unavailable while the server stops."""
        self._check_open()
        return self._images

    async def put_image(self, owner: str, header: ImageHeader, payload: bytes) -> StoredImage:
        """See `Images.put`."""
        return await self.images.put(owner, header, payload)

    # --- jobs

    async def create(
        self,
        owner: str,
        request_id: str,
        request: Request,
        *,
        priority: Priority = Priority.NORMAL,
        client: str = "",
    ) -> Job:
        """Accepts a job; it is on disk when this returns. The same (owner, request_id) gives the first job again.

        Errors: ImageNotFound, InvalidRequest for images that do not fit together, LimitExceeded for a full queue.
        """
        self._check_open()
        job = Job(
            job_id=uuid.uuid4().hex,
            request_id=request_id,
            owner=owner,
            state=JobState.QUEUED,
            request=request,
            create_time=time.time(),
            priority=priority,
            client=client,
        )
        return await self._whole(self._create(job))

    async def watch(self, owner: str, job_id: str, after: int) -> AsyncIterator[JobEvent]:
        """Events with numbers above `after`, up to and including the final one.

        Errors, at the first step: JobNotFound; later: Unavailable when the server stops.
        """
        live = self._live(owner, job_id)
        if live is None:
            await self._finished(owner, job_id)
        feed = self._ledger.recent_feed(job_id) if live is None else live.feed
        if feed is None:
            for event in await self._ledger.db(Store.events, job_id, after):
                yield event
        else:
            async for event in feed.watch(after):
                yield event

    async def get(self, owner: str, job_id: str) -> Job:
        """A job. Errors: JobNotFound."""
        live = self._live(owner, job_id)
        return await self._finished(owner, job_id) if live is None else live.snapshot

    async def list(
        self, owner: str, states: Iterable[JobState], limit: int, before_token: str
    ) -> tuple[list[Job], str]:
        """Jobs in these states (all if none is given), newest first, and the next page's token, "" on the last.

        Errors: InvalidRequest for a token that no page gave.
        """
        if before_token and not (before_token.isascii() and before_token.isdecimal()):
            raise InvalidRequest(
                "page_token",
                f"The page token {before_token!r} is not one of this server's; start with an empty one.",
            )
        before = int(before_token) if before_token else None
        jobs, following = await self._ledger.db(Store.page, owner, states, limit, before)
        current = [self._ledger.live.get(job.job_id) for job in jobs]
        newest = [live.snapshot if live else job for live, job in zip(current, jobs, strict=True)]
        return newest, "" if following is None else str(following)

    async def cancel(self, owner: str, job_id: str) -> Job:
        """Ends a queued job at once, a running one at its next step; a finished one stays as it is.

        Errors: JobNotFound.
        """
        self._check_open()
        return await self._whole(self._cancel(owner, job_id))

    async def delete(self, owner: str, job_id: str) -> None:
        """Forgets a finished job and its images. Errors: JobNotFound, FailedPrecondition while it is unfinished."""
        self._check_open()
        live = self._live(owner, job_id)
        if live is not None:
            raise FailedPrecondition(
                f"The job is {live.job.state}; cancel it and wait for its end before deleting it.",
                state=live.job.state,
            )
        await self._finished(owner, job_id)
        async with self._dispatcher.results.settling:
            await self._ledger.db(retention.forget, self._blobs, job_id)

    # --- behind them

    async def _create(self, job: Job) -> Job:
        known = await self._ledger.db(Store.find_request, job.owner, job.request_id)
        if known is None:
            self._check_room(job.owner)
            inputs.check(job.request, await self._ledger.db(self._headers, job))
            with full_disk_told():
                accepted = await self._ledger.accept(job, self._insert)
            if accepted is not None:
                return accepted.snapshot
            known = await self._ledger.db(Store.find_request, job.owner, job.request_id)
            assert known is not None
        live = self._ledger.live.get(known.job_id)
        return live.snapshot if live else known

    def _headers(self, store: Store, job: Job) -> dict[str, ImageHeader]:
        """Of a job's images, on the store's thread. Errors: ImageNotFound, also for those of others."""
        ids = image_ids(job.request)
        for image_id in ids:
            if not store.may_see(job.owner, image_id):
                raise ImageNotFound(image_id)
        return {image_id: self._blobs.header(image_id) for image_id in ids}

    def _insert(self, store: Store, job: Job, event: JobEvent) -> None:
        """On the store's thread, as is the collector: an image that is there now stays for this job."""
        for image_id in image_ids(job.request):
            if not self._blobs.touch(image_id):
                raise ImageNotFound(image_id)
        store.insert(job, event)

    async def _cancel(self, owner: str, job_id: str) -> Job:
        live = self._live(owner, job_id)
        if live is None:
            return await self._finished(owner, job_id)
        if await self._ledger.cancel(live):
            self._engine.cancel(job_id)
        return live.snapshot

    def _live(self, owner: str, job_id: str) -> LiveJob | None:
        live = self._ledger.live.get(job_id)
        if live is not None and live.job.owner != owner:
            raise JobNotFound(job_id)
        return live

    async def _finished(self, owner: str, job_id: str) -> Job:
        job = await self._ledger.db(Store.find, job_id)
        if job is None or job.owner != owner:
            raise JobNotFound(job_id)
        return job

    def _check_open(self) -> None:
        if self._stopping:
            raise Unavailable(_STOPPING)

    def _check_room(self, owner: str) -> None:
        waiting, limit = len(self._ledger.live), self._limits.max_queued_jobs
        if waiting >= limit:
            raise LimitExceeded(
                f"{limit} jobs are waiting already (max_queued_jobs); try again when some are done.",
                limit="max_queued_jobs",
                value=str(limit),
            )
        limit = self._limits.max_queued_jobs_per_owner
        if self._ledger.active_of(owner) >= limit:
            raise LimitExceeded(
                f"{limit} jobs of this token are waiting already (max_queued_jobs_per_owner); try again when some are "
                "done.",
                limit="max_queued_jobs_per_owner",
                value=str(limit),
            )

    async def _keep_house(self) -> None:
        while True:
            try:
                await self._collect()
            except (OSError, sqlite3.Error):
                log.exception("Old results could not be removed")
            await asyncio.sleep(_HOUSEKEEPING_SECONDS)

    async def _collect(self, room: int = 0) -> None:
        async with self._dispatcher.results.settling:
            await self._ledger.db(retention.collect, self._blobs, self._limits, time.time(), room)

    async def _whole(self, change: Coroutine[Any, Any, T]) -> T:
        """A caller may go away in the middle; what it began is finished all the same."""
        task = asyncio.create_task(change)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(task)


def _open_store(path: Path, reached: Reached) -> Store:
    try:
        return Store(path, reached)
    except sqlite3.DatabaseError as error:
        raise StartupError(
            f"The job database {path} cannot be opened ({error}). Move it away to start with an empty one."
        ) from error
