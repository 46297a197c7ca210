"""Jobs, their events and their results."""

from __future__ import annotations

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from core_server.jobs.job import (
    ImageHeader,
    Job,
    JobEvent,
    JobFailure,
    JobProgress,
    JobResult,
    JobState,
    Priority,
)
from core_server.rpc.convert.canvas import to_proto_bounds, to_proto_plan
from core_server.rpc.convert.fields import EnumTable
from core_server.rpc.convert.generation import map_number, to_proto_generation
from core_server.rpc.convert.image import to_proto_header, to_proto_image
from scumble.v1 import image_pb2, job_pb2

JOB_STATES = EnumTable(job_pb2.JobState, "JOB_STATE_", JobState)
PRIORITIES = EnumTable(job_pb2.Priority, "PRIORITY_", Priority, unspecified=Priority.NORMAL)
MICROSECONDS = 1_000_000
MAX_LISTED_ICC_BYTES = 64 * 1024


def to_proto_time(seconds: float) -> Timestamp:
    """Seconds since the epoch, to the microsecond."""
    message = Timestamp()
    message.FromMicroseconds(round(seconds * MICROSECONDS))
    return message


def to_proto_job(job: Job) -> job_pb2.Job:
    """The job as its owner sees it."""
    message = job_pb2.Job(
        job_id=job.job_id,
        request_id=job.request_id,
        state=JOB_STATES.to_proto(job.state),
        generation=to_proto_generation(job.request),
        create_time=to_proto_time(job.create_time),
        attempts=job.attempts,
        results=[_to_proto_result(result) for result in job.results],
        last_event_number=job.last_event_number,
        priority=PRIORITIES.to_proto(job.priority),
        client=job.client,
    )
    if job.start_time is not None:
        message.start_time.CopyFrom(to_proto_time(job.start_time))
    if job.end_time is not None:
        message.end_time.CopyFrom(to_proto_time(job.end_time))
    if job.progress is not None:
        message.progress.CopyFrom(_to_proto_progress(job.progress))
    if job.failure is not None:
        message.error.CopyFrom(_to_proto_failure(job.failure))
    return message


def to_proto_event(event: JobEvent) -> job_pb2.JobEvent:
    """Exactly one of state, progress and preview."""
    message = job_pb2.JobEvent(
        number=event.number,
        time=to_proto_time(event.time),
        queue_position=event.queue_position,
    )
    if event.state is not None:
        message.state = JOB_STATES.to_proto(event.state)
    elif event.progress is not None:
        message.progress.CopyFrom(_to_proto_progress(event.progress))
    elif event.preview is not None and event.preview_header is not None:
        message.preview.CopyFrom(to_proto_image(event.preview_header, event.preview))
    if event.failure is not None:
        message.error.CopyFrom(_to_proto_failure(event.failure))
    return message


def _to_proto_progress(progress: JobProgress) -> job_pb2.Progress:
    message = job_pb2.Progress(step=progress.step, steps=progress.steps, stage=progress.stage)
    if progress.remaining_seconds is not None:
        remaining = Duration()
        remaining.FromMicroseconds(round(progress.remaining_seconds * MICROSECONDS))
        message.remaining.CopyFrom(remaining)
    return message


def _to_proto_failure(failure: JobFailure) -> job_pb2.JobError:
    return job_pb2.JobError(
        reason=job_pb2.ErrorReason.Value(f"ERROR_REASON_{failure.reason}"),
        message=failure.message,
        metadata=dict(failure.metadata),
    )


def _to_proto_result(result: JobResult) -> job_pb2.JobResult:
    message = job_pb2.JobResult(
        index=result.index,
        image_id=result.image.image_id,
        header=_to_proto_result_header(result.image.header),
        seed=result.seed,
        recipe=result.recipe,
        map=map_number(result.map_name),
    )
    if result.bounds is not None:
        message.bounds.CopyFrom(to_proto_bounds(result.bounds))
    if result.composite_mask is not None:
        message.composite_mask_id = result.composite_mask.image_id
        message.composite_mask_header.CopyFrom(to_proto_header(result.composite_mask.header))
    if result.plan is not None:
        message.plan.CopyFrom(to_proto_plan(result.plan))
    return message


def _to_proto_result_header(header: ImageHeader) -> image_pb2.ImageHeader:
    """Without a large profile: a job with many results would not fit into a message. DownloadImage has it."""
    if len(header.icc_profile) > MAX_LISTED_ICC_BYTES:
        header = msgspec.structs.replace(header, icc_profile=b"")
    return to_proto_header(header)
