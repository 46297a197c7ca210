"""Puts what was painted on disk and says so, however long the disk takes: a painted picture is never thrown away."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Sequence

import msgspec

from core_server.canvas.pixels import Pixels
from core_server.config import Limits
from core_server.errors import ScumbleServerError, TaskCancelled, Unavailable
from core_server.jobs import codec, disk, retention
from core_server.jobs.blobs import BlobStore
from core_server.jobs.checkpoints import Reached
from core_server.jobs.job import JobProgress, JobResult, JobState, StoredImage
from core_server.jobs.ledger import Ledger, LiveJob
from core_server.pipelines.task import TaskOutput

log = logging.getLogger(__name__)

_PAUSE_SECONDS, _LOOK_SECONDS = 1.0, 0.05


class Results:
    """`settling` is held while results are stored but not yet committed, so that nobody collects them.

    stopping: set when the server is to end; a result that has found no room by then is painted again at the next start.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: BlobStore,
        limits: Limits,
        stopping: asyncio.Event,
        reached: Reached,
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._limits = limits
        self._stopping = stopping
        self._reached = reached
        self.settling = asyncio.Lock()

    async def keep(self, live: LiveJob, outputs: Sequence[TaskOutput]) -> None:
        """Ends a job with its pictures, which wait in memory for room on a disk that is full or cannot be written.

        Errors: TaskCancelled, and Unavailable where the server stops, while they wait.
        """
        while True:
            try:
                async with self.settling:
                    results = await asyncio.to_thread(self._stored, outputs)
                    self._reached("results.kept")
                    await self._ledger.enter(live, JobState.SUCCEEDED, results=results)
                    break
            except (OSError, sqlite3.Error) as error:
                trouble = disk.trouble(error)
                if trouble is None:
                    raise
                log.warning("The result of job %s waits: %s", live.job.job_id, trouble)
                await self._wait_for_room(live, trouble)
        await self._make_room()

    async def _wait_for_room(self, live: LiveJob, trouble: ScumbleServerError) -> None:
        stage = f"The picture is done and waits to be stored. {trouble.message}"
        told, again = live.job.progress, time.monotonic() + _PAUSE_SECONDS
        while time.monotonic() < again:
            if self._stopping.is_set():
                raise Unavailable("The server stopped before the result could be stored.")
            if live.cancel_requested:
                raise TaskCancelled
            if told is None or told.stage != stage:
                steps = told.steps if told else 1
                told = JobProgress(step=steps, steps=steps, stage=stage)
                self._ledger.progressed(live, told)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _make_room(self) -> None:
        if self._blobs.total_bytes > self._limits.max_store_bytes:
            async with self.settling:
                await self._ledger.db(retention.collect, self._blobs, self._limits, time.time())

    # --- in a thread

    def _stored(self, outputs: Sequence[TaskOutput]) -> list[JobResult]:
        return [
            JobResult(
                index=index,
                image=self._store(output.pixels),
                seed=output.seed,
                recipe=msgspec.json.encode(output.recipe).decode(),
                bounds=output.bounds,
                composite_mask=None if mask is None else self._store(mask),
                plan=output.plan,
                map_name=output.map_name,
            )
            for index, output in enumerate(outputs)
            for mask in (output.composite_mask,)
        ]

    def _store(self, pixels: Pixels) -> StoredImage:
        header = codec.header_of(pixels)
        return StoredImage(image_id=self._blobs.put(header, codec.raw_bytes(pixels)), header=header)
