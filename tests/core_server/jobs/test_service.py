"""The job service over a real worker process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace, Pixels
from core_server.config import Limits
from core_server.errors import (
    DataDirInUse,
    FailedPrecondition,
    ImageNotFound,
    InvalidRequest,
    JobNotFound,
    LimitExceeded,
    Unavailable,
)
from core_server.jobs import codec
from core_server.jobs.job import ImageEncoding, Job, JobState, StoredImage
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.jobs.store import Store
from core_server.pipelines.request import ImageToImage, Inpaint, Parameters
from tests.core_server.canvas import profiles
from tests.core_server.jobs.conftest import config, finished, text_to_image
from tests.fakes.runtime import picture

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


async def put(service: JobService, array: np.ndarray, profile: bytes = b"") -> StoredImage:
    pixels = Pixels(array, ColorSpace.ICC if profile else ColorSpace.SRGB, profile)
    return await service.put_image("ada", codec.header_of(pixels), bytes(codec.raw_bytes(pixels)))


async def until_step(service: JobService, job: Job, step: int = 1) -> None:
    async for event in service.watch(job.owner, job.job_id, 0):
        if event.progress is not None and event.progress.step >= step:
            return


async def test_from_request_to_pixels(service: JobService) -> None:
    request = text_to_image(count=2)
    job, events = await finished(service, await service.create("ada", "wish", request))
    assert job.state is JobState.SUCCEEDED
    assert job.attempts == 1
    assert [event.state for event in events if event.state] == [
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.SUCCEEDED,
    ]
    assert events[-1].number == job.last_event_number
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    for index, result in enumerate(job.results):
        header, payload = await service.images.get("ada", result.image.image_id, None)
        pixels = codec.decode(header, payload, Limits())
        assert np.array_equal(pixels.array, picture(request.parameters.seed + index, Extent(12, 8)))
        packed, data = await service.images.get("ada", result.image.image_id, ImageEncoding.PNG)
        assert np.array_equal(codec.decode(packed, data, Limits()).array, pixels.array)
    again = [event async for event in service.watch("ada", job.job_id, 0)]
    assert again == events, "who comes back after the end is told of every step too"
    after_end = service.watch("ada", job.job_id, job.last_event_number)
    assert [event async for event in after_end] == []


async def test_an_image_keeps_type_and_profile_on_its_way_through(service: JobService) -> None:
    array = np.random.default_rng(3).integers(0, 65536, (21, 34, 4), dtype=np.uint16)
    profile = profiles.srgb()  # the next one may have another date
    stored = await put(service, array, profile=profile)
    request = ImageToImage(parameters=Parameters(prompt="echo"), image=stored.image_id)
    job, _ = await finished(service, await service.create("ada", "wish", request))
    assert job.results[0].image == stored  # the same pixels have the same id
    header, payload = await service.images.get("ada", stored.image_id, None)
    assert header.icc_profile == profile
    assert payload == array.tobytes()


async def test_a_repeated_request_is_the_same_job(service: JobService) -> None:
    jobs = await asyncio.gather(
        *(service.create("ada", "wish", text_to_image(seed=seed)) for seed in range(5))
    )
    assert len({job.job_id for job in jobs}) == 1
    done, _ = await finished(service, jobs[0])
    late = await service.create("ada", "wish", text_to_image(seed=9))
    assert late == done
    other = await service.create("bob", "wish", text_to_image())
    assert other.job_id != done.job_id


async def test_a_resumed_watch_misses_nothing(service: JobService) -> None:
    job = await service.create("ada", "wish", text_to_image("previews"))
    seen = []
    while not seen or seen[-1].state is not JobState.SUCCEEDED:
        async for event in service.watch("ada", job.job_id, seen[-1].number if seen else 0):
            seen.append(event)
            if len(seen) % 4 == 0:
                break  # the connection is lost
    steps = [event.progress.step for event in seen if event.progress]
    assert steps == list(range(1, 21))
    previews = [event for event in seen if event.preview]
    done = await service.get("ada", job.job_id)
    assert done.start_time is not None and done.end_time is not None
    most = 4 * (done.end_time - done.start_time) + 2
    assert 1 <= len(previews) <= most, "four a second"
    assert previews[0].preview_header is not None
    assert len(previews[0].preview or b"") == 8 * 12 * 3
    later = [event.progress.remaining_seconds for event in seen if event.progress]
    assert later[0] is None
    assert later[-1] == 0


async def test_jobs_run_in_order_and_know_their_place(service: JobService) -> None:
    first = await service.create("ada", "0", text_to_image("slow"))
    rest = [await service.create("ada", str(k), text_to_image()) for k in (1, 2, 3)]
    await service.cancel("ada", first.job_id)
    ends = []
    for job in (first, *rest):
        done, events = await finished(service, job)
        ends.append(done.end_time)
        if job is rest[-1]:
            places = [event.queue_position for event in events if event.state is JobState.QUEUED]
            assert places[0] == 3
    assert ends == sorted(ends)


async def test_cancelling_what_waits_and_what_runs(service: JobService) -> None:
    running = await service.create("ada", "0", text_to_image("slow"))
    waiting = await service.create("ada", "1", text_to_image())
    await until_step(service, running)
    assert (await service.cancel("ada", waiting.job_id)).state is JobState.CANCELLED
    await service.cancel("ada", running.job_id)
    stopped, events = await finished(service, running)
    assert stopped.state is JobState.CANCELLED
    assert events[-1].state is JobState.CANCELLED
    assert (await service.cancel("ada", running.job_id)) == stopped
    never, _ = await finished(service, waiting)
    assert never.start_time is None


@pytest.mark.parametrize(
    ("death", "reason", "told"),
    [
        pytest.param("crash", "WORKER_CRASHED", "SIGKILL", marks=posix),
        ("fault", "DEVICE_FAULT", "device-side assert"),
    ],
)
async def test_a_dead_worker_costs_one_retry(
    service: JobService, death: str, reason: str, told: str
) -> None:
    saved = await service.create("ada", "0", text_to_image(f"{death} once"))
    doomed = await service.create("ada", "1", text_to_image(death))
    after = await service.create("ada", "2", text_to_image())
    saved, events = await finished(service, saved)
    assert (saved.state, saved.attempts) == (JobState.SUCCEEDED, 2)
    assert [event.state for event in events if event.state] == [
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.SUCCEEDED,
    ]
    doomed, events = await finished(service, doomed)
    assert (doomed.state, doomed.attempts) == (JobState.FAILED, 2)
    assert doomed.failure is not None
    assert doomed.failure.reason == reason
    assert told in doomed.failure.message
    assert events[-1].failure == doomed.failure
    assert (await finished(service, after))[0].state is JobState.SUCCEEDED


@posix
async def test_a_worker_killed_from_outside(service: JobService) -> None:
    job = await service.create("ada", "0", text_to_image("held once"))
    await until_step(service, job)
    assert isinstance(service.engine, LocalEngine)
    os.kill(service.engine.worker_pid or 0, signal.SIGKILL)
    done, _ = await finished(service, job)
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 2)


@pytest.mark.parametrize(("prompt", "reason"), [("oom", "OUT_OF_MEMORY"), ("bug", "INTERNAL")])
async def test_failures_keep_their_reason(service: JobService, prompt: str, reason: str) -> None:
    job, events = await finished(
        service, await service.create("ada", "wish", text_to_image(prompt))
    )
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.failure is not None
    assert job.failure.reason == reason
    assert events[-1].failure == job.failure


async def test_an_engine_that_cannot_start_fails_its_jobs_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCUMBLE_FAKE_START", "missing")
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    await service.start()
    job, _ = await finished(service, await service.create("ada", "wish", text_to_image()))
    assert job.failure is not None
    assert job.failure.reason == "MODEL_LOAD_FAILED"
    await service.stop()


async def test_other_owners_see_nothing(service: JobService) -> None:
    job = await service.create("ada", "wish", text_to_image("slow"))
    await service.create("bob", "wish", text_to_image())
    for state in ("running", "finished"):
        for call in (service.get, service.cancel, service.delete):
            with pytest.raises(JobNotFound):
                await call("bob", job.job_id)
        with pytest.raises(JobNotFound):
            await anext(service.watch("bob", job.job_id, 0))
        jobs, _ = await service.list("bob", (), 10, "")
        assert job.job_id not in [other.job_id for other in jobs]
        if state == "running":
            await service.cancel("ada", job.job_id)
            await finished(service, job)


async def test_pages(service: JobService) -> None:
    jobs = [await service.create("ada", str(k), text_to_image()) for k in range(5)]
    await finished(service, jobs[-1])
    first, token = await service.list("ada", (), 3, "")
    second, end = await service.list("ada", (), 3, token)
    assert [job.job_id for job in first + second] == [job.job_id for job in reversed(jobs)]
    assert end == ""
    assert await service.list("ada", [JobState.FAILED], 3, "") == ([], "")
    with pytest.raises(InvalidRequest, match="page token"):
        await service.list("ada", (), 3, "²")


async def test_deleting(service: JobService) -> None:
    running = await service.create("ada", "0", text_to_image("slow"))
    with pytest.raises(FailedPrecondition):
        await service.delete("ada", running.job_id)
    await service.cancel("ada", running.job_id)
    job, _ = await finished(service, await service.create("ada", "1", text_to_image()))
    await service.delete("ada", job.job_id)
    with pytest.raises(JobNotFound):
        await service.get("ada", job.job_id)
    with pytest.raises(ImageNotFound):
        await service.images.get("ada", job.results[0].image.image_id, None)


async def test_requests_that_cannot_be_accepted(service: JobService) -> None:
    small = await put(service, np.zeros((4, 4, 1), np.uint8))
    large = await put(service, np.zeros((8, 8, 3), np.uint8))
    unknown = ImageToImage(parameters=Parameters(), image="0" * 64)
    with pytest.raises(ImageNotFound):
        await service.create("ada", "wish", unknown)
    unlike = Inpaint(parameters=Parameters(), image=large.image_id, selection=small.image_id)
    with pytest.raises(InvalidRequest, match="equally large"):
        await service.create("ada", "wish", unlike)
    assert await service.list("ada", (), 10, "") == ([], "")


async def test_a_full_queue(tmp_path: Path) -> None:
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits(max_queued_jobs=2))
    await service.start()
    jobs = [await service.create("ada", str(k), text_to_image()) for k in range(2)]
    with pytest.raises(LimitExceeded) as caught:
        await service.create("ada", "2", text_to_image())
    assert caught.value.metadata == {"limit": "max_queued_jobs", "value": "2"}
    assert (await service.create("ada", "0", text_to_image())).job_id == jobs[0].job_id
    await finished(service, jobs[1])
    await service.create("ada", "2", text_to_image())
    await service.stop()


async def test_one_server_owns_the_data_folder(service: JobService, tmp_path: Path) -> None:
    second = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    with pytest.raises(DataDirInUse, match="--data-dir"):
        await second.start()
    job, _ = await finished(service, await service.create("ada", "wish", text_to_image()))
    assert job.state is JobState.SUCCEEDED


async def test_a_clean_stop_queues_the_running_job_again(tmp_path: Path) -> None:
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    await service.start()
    job = await service.create("ada", "wish", text_to_image("held once"))
    await until_step(service, job)
    watch = asyncio.create_task(finished(service, job))
    await asyncio.sleep(0)
    await service.stop()
    with pytest.raises(Unavailable):
        await watch
    with pytest.raises(Unavailable):
        await service.create("ada", "late", text_to_image())
    again = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    await again.start()
    done, events = await finished(again, job)
    assert done.state is JobState.SUCCEEDED
    assert events[0].state is JobState.QUEUED
    await again.stop()


async def test_a_full_store_gives_up_old_results_and_then_refuses_uploads(tmp_path: Path) -> None:
    limits = Limits(max_store_bytes=12_000)
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), limits)
    await service.start()
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = await put(service, noise)
    request = ImageToImage(parameters=Parameters(prompt="flip"), image=image.image_id)
    old, _ = await finished(service, await service.create("ada", "old", request))
    large = msgspec.structs.replace(text_to_image(), extent=Extent(50, 50))
    new, _ = await finished(service, await service.create("ada", "new", large))
    assert len(new.results) == 1
    assert (await service.get("ada", new.job_id)).results == new.results
    emptied = await service.get("ada", old.job_id)
    assert (emptied.state, emptied.results) == (JobState.SUCCEEDED, ())
    with pytest.raises(LimitExceeded) as caught:
        await put(service, np.ones((64, 64, 4), np.uint8))
    assert caught.value.metadata == {"limit": "max_store_bytes", "value": "12000"}
    assert (await service.get("ada", new.job_id)).results == new.results
    await service.stop()


async def test_a_full_disk_is_told_and_survived(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core_server.jobs.dispatcher._PAUSE_SECONDS", 0.05)

    def pages(store: Store, most: str) -> None:
        """SQLite's own way to make a disk small."""
        used = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {most.format(used=used)}")

    running = await service.create("ada", "0", text_to_image("previews"))
    await until_step(service, running)
    await service._ledger.db(pages, "{used}")
    with pytest.raises(LimitExceeded, match="disk"):
        for k in range(1, 100):
            await service.create("ada", str(k), text_to_image("x" * 8000))
    accepted, _ = await service.list("ada", (), 1000, "")
    await asyncio.sleep(0.5)  # the running job ends meanwhile and cannot say so
    await service._ledger.db(pages, "1000000")
    for job in accepted:
        assert (await finished(service, job))[0].state.is_final
    again, _ = await finished(service, await service.create("ada", "after", text_to_image()))
    assert again.state is JobState.SUCCEEDED
