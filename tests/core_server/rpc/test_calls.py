"""What surrounds every call: mistakes of ours, undecodable bytes, waiting for the worker, and the server's end."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core_server.config import ServerConfig
from core_server.errors import ModelLoadFailed
from core_server.jobs.engine import EngineState, EngineStatus
from core_server.rpc import calls
from core_server.rpc.server import SERVICES
from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import model_service_pb2, server_service_pb2
from tests.core_server.rpc.asking import create, text_to_image
from tests.core_server.rpc.gateway import SECONDS, Gateway, refusal_of, running_gateway

SECRET = "a path or prompt that nobody should see"
PLAN = messages.PlanCanvasRequest(
    document={"width": 100, "height": 100}, selection={"width": 10, "height": 10}
)


class WaitingEngine:
    """An engine whose worker is never ready. `error`: what its start came to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        state = EngineState.FAILED if error else EngineState.STARTING
        self.status = EngineStatus(state, "Loading the model")

    async def wait_ready(self) -> None:
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()


class BrokenJobs:
    """A job service with a bug in every method."""

    def __init__(self, engine: WaitingEngine) -> None:
        self.engine = engine

    async def start(self) -> None: ...
    async def stop(self) -> None: ...

    def active_jobs(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(SECRET)


def broken(config: ServerConfig) -> BrokenJobs:
    return BrokenJobs(WaitingEngine())


def failed(config: ServerConfig) -> BrokenJobs:
    return BrokenJobs(WaitingEngine(ModelLoadFailed("The model 'x' has no weights.", model="x")))


@pytest.fixture(scope="module")
def broken_gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_gateway(tmp_path_factory.mktemp("broken"), make_jobs=broken) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetJob", messages.GetJobRequest(job_id="x")),
        ("WatchJob", messages.WatchJobRequest(job_id="x")),
        ("DownloadImage", messages.DownloadImageRequest(image_id="x")),
    ],
)
def test_our_mistakes_are_logged_and_not_told(
    broken_gateway: Gateway, caplog: pytest.LogCaptureFixture, method: str, request_: Any
) -> None:
    with caplog.at_level(logging.ERROR):
        refusal = refusal_of(lambda: getattr(broken_gateway.generation, method)(request_))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert SECRET not in refusal.message
    assert "Traceback" not in refusal.message
    assert SECRET in caplog.text
    assert method in caplog.text


@pytest.mark.parametrize("method", ["GetJob", "WatchJob", "CreateJob"])
def test_bytes_that_are_no_message(gateway: Gateway, method: str) -> None:
    path = f"/scumble.v1.GenerationService/{method}"
    kind = gateway.channel.unary_stream if method == "WatchJob" else gateway.channel.unary_unary
    refusal = refusal_of(lambda: kind(path)(b"\xff\xff\xff\xff"))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    )


def test_uploaded_bytes_that_are_no_message(gateway: Gateway) -> None:
    upload = gateway.channel.stream_unary("/scumble.v1.GenerationService/UploadImage")
    refusal = refusal_of(lambda: upload(iter([b"\xff\xff"])))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_over_the_limit(gateway: Gateway) -> None:
    request = messages.GetJobRequest(job_id="x" * (gateway.config.limits.max_message_bytes + 1))
    refusal = refusal_of(lambda: gateway.generation.GetJob(request))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_worker_that_is_still_starting(
    broken_gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_ANSWER_SECONDS", SECONDS)  # room for a busy machine
    about = broken_gateway.about.GetServerInfo(server_service_pb2.GetServerInfoRequest())
    assert about.worker_state == server_service_pb2.WORKER_STATE_STARTING
    assert about.device == ""
    refusal = refusal_of(lambda: broken_gateway.generation.PlanCanvas(PLAN, timeout=SECONDS + 1))
    told = (refusal.code, refusal.reason)
    assert told == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"), "before the caller's deadline"
    assert refusal.retry
    assert "Loading the model" in refusal.message


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with running_gateway(tmp_path, make_jobs=failed) as gateway:
        for call in (
            lambda: gateway.generation.PlanCanvas(PLAN),
            lambda: gateway.models.ListModels(model_service_pb2.ListModelsRequest()),
        ):
            refusal = refusal_of(call)
            assert refusal.reason == "MODEL_LOAD_FAILED"
            assert "no weights" in refusal.message


def health_of(gateway: Gateway, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(gateway.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service)).status


SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_health_of_gateway_and_worker(gateway: Gateway, broken_gateway: Gateway) -> None:
    assert health_of(gateway, "") == SERVING
    assert health_of(gateway, "scumble.v1.TrainingService") == NOT_SERVING
    watch = health_pb2_grpc.HealthStub(gateway.channel).Watch(
        health_pb2.HealthCheckRequest(service="scumble.v1.GenerationService")
    )
    assert next(it.status for it in watch if it.status == SERVING) == SERVING
    watch.cancel()
    assert health_of(broken_gateway, "") == SERVING
    assert health_of(broken_gateway, "scumble.v1.GenerationService") == NOT_SERVING
    for service in SERVICES:  # none of ours is unknown there
        if service.startswith("scumble."):
            assert health_of(gateway, service) in (SERVING, NOT_SERVING), service


def test_stopping_sends_watchers_away_to_come_back(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        job = create(gateway, text_to_image("slow: slate"))
        watch = gateway.generation.WatchJob(messages.WatchJobRequest(job_id=job.job_id))
        health = health_pb2_grpc.HealthStub(gateway.channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).event.number > 0
        assert next(health).status == SERVING
        # `run` waits for less: streams do not hold the server up.
        gateway.run(gateway.server.stop(grace_seconds=10 * SECONDS))
        for stream in (watch, health):
            refusal = refusal_of(lambda stream=stream: stream)
            assert (refusal.code, refusal.retry) == (grpc.StatusCode.UNAVAILABLE, True)
