"""A real device-side assertion, through a real server. Runs where there is a CUDA or ROCm device.

Nearly all of its time goes into starting workers, of which there are three: each brings its libraries and makes its
context. So the tiers are off (the first start would compile and time kernels), and what a retry does to a job that
fails once is left to `tests/core_server/jobs/test_service.py`, which needs no device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core_server.config import ServerConfig, Tiers
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import job_pb2
from tests.core_server.rpc.asking import create, text_to_image
from tests.core_server.rpc.gateway import Gateway, running_gateway

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def on_the_gpu(config: ServerConfig) -> JobService:
    config = replace(config, device="cuda:0")
    return JobService(config.data_dir, LocalEngine(config), config.limits)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("fault")
    runtime = "tests.fakes.faulty_runtime:create"
    plain = Tiers(kernels=False, graphs=False)
    with running_gateway(folder, runtime=runtime, make_jobs=on_the_gpu, tiers=plain) as gateway:
        yield gateway


def painted(gateway: Gateway, prompt: str) -> job_pb2.Job:
    """The job after its end, whatever that is."""
    job_id = create(gateway, text_to_image(prompt)).job_id
    for _ in gateway.generation.WatchJob(messages.WatchJobRequest(job_id=job_id), timeout=300):
        pass
    return gateway.generation.GetJob(messages.GetJobRequest(job_id=job_id)).job


def test_a_fault_costs_that_job_and_its_worker_and_nothing_else(gateway: Gateway) -> None:
    doomed = painted(gateway, "fault")
    assert (doomed.state, doomed.attempts) == (job_pb2.JOB_STATE_FAILED, 2), doomed.error.message
    assert doomed.error.reason == job_pb2.ERROR_REASON_DEVICE_FAULT
    assert doomed.error.metadata["device"] == "cuda:0"
    assert "driver" in doomed.error.message
    after = painted(gateway, "moss")
    assert (after.state, after.attempts) == (job_pb2.JOB_STATE_SUCCEEDED, 1), after.error.message
