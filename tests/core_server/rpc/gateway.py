"""A real gateway on a free port with a real worker process, on an event loop in a thread of its own.

Tests talk to it with plain blocking stubs, as a client in another process would.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from core_server.config import Limits, ServerConfig
from core_server.jobs.local_engine import LocalEngine
from core_server.jobs.service import JobService
from core_server.rpc.server import GatewayServer
from core_server.rpc.tokens import TokenBook
from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import job_pb2
from scumble.v1.generation_service_pb2_grpc import GenerationServiceStub
from scumble.v1.live_service_pb2_grpc import LiveServiceStub
from scumble.v1.model_service_pb2_grpc import ModelServiceStub
from scumble.v1.server_service_pb2_grpc import ServerServiceStub
from scumble.v1.training_service_pb2_grpc import TrainingServiceStub

TOKEN = "a-token-for-tests-of-43-visible-characters-"
FAKE_RUNTIME = "tests.fakes.runtime:create"
SECONDS = 60
"""How long anything may take on a busy machine."""


@dataclass
class Gateway:
    """What a test needs to talk to the server."""

    address: str
    config: ServerConfig
    jobs: JobService
    server: GatewayServer
    channel: grpc.Channel
    loop: asyncio.AbstractEventLoop

    def __post_init__(self) -> None:
        self.generation = GenerationServiceStub(self.channel)
        self.live = LiveServiceStub(self.channel)
        self.models = ModelServiceStub(self.channel)
        self.about = ServerServiceStub(self.channel)
        self.training = TrainingServiceStub(self.channel)

    def run(self, coroutine: Any) -> Any:
        """Runs something on the server's own loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SECONDS)


def until(holds: Callable[[], bool]) -> None:
    """Waits for a state."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Gate:
    """Work with the prompt "gated" waits at it until it is opened."""

    def __init__(self, gateway: Gateway) -> None:
        self._closed, self._painting = (
            gateway.config.data_dir / name for name in ("closed", "painting")
        )
        self._painting.unlink(missing_ok=True)
        self._closed.touch()

    def wait(self) -> None:
        """Until something waits there."""
        until(self._painting.exists)

    def open(self) -> None:
        self._closed.unlink()


class Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds metadata and a deadline to every call."""

    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = metadata

    def _call(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        details = details._replace(
            metadata=[*(details.metadata or ()), *self._metadata],
            timeout=details.timeout or SECONDS,
        )
        return continuation(details, request)

    intercept_unary_unary = _call
    intercept_unary_stream = _call
    intercept_stream_unary = _call
    intercept_stream_stream = _call


def connect(address: str, token: str = TOKEN) -> grpc.Channel:
    """A channel that carries a token."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    return grpc.intercept_channel(grpc.insecure_channel(address), Bearer(metadata))


@contextmanager
def running_gateway(
    data_dir: Path,
    *,
    limits: Limits | None = None,
    runtime: str = FAKE_RUNTIME,
    make_jobs: Callable[[ServerConfig], Any] | None = None,
    **more: Any,
) -> Iterator[Gateway]:
    """Starts and stops one. `make_jobs` replaces the job service and its engine; more: of the configuration."""
    config = ServerConfig(
        data_dir=data_dir,
        port=0,
        model="tiny",
        device="cpu",
        runtime_factory=runtime,
        limits=limits or Limits(),
        **more,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gateway", daemon=True)
    thread.start()

    async def start() -> tuple[JobService, GatewayServer]:
        jobs = (
            make_jobs(config)
            if make_jobs
            else JobService(data_dir, LocalEngine(config), config.limits)
        )
        (data_dir / "token").write_text(TOKEN)
        server = GatewayServer(config, jobs, TokenBook(data_dir))
        await jobs.start()
        await server.start()
        return jobs, server

    async def stop() -> None:
        await server.stop(grace_seconds=0.2)
        await jobs.stop()

    try:
        jobs, server = asyncio.run_coroutine_threadsafe(start(), loop).result(SECONDS)
        with connect(server.address) as channel:
            yield Gateway(server.address, config, jobs, server, channel, loop)
        asyncio.run_coroutine_threadsafe(stop(), loop).result(SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


def cancel_all(gateway: Gateway) -> None:
    """What a test left behind, perhaps because it failed, is not in the way of the next."""
    states = [job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_RUNNING]
    left = gateway.generation.ListJobs(messages.ListJobsRequest(states=states, page_size=1000)).jobs
    for job in reversed(left):
        gateway.generation.CancelJob(messages.CancelJobRequest(job_id=job.job_id))


@dataclass(frozen=True)
class Refusal:
    """What a failed call said."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    fields: tuple[str, ...]
    retry: bool


def refusal_of(call: Callable[[], Any]) -> Refusal:
    """Runs `call`, which must fail, to the end of its stream if it is one."""
    try:
        result = call()
        if hasattr(result, "__next__"):
            list(result)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        if status is None:
            return Refusal(error.code(), error.details(), "", {}, (), False)
        return refusal_from(status)
    raise AssertionError(f"the call was answered with {result!r}")


def refusal_from(status: status_pb2.Status) -> Refusal:
    """Unpacks the details."""
    code = next(it for it in grpc.StatusCode if it.value[0] == status.code)
    reason, metadata, fields, retry = "", {}, (), False
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(info):
            assert info.domain == "scumble"
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            fields = tuple(violation.field for violation in bad.field_violations)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = True
    return Refusal(code, status.message, reason, metadata, fields, retry)
