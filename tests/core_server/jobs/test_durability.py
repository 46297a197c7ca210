"""kill -9 of the gateway: accepted means durable."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from core_server.config import Limits
from core_server.jobs.job import Job, JobState
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from tests.core_server.jobs.conftest import config, finished, text_to_image

ROOT = Path(__file__).parents[3]


def killed_gateway(data_dir: Path, *prompts: str, events: int = 0) -> tuple[list[str], int, int]:
    """Runs a gateway until it has accepted the jobs and told so many events, then kills it.

    Returns the jobs' ids, the last event's number and the worker's process id.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.core_server.jobs.gateway", str(data_dir), *prompts],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        jobs = process.stdout.readline().split()
        number = worker = 0
        while number < events:
            number, worker = (int(word) for word in process.stdout.readline().split())
        process.kill()
    return jobs, number, worker


async def after_restart(data_dir: Path, job_ids: list[str]) -> list[Job]:
    service = JobService(data_dir, LocalEngine(config(data_dir)), Limits())
    await service.start()
    try:
        jobs = [await service.get("ada", job_id) for job_id in job_ids]
        return [(await finished(service, job))[0] for job in jobs]
    finally:
        await service.stop()


async def test_every_accepted_job_is_there_and_runs(tmp_path: Path) -> None:
    accepted, _, _ = killed_gateway(tmp_path, "moss", "bark", "oom")
    jobs = await after_restart(tmp_path, accepted)
    assert [job.state for job in jobs] == [
        JobState.SUCCEEDED,
        JobState.SUCCEEDED,
        JobState.FAILED,
    ]


async def test_the_running_job_runs_again_but_not_for_ever(tmp_path: Path) -> None:
    (job_id,), number, _ = killed_gateway(tmp_path, "slow", events=5)
    killed_gateway(tmp_path, events=1_000_000 + 5)  # this one takes it up, and dies too
    (job,) = await after_restart(tmp_path, [job_id])
    assert job.state is JobState.FAILED
    assert job.attempts == 2
    assert job.failure is not None
    assert job.failure.reason == "WORKER_CRASHED"
    assert job.last_event_number > number


async def test_a_watcher_of_before_goes_on_after_the_restart(tmp_path: Path) -> None:
    (job_id,), number, _ = killed_gateway(tmp_path, "held once", events=7)
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    await service.start()
    events = [event async for event in service.watch("ada", job_id, number)]
    await service.stop()
    assert [event.state for event in events if event.state] == [
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.SUCCEEDED,
    ]
    assert [event.progress.step for event in events if event.progress] == list(range(1, 21))


async def test_a_backup_of_a_running_server_opens_with_its_jobs_and_pictures(
    tmp_path: Path,
) -> None:
    """As docs/operations.md has it: the database first, then the images."""
    running, copy = tmp_path / "running", tmp_path / "copy"
    copy.mkdir(mode=0o700)
    service = JobService(running, LocalEngine(config(running)), Limits())
    await service.start()
    done, _ = await finished(service, await service.create("ada", "done", text_to_image()))
    slow = await service.create("ada", "slow", text_to_image("slow"))
    with (
        closing(sqlite3.connect(running / "jobs.sqlite3")) as source,
        closing(sqlite3.connect(copy / "jobs.sqlite3")) as target,
    ):
        source.backup(target)
    shutil.copytree(running / "blobs", copy / "blobs")
    await service.cancel("ada", slow.job_id)
    await service.stop()
    again = JobService(copy, LocalEngine(config(copy)), Limits())
    await again.start()
    try:
        kept = await again.get("ada", done.job_id)
        assert kept.results == done.results
        header, payload = await again.images.get("ada", kept.results[0].image.image_id, None)
        assert header == kept.results[0].image.header
        assert len(payload) == 12 * 8 * 3
        assert not (await again.get("ada", slow.job_id)).state.is_final
        await again.cancel("ada", slow.job_id)
    finally:
        await again.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a process by signal 0")
def test_the_worker_does_not_outlive_its_gateway(tmp_path: Path) -> None:
    _, _, worker = killed_gateway(tmp_path, "slow", events=3)
    for _ in range(6000):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if (
            Path(f"/proc/{worker}/stat").exists()
            and " Z " in Path(f"/proc/{worker}/stat").read_text()
        ):
            return  # ended; whoever inherited it has not looked yet
        time.sleep(0.01)
    pytest.fail("the worker still runs")
