"""What is thrown away, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest

from core_server.canvas.geometry import Extent
from core_server.canvas.pixels import ColorSpace
from core_server.config import Limits
from core_server.jobs import retention
from core_server.jobs.blobs import BlobStore
from core_server.jobs.job import ImageHeader, Job, JobEvent, JobResult, JobState, StoredImage
from core_server.jobs.store import Store
from core_server.pipelines.request import ImageToImage, Parameters

HEADER = ImageHeader(extent=Extent(32, 32), channels=1, dtype="uint8", color_space=ColorSpace.SRGB)
DAY = 24 * 3600.0
NOW = 4e9  # long after the files of this test were written


class Scene:
    """A store and blobs, filled by hand. Every image is 1 KiB and a little."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "jobs.sqlite3")
        self.blobs = BlobStore(folder / "blobs")
        self._images = 0

    def image(self) -> str:
        self._images += 1
        return self.blobs.put(HEADER, self._images.to_bytes(4, "big") * 256)

    def job(self, name: str, state: JobState, end_time: float = 0, result: str = "") -> str:
        """Returns the input's id."""
        source = self.image()
        job = Job(
            job_id=name,
            request_id=name,
            owner="ada",
            state=JobState.QUEUED,
            request=ImageToImage(parameters=Parameters(), image=source),
            create_time=0,
        )
        self.store.insert(job, JobEvent(number=1, time=0, state=JobState.QUEUED))
        if state.is_final:
            image = StoredImage(image_id=result or self.image(), header=HEADER)
            results = (JobResult(index=0, image=image, seed=0, recipe="{}"),)
            job = Job(
                **{field: getattr(job, field) for field in ("job_id", "request_id", "owner")},
                state=state,
                request=job.request,
                create_time=0,
                end_time=end_time,
                results=results if state is JobState.SUCCEEDED else (),
            )
            self.store.update(job, JobEvent(number=2, time=0, state=state))
        return source

    def results(self, name: str) -> int | None:
        job = self.store.find(name)
        return None if job is None else len(job.results)

    def collect(self, images: int, now: float = NOW) -> None:
        limits = Limits(max_store_bytes=images * 1300, max_result_age_seconds=int(30 * DAY))
        retention.collect(self.store, self.blobs, limits, now)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_old_jobs_go_whole_and_young_ones_stay(scene: Scene) -> None:
    old = scene.job("old", JobState.SUCCEEDED, end_time=NOW - 31 * DAY)
    scene.job("failed", JobState.FAILED, end_time=NOW - 31 * DAY)
    scene.job("young", JobState.SUCCEEDED, end_time=NOW - 29 * DAY)
    waiting = scene.job("waiting", JobState.QUEUED)
    scene.collect(images=1000)
    assert [scene.results(name) for name in ("old", "failed", "young")] == [None, None, 1]
    assert not scene.blobs.touch(old)
    assert scene.blobs.touch(waiting)


def test_bytes_come_from_unneeded_uploads_first_then_from_the_oldest_results(scene: Scene) -> None:
    inputs = [scene.job(f"{k}", JobState.SUCCEEDED, end_time=NOW - 9 + k) for k in range(4)]
    waiting = scene.job("waiting", JobState.QUEUED)
    scene.collect(images=5)  # the four inputs of finished jobs are enough
    assert [scene.blobs.touch(image) for image in inputs] == [False] * 4
    assert [scene.results(f"{k}") for k in range(4)] == [1, 1, 1, 1]
    scene.collect(images=3)
    assert [scene.results(f"{k}") for k in range(4)] == [0, 0, 1, 1]
    scene.collect(images=0)
    assert [scene.results(f"{k}") for k in range(4)] == [0, 0, 0, 0]
    assert scene.blobs.touch(waiting)


def test_a_fresh_upload_is_safe(scene: Scene) -> None:
    upload = scene.image()
    scene.collect(images=0, now=0.0)
    assert scene.blobs.touch(upload)


def test_an_image_that_two_jobs_show_stays_until_the_last_is_gone(scene: Scene) -> None:
    shared = scene.image()
    scene.job("a", JobState.SUCCEEDED, NOW, shared)
    scene.job("b", JobState.SUCCEEDED, NOW, shared)
    retention.forget(scene.store, scene.blobs, "a")
    assert scene.blobs.touch(shared)
    retention.forget(scene.store, scene.blobs, "b")
    assert not scene.blobs.touch(shared)
