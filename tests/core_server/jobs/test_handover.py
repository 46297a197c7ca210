"""The device does not wait between two jobs: the next one is there before it is free. The worker is played."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from core_server.jobs import messages
from core_server.jobs.job import Job, JobState
from tests.core_server.jobs.conftest import finished, text_to_image
from tests.core_server.jobs.test_stopping import (
    KILLED,
    PATIENCE,
    READY,
    Played,
    Stage,
    deliver,
    until,
)


@asynccontextmanager
async def stage_with(data_dir: Path, count: int) -> AsyncIterator[tuple[Stage, list[Job]]]:
    stage = Stage(data_dir)
    await stage.service.start()
    jobs = [await stage.service.create("ada", f"{n}", text_to_image(seed=n)) for n in range(count)]
    try:
        async with asyncio.timeout(PATIENCE):
            yield stage, jobs
    finally:
        for worker in stage.workers:
            worker.starts.set()
        await stage.service.stop()


def painted(worker: Played, job: Job) -> None:
    worker.say(messages.Need(job_id=job.job_id, size=4096))


async def asked(worker: Played) -> str:
    """The next job that it is given; it does not begin yet."""
    while not isinstance(question := await worker.asked.get(), messages.Run):
        pass
    return question.asked[0].job_id


async def test_the_next_job_is_there_before_the_last_picture_is_handed_over(tmp_path: Path) -> None:
    async with stage_with(tmp_path, 3) as (stage, jobs):
        worker = await stage.painting()
        for job, following in itertools.pairwise(jobs):
            assert worker.job_id == job.job_id
            painted(worker, job)
            assert await asked(worker) == following.job_id
            assert worker.asked.empty(), "one ahead, not two"
            worker.say(messages.Done(job_id=job.job_id, outputs=[], info=None))
            worker.job_id = following.job_id
            worker.say(messages.Began(job_id=following.job_id))
        await deliver(worker)
        for job in jobs:
            done, events = await finished(stage.service, job)
            assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1)
            states = [it.state for it in events if it.state]
            assert states[-2:] == [JobState.RUNNING, JobState.SUCCEEDED]


async def test_a_job_that_lay_behind_a_crash_goes_to_the_next_worker_as_if_nothing_was(
    tmp_path: Path,
) -> None:
    async with stage_with(tmp_path, 2) as (stage, [crashing, behind]):
        worker = await stage.painting()
        painted(worker, crashing)
        assert await asked(worker) == behind.job_id
        worker.end(KILLED)
        await until(lambda: len(stage.workers) == 2)
        second = stage.workers[1]
        second.starts.set()
        await second.starting.wait()
        second.say(READY)
        for job, attempts in ((behind, 1), (crashing, 2)):
            await second.until_asked(messages.Run)
            assert second.job_id == job.job_id
            await deliver(second)
            done, _ = await finished(stage.service, job)
            assert (done.state, done.attempts) == (JobState.SUCCEEDED, attempts)


async def test_a_job_that_was_cancelled_behind_a_crash_stays_so(tmp_path: Path) -> None:
    async with stage_with(tmp_path, 2) as (stage, [crashing, behind]):
        worker = await stage.painting()
        painted(worker, crashing)
        assert await asked(worker) == behind.job_id
        await stage.service.cancel("ada", behind.job_id)
        worker.end(KILLED)
        done, _ = await finished(stage.service, behind)
        assert (done.state, done.attempts) == (JobState.CANCELLED, 1)


async def test_workers_that_die_before_they_begin_end_a_job(tmp_path: Path) -> None:
    async with stage_with(tmp_path, 1) as (stage, [job]):
        worker = await stage.started()
        worker.say(READY)
        while stage.service.active_jobs():
            question = asyncio.create_task(asked(worker))
            ended = asyncio.create_task(finished(stage.service, job))
            await asyncio.wait({question, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            question.cancel()
            if not stage.service.active_jobs():
                break
            count = len(stage.workers)
            worker.end(KILLED)
            await until(lambda n=count: len(stage.workers) > n)
            worker = stage.workers[-1]
            worker.starts.set()
            await worker.starting.wait()
            worker.say(READY)
        assert (await finished(stage.service, job))[0].state is JobState.FAILED
        assert len(stage.workers) < 12
