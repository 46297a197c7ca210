"""Jobs and their events, on their way to clients."""

from __future__ import annotations

import pytest

from core_server.canvas.geometry import Extent
from core_server.jobs.job import (
    Job,
    JobEvent,
    JobFailure,
    JobProgress,
    JobState,
)
from core_server.pipelines.request import (
    Parameters,
    TextToImage,
)
from core_server.rpc.convert.job import to_proto_event, to_proto_job
from scumble.v1 import job_pb2


def job(**values: object) -> Job:
    request = TextToImage(parameters=Parameters(prompt="slate"), extent=Extent(8, 8))
    known = {
        "job_id": "j",
        "request_id": "r",
        "owner": "o",
        "state": JobState.QUEUED,
        "request": request,
        "create_time": 1_700_000_000.25,
    }
    return Job(**(known | values))


def test_a_job_that_has_not_begun_has_no_times() -> None:
    message = to_proto_job(job())
    assert message.create_time.ToMicroseconds() == 1_700_000_000_250_000
    unset = ("start_time", "end_time", "progress", "error")
    assert not any(message.HasField(name) for name in unset)


def test_a_failed_job_says_why() -> None:
    failure = JobFailure(reason="OUT_OF_MEMORY", message="Too large.", metadata={"model": "m"})
    message = to_proto_job(
        job(state=JobState.FAILED, start_time=1.0, end_time=2.5, attempts=2, failure=failure)
    )
    assert message.error.reason == job_pb2.ERROR_REASON_OUT_OF_MEMORY
    assert dict(message.error.metadata) == {"model": "m"}
    assert message.end_time.ToSeconds() == 2


@pytest.mark.parametrize("seconds", [None, 0.0, 3.698227, 1e6])
def test_remaining_time(seconds: float | None) -> None:
    progress = JobProgress(step=1, steps=4, stage="Painting", remaining_seconds=seconds)
    message = to_proto_event(JobEvent(number=7, time=1.0, progress=progress))
    assert message.WhichOneof("event") == "progress"
    assert message.progress.HasField("remaining") == (seconds is not None)
    if seconds is not None:
        assert message.progress.remaining.ToMicroseconds() == round(seconds * 1e6)
