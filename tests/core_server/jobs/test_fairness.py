"""Several owners, clients and priorities at one worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from core_server.config import Limits
from core_server.errors import LimitExceeded, TaskCancelled
from core_server.jobs.engine import Engine, EngineState, EngineStatus, Wish
from core_server.jobs.job import JobState, Priority
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.running import GivenPass
from core_server.jobs.service import JobService
from core_server.pipelines.task import StepProgress
from tests.core_server.jobs.conftest import config, finished, text_to_image


async def test_a_neighbours_single_picture_passes_a_batch(service: JobService) -> None:
    first = await service.create("ada", "first", text_to_image("slow"))
    batch = [
        await service.create("ada", f"batch-{n}", text_to_image("previews")) for n in range(100)
    ]
    single = await service.create("bob", "single", text_to_image())
    urgent = await service.create("ada", "urgent", text_to_image(), priority=Priority.INTERACTIVE)
    other = await service.create("ada", "other", text_to_image(), client="photoshop")
    await service.cancel("ada", first.job_id)  # all wait by now, however long that took
    ended = [(await finished(service, job))[0] for job in (single, urgent, other)]
    assert [job.state for job in ended] == [JobState.SUCCEEDED] * 3
    done = [
        job
        for job in (await service.list("ada", [JobState.SUCCEEDED], 1000, ""))[0]
        if job.request_id.startswith("batch")
    ]
    assert len(done) <= 4, "they had their turns among the first"
    waiting = await service.get("ada", batch[-1].job_id)
    assert waiting.state is JobState.QUEUED
    for job in batch:
        await service.cancel("ada", job.job_id)


async def test_the_queue_of_one_owner_leaves_room_for_others(tmp_path: Path) -> None:
    limits = Limits(max_queued_jobs=5, max_queued_jobs_per_owner=3)
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), limits)
    await service.start()
    try:
        for n in range(3):
            await service.create("ada", f"{n}", text_to_image("slow"))
        with pytest.raises(
            LimitExceeded, match=r"^3 jobs of this token .*max_queued_jobs_per_owner"
        ):
            await service.create("ada", "more", text_to_image())
        await service.create("ada", "0", text_to_image())  # the same wish is no new job
        for n in range(2):
            await service.create("bob", f"{n}", text_to_image("slow"))
        with pytest.raises(LimitExceeded, match=r"^5 jobs are waiting already \(max_queued_jobs\)"):
            await service.create("eve", "0", text_to_image())
    finally:
        await service.stop()


class Chatty:
    """An engine that tells of three more steps after it was asked to stop, as one would whose pipe was full of them."""

    status = EngineStatus(EngineState.READY)

    def give(self, wishes: Sequence[Wish], pictures: int = 1) -> GivenPass:
        self._given = GivenPass(wishes, pictures)
        wishes[0].on_step(StepProgress(1, 9, "Painting"))
        return self._given

    def cancel(self, job_id: str) -> None:
        for step in (2, 3, 4):
            self._given.wishes[0].on_step(StepProgress(step, 9, "Painting"))
        self._given.running[0].fail(TaskCancelled())

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def wait_ready(self) -> None: ...


async def test_a_cancelled_job_tells_of_no_progress_afterwards(tmp_path: Path) -> None:
    service = JobService(tmp_path, cast("Engine", Chatty()), Limits())
    await service.start()
    try:
        job = await service.create("ada", "wish", text_to_image())
        told = []
        async for event in service.watch("ada", job.job_id, 0):
            told.append(event)
            if event.progress is not None:
                await service.cancel("ada", job.job_id)
        assert [event.progress.step for event in told if event.progress] == [1]
        assert told[-1].state is JobState.CANCELLED
    finally:
        await service.stop()
