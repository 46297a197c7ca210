"""A server that drops calls as a test says: for what a client must survive."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import (
    generation_service_pb2_grpc,
    job_pb2,
    server_service_pb2,
    server_service_pb2_grpc,
)


class FlakyServer(
    generation_service_pb2_grpc.GenerationServiceServicer,
    server_service_pb2_grpc.ServerServiceServicer,
):
    """version: what it says it is. refusals: how many CreateJob calls fail first. Every watch ends after one event.
    tells_job: the last event brings the job along.

    `created` and `watched` record the request_ids and after_event_numbers that came, `asked` counts GetJob.
    """

    def __init__(self, version: str = "0.1.0", refusals: int = 0, tells_job: bool = False) -> None:
        self.version = version
        self.refusals = refusals
        self.tells_job = tells_job
        self.asked = 0
        self.created: list[str] = []
        self.watched: list[int] = []
        self.address = ""

    def GetServerInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return server_service_pb2.GetServerInfoResponse(version=self.version)

    def CreateJob(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.created.append(request.request_id)
        if len(self.created) <= self.refusals:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
        return messages.CreateJobResponse(job=job_pb2.Job(job_id="job"))

    def GetJob(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.asked += 1
        state = job_pb2.JOB_STATE_SUCCEEDED if 3 in self.watched else job_pb2.JOB_STATE_RUNNING
        return messages.GetJobResponse(job=job_pb2.Job(job_id="job", state=state))

    def WatchJob(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        number = request.after_event_number + 1
        self.watched.append(request.after_event_number)
        event = job_pb2.JobEvent(number=number)
        if number < 4:
            event.progress.step = number
        else:
            event.state = job_pb2.JOB_STATE_SUCCEEDED
        response = messages.WatchJobResponse(event=event)
        if self.tells_job and number == 4:
            response.job.CopyFrom(job_pb2.Job(job_id="job", state=job_pb2.JOB_STATE_SUCCEEDED))
        yield response
        if number < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")


@contextmanager
def flaky_server(**script: Any) -> Iterator[FlakyServer]:
    """One, listening on a free port for the length of a block."""
    flaky = FlakyServer(**script)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    generation_service_pb2_grpc.add_GenerationServiceServicer_to_server(flaky, server)
    server_service_pb2_grpc.add_ServerServiceServicer_to_server(flaky, server)
    flaky.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield flaky
    finally:
        server.stop(0).wait()
