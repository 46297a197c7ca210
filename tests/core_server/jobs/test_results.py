"""A picture that was painted is not thrown away because the disk has no room for it."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core_server.config import Limits
from core_server.errors import Unavailable
from core_server.jobs.job import Job, JobEvent, JobState
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from tests.core_server.jobs.conftest import config, finished, text_to_image


class Disk:
    """Has no room for results while `full`."""

    full = True
    step = "results.kept"

    def __call__(self, step: str) -> None:
        if self.full and step == self.step:
            raise OSError(errno.ENOSPC, "no room")


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def service(tmp_path: Path, disk: Disk) -> AsyncIterator[JobService]:
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits(), disk)
    await service.start()
    yield service
    await service.stop()


async def until_it_waits(service: JobService, job: Job) -> JobEvent:
    async for event in service.watch(job.owner, job.job_id, 0):
        if event.progress is not None and "waits to be stored" in event.progress.stage:
            return event
    raise AssertionError("it never waited")


async def test_it_is_stored_when_there_is_room_again(service: JobService, disk: Disk) -> None:
    first = await service.create("ada", "first", text_to_image())
    told = await until_it_waits(service, first)
    assert told.progress is not None
    assert "disk with the data folder is full; free some space" in told.progress.stage
    second = await service.create("bob", "second", text_to_image("previews"))
    async for event in service.watch("bob", second.job_id, 0):
        if event.progress is not None and event.progress.step == 20:
            break  # painted meanwhile
    disk.full = False
    for job in (first, second):
        ended, _ = await finished(service, job)
        assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1)


async def test_it_can_be_cancelled(service: JobService, disk: Disk) -> None:
    job = await service.create("ada", "wish", text_to_image())
    await until_it_waits(service, job)
    await service.cancel("ada", job.job_id)
    ended, events = await finished(service, job)
    assert ended.state is JobState.CANCELLED
    assert not ended.results
    assert events[-1].state is JobState.CANCELLED


async def test_a_server_that_stops_meanwhile_paints_it_again(
    tmp_path: Path, service: JobService
) -> None:
    job = await service.create("ada", "wish", text_to_image())
    await until_it_waits(service, job)
    await service.stop()
    with pytest.raises(Unavailable):
        await service.create("ada", "late", text_to_image())
    again = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    await again.start()
    try:
        ended, _ = await finished(again, job)
        assert (ended.state, len(ended.results)) == (JobState.SUCCEEDED, 1)
    finally:
        await again.stop()


async def test_a_job_that_cannot_even_begin_says_why_and_then_does(
    service: JobService, disk: Disk
) -> None:
    disk.step = "update.written"
    job = await service.create("ada", "wish", text_to_image())
    async for event in service.watch("ada", job.job_id, 0):
        if event.progress is not None:
            assert event.progress.stage.startswith("The job waits to begin. The disk with the data")
            break
    waiting = await service.get("ada", job.job_id)
    assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 0)
    disk.full = False
    ended, _ = await finished(service, job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1)
