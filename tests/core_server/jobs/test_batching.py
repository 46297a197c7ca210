"""Several jobs in one pass, through a real worker process; what ends one of them is no other one's business."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core_server.config import Batching, Limits
from core_server.jobs.job import Job, JobState, Priority
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.pipelines.request import TextToImage
from tests.core_server.jobs.conftest import config, finished, text_to_image

ON = Batching(pictures=4)


@asynccontextmanager
async def waiting(
    data_dir: Path, requests: Sequence[TextToImage], batching: Batching = ON
) -> AsyncIterator[tuple[JobService, list[Job]]]:
    """Jobs of three owners with two programs each, behind one on the device that goes on within the block."""
    service = JobService(data_dir, LocalEngine(config(data_dir)), Limits(), batching=batching)
    await service.start()
    try:
        (data_dir / "closed").touch()
        await service.create("eve", "first", text_to_image("gated"))
        while not (data_dir / "painting").exists():
            await asyncio.sleep(0.01)
        jobs = [
            await service.create(f"owner {n % 3}", f"{n}", request, client=f"program {n % 2}")
            for n, request in enumerate(requests)
        ]
        (data_dir / "closed").unlink()
        yield service, jobs
    finally:
        (data_dir / "closed").unlink(missing_ok=True)
        await service.stop()


def batches(jobs: Sequence[Job]) -> list[int]:
    """How many each was painted with; 1 where its recipe says nothing."""
    return [json.loads(job.results[0].recipe).get("batch", 1) for job in jobs]


async def ended(service: JobService, jobs: Sequence[Job]) -> list[Job]:
    return [(await finished(service, job))[0] for job in jobs]


@pytest.mark.parametrize(
    ("batching", "expected"), [(Batching(), [1] * 8), (ON, [4] * 8)], ids=["off", "on"]
)
async def test_eight_jobs_of_six_programs(
    tmp_path: Path, batching: Batching, expected: list[int]
) -> None:
    """Each gets its own picture, seed, progress to the last step, and end."""
    requests = [text_to_image(f"moss {n}", seed=100 + n) for n in range(8)]
    async with waiting(tmp_path, requests, batching) as (service, jobs):
        for number, job in enumerate(jobs):
            done, events = await finished(service, job)
            assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1)
            assert [result.seed for result in done.results] == [100 + number]
            assert json.loads(done.results[0].recipe)["prompt"] == f"moss {number}"
            assert events[-1].state is JobState.SUCCEEDED
            assert [it.progress.step for it in events if it.progress][-1] == 4
            jobs[number] = done
        assert batches(jobs) == expected
        assert len({job.results[0].image.image_id for job in jobs}) == 8


async def test_cancelling_one_leaves_the_others_theirs(tmp_path: Path) -> None:
    requests = [text_to_image(prompt) for prompt in ("slow", "moss", "oak", "sand")]
    async with waiting(tmp_path, requests) as (service, jobs):
        async for event in service.watch(jobs[0].owner, jobs[0].job_id, 0):
            if event.progress is not None:
                await service.cancel(jobs[0].owner, jobs[0].job_id)
        done = await ended(service, jobs)
        assert [job.state for job in done] == [JobState.CANCELLED, *[JobState.SUCCEEDED] * 3]
        assert batches(done[1:]) == [4, 4, 4]


@pytest.mark.parametrize(
    ("prompt", "state"),
    [("crash once", JobState.SUCCEEDED), ("crash", JobState.FAILED), ("fault", JobState.FAILED)],
)
async def test_when_the_worker_dies_each_is_painted_again_alone(
    tmp_path: Path, prompt: str, state: JobState
) -> None:
    requests = [text_to_image(it) for it in ("moss", prompt, "oak", "sand")]
    async with waiting(tmp_path, requests) as (service, jobs):
        done = await ended(service, jobs)
        assert [job.attempts for job in done] == [2] * 4
        assert [job.state for job in done if job is not done[1]] == [JobState.SUCCEEDED] * 3
        assert done[1].state is state
        assert batches([job for job in done if job.results]) == [1] * (
            3 + (state is JobState.SUCCEEDED)
        )


@pytest.mark.parametrize("prompt", ["bug", "oom"])
async def test_what_fails_fails_alone(tmp_path: Path, prompt: str) -> None:
    requests = [text_to_image(it) for it in ("moss", prompt, "oak", "sand")]
    async with waiting(tmp_path, requests) as (service, jobs):
        states = [job.state for job in await ended(service, jobs)]
        assert states == [JobState.SUCCEEDED, JobState.FAILED, *[JobState.SUCCEEDED] * 2]


async def test_an_interactive_job_that_waits_goes_first_and_nobody_shares_before_it(
    tmp_path: Path,
) -> None:
    """Of the same owner; and of another one, whose turn it is not yet."""
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits(), batching=ON)
    await service.start()
    try:
        (tmp_path / "closed").touch()
        await service.create("ada", "first", text_to_image("gated"))
        while not (tmp_path / "painting").exists():
            await asyncio.sleep(0.01)
        plain = [await service.create("ada", f"{n}", text_to_image()) for n in range(5)]
        urgent = [
            await service.create(owner, "urgent", text_to_image(), priority=Priority.INTERACTIVE)
            for owner in ("ada", "bob")
        ]
        (tmp_path / "closed").unlink()
        done = await ended(service, [*urgent, *plain])
        assert max(it.start_time or 0 for it in done[:2]) < min(
            it.start_time or 0 for it in done[2:]
        )
        assert batches(done[:2]) == [2, 2]
        assert batches(done[2:]) == [4, 4, 4, 4, 1]
    finally:
        (tmp_path / "closed").unlink(missing_ok=True)
        await service.stop()


async def test_variations_share_too(tmp_path: Path) -> None:
    async with waiting(tmp_path, [text_to_image(count=3)]) as (service, jobs):
        [done] = await ended(service, jobs)
        assert [result.seed for result in done.results] == [7, 8, 9]
        assert batches([done]) == [1], "the fake tells of jobs, and this was one"
