"""A job service over a real worker process that hosts `tests.fakes.runtime`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core_server.canvas.geometry import Extent
from core_server.config import Limits, ServerConfig
from core_server.jobs.job import Job, JobEvent
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.pipelines.request import Parameters, TextToImage


def config(data_dir: Path, limits: Limits | None = None) -> ServerConfig:
    return ServerConfig(
        data_dir=data_dir,
        model="tiny",
        device="cpu",
        runtime_factory="tests.fakes.runtime:create",
        limits=limits or Limits(),
    )


def text_to_image(prompt: str = "moss", seed: int = 7, count: int = 1) -> TextToImage:
    parameters = Parameters(prompt=prompt, seed=seed, count=count)
    return TextToImage(parameters=parameters, extent=Extent(12, 8))


async def finished(service: JobService, job: Job) -> tuple[Job, list[JobEvent]]:
    """The job after its end, and all its events."""
    events = [event async for event in service.watch(job.owner, job.job_id, 0)]
    return await service.get(job.owner, job.job_id), events


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(config(tmp_path))
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[JobService]:
    service = JobService(tmp_path, LocalEngine(config(tmp_path)), Limits())
    await service.start()
    yield service
    await service.stop()
