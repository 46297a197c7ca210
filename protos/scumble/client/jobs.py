"""A job as the client sees it: its events, its result, its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scumble.client.connection import Connection
from scumble.client.convert import (
    bounds_from_message,
    enum_from_message,
    pixels_from_message,
    plan_from_message,
    time_from_message,
)
from scumble.client.errors import (
    Cancelled,
    ImageNotFound,
    InternalError,
    NotRunning,
    ScumbleError,
    Unavailable,
    error_for,
)
from scumble.client.pixels import Pixels
from scumble.client.values import Bounds, CanvasPlan, JobState, MaterialMap, Priority
from scumble.v1 import generation_pb2, generation_service_pb2, image_pb2, job_pb2

STREAM_SECONDS = 60.0
"""Deadline of one WatchJob call; a watch goes on in the next one. Finds dead connections without keep-alive pings."""

INLINE_BYTES = 1024 * 1024
"""Pictures of together at most this size come with a job's last event."""

GIVE_UP_SECONDS = 60.0
"""How long `watch` looks for a server that has gone away."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is. step of steps: over all variations. remaining_seconds: None until known."""

    step: int
    steps: int
    stage: str
    remaining_seconds: float | None

    @property
    def fraction(self) -> float:
        """0..1; 0 while the number of steps is unknown."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something that happened to a job: exactly one of state, progress and preview is set.

    number: increases within a job, with gaps. preview: a rough look, at most 256 px a side. error: set with FAILED
    and CANCELLED. queue_position: jobs ahead, with QUEUED.
    """

    number: int
    state: JobState | None = None
    progress: Progress | None = None
    preview: Pixels | None = None
    error: ScumbleError | None = None
    queue_position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """Where a job stands. task: name as in `scumble.v1.Generation`. Times are aware UTC. error: why it ended without
    a result. seeds: of its pictures, once there are any. client: the program it came from."""

    job_id: str
    state: JobState
    task: str
    prompt: str
    progress: Progress | None
    error: ScumbleError | None
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    attempts: int
    seeds: tuple[int, ...]
    last_event_number: int
    priority: Priority = Priority.NORMAL
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patch:
    """One picture of a result.

    pixels: in the sample type and colour space of the input. bounds: the exact rectangle it belongs to, document px,
    and composite_mask: one channel, same size, write nothing where it is 0; both None where there is no document.
    recipe: what was really done; repeating it repeats the picture. map_name: "" or a `MaterialMap`.
    """

    pixels: Pixels
    seed: int
    recipe: dict[str, Any]
    index: int = 0
    bounds: Bounds | None = None
    composite_mask: Pixels | None = None
    map_name: str = ""
    plan: CanvasPlan | None = None


class Job:
    """A job on the server. Made by `Client.submit` and `Client.job`; thread-safe; costs nothing to keep."""

    def __init__(
        self,
        connection: Connection,
        job_id: str,
        download: Callable[[str], Pixels],
        seen: int | None = None,
    ) -> None:
        """seen: number of the last event that is known; None: nothing is known."""
        self.id = job_id
        self._connection = connection
        self._download = download
        self._seen = seen
        self._ended: generation_service_pb2.WatchJobResponse | None = None

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def status(self) -> JobStatus:
        """Where it stands now. Raises JobNotFound."""
        return status_from_message(self._get())

    def watch(self, after: int = 0) -> Iterator[Event]:
        """Its events with a number above `after`, to the final state. Reconnects and goes on by itself.

        Raises JobNotFound, and Unavailable after a minute without a server. A failed job raises nothing here: its last
        event has the error.
        """
        return self._events(after, None)

    def result(self, timeout: float | None = None) -> list[Patch]:
        """Waits for the end and fetches the pictures. Raises the job's error; Unavailable after `timeout` seconds."""
        message, images = self._wait(timeout)
        status = status_from_message(message)
        if status.error is not None:
            raise status.error
        if not message.results:
            raise ImageNotFound(
                f"The pictures of job {self.id} have expired: the server keeps results under a limit of size and age."
            )
        return [self._patch(result, images) for result in message.results]

    def cancel(self) -> None:
        """Asks for its end, which comes within one denoising step. Changes nothing once it has finished."""
        request = generation_service_pb2.CancelJobRequest(job_id=self.id)
        self._connection.call(self._connection.generation.CancelJob, request, retry=True)

    def delete(self) -> None:
        """Forgets the finished job and its pictures. Raises FailedPrecondition while it is queued or running."""
        request = generation_service_pb2.DeleteJobRequest(job_id=self.id)
        self._connection.call(self._connection.generation.DeleteJob, request)

    def _events(self, after: int, deadline: float | None) -> Iterator[Event]:
        """Like `watch`; ends without a final event once `deadline` (monotonic) has passed."""
        lost_since: float | None = None
        delay = 0.0
        while deadline is None or time.monotonic() < deadline:
            seconds = STREAM_SECONDS
            if deadline is not None:
                seconds = max(0.0, min(seconds, deadline - time.monotonic()))
            try:
                for event in self._stream(after, seconds):
                    lost_since, delay, after = None, 0.0, event.number
                    yield event
                    if event.state is not None and event.state.is_final:
                        return
                # It ended in good order: the server is stopping, or there is nothing left to tell.
                job = self._get()
                if _state(job.state).is_final and job.last_event_number <= after:
                    return
            except (NotRunning, Unavailable) as error:
                # A quiet job and a lost server look alike here: both end in a deadline.
                if self._reachable():
                    lost_since = None
                else:
                    now = time.monotonic()
                    lost_since = lost_since or now
                    if now - lost_since > GIVE_UP_SECONDS:
                        raise Unavailable(
                            f"The server at {self._connection.location.address} went away while job {self.id} was "
                            "watched. Start it again with `scumble serve`: the job is kept and goes on."
                        ) from error
            self._connection.pause(delay)
            delay = min(5.0, delay * 2 or 0.1)

    def _stream(self, after: int, seconds: float) -> Iterator[Event]:
        """The events of one WatchJob call."""
        with self._connection.stream(
            self._connection.generation.WatchJob,
            generation_service_pb2.WatchJobRequest(
                job_id=self.id, after_event_number=after, inline_bytes=INLINE_BYTES
            ),
            generation_service_pb2.WatchJobResponse,
            seconds,
        ) as responses:
            for response in responses:
                event = event_from_message(response.event)
                if event.state is not None and event.state.is_final:
                    self._ended = response if response.HasField("job") else None
                    self._seen = None
                yield event

    def _reachable(self) -> bool:
        try:
            self._get(retry=False)
        except (NotRunning, Unavailable):
            return False
        return True

    def _get(self, retry: bool = True) -> job_pb2.Job:
        request = generation_service_pb2.GetJobRequest(job_id=self.id)
        return self._connection.call(self._connection.generation.GetJob, request, retry=retry).job

    def _wait(self, timeout: float | None) -> tuple[job_pb2.Job, Mapping[str, image_pb2.ImageData]]:
        """The finished job, and those of its pictures that came along, by image_id."""
        deadline = None if timeout is None else time.monotonic() + timeout
        seen = self._seen
        if seen is None and self._ended is None:
            message = self._get()
            if _state(message.state).is_final:
                return message, {}
            seen = message.last_event_number
        if self._ended is None:
            for _ in self._events(seen or 0, deadline):
                pass
        # The watch brought it along. Who asks once more is to hear how it is then.
        ended, self._ended, self._seen = self._ended, None, None
        if ended is not None:
            return ended.job, ended.images
        message = self._get()
        if not _state(message.state).is_final:
            raise Unavailable(f"Job {self.id} was not finished after {timeout:g} s; it goes on.")
        return message, {}

    def _patch(self, result: job_pb2.JobResult, images: Mapping[str, image_pb2.ImageData]) -> Patch:
        def pixels(image_id: str) -> Pixels:
            if image_id not in images:
                return self._download(image_id)
            return pixels_from_message(images[image_id].header, images[image_id].payload)

        mask_id = result.composite_mask_id
        try:
            recipe = json.loads(result.recipe) if result.recipe else {}
        except ValueError as error:
            raise InternalError("The server sent a recipe that is no JSON.") from error
        return Patch(
            pixels=pixels(result.image_id),
            seed=result.seed,
            recipe=recipe,
            index=result.index,
            bounds=bounds_from_message(result.bounds) if result.HasField("bounds") else None,
            composite_mask=pixels(mask_id) if mask_id else None,
            map_name=_map_name(result.map),
            plan=plan_from_message(result.plan) if result.HasField("plan") else None,
        )


def _state(number: int) -> JobState:
    return enum_from_message(job_pb2.JobState, "JOB_STATE", number, JobState, JobState.QUEUED)


def _map_name(number: int) -> str:
    known = number and number in generation_pb2.MaterialMap.values()
    return (
        enum_from_message(
            generation_pb2.MaterialMap, "MATERIAL_MAP", number, MaterialMap, MaterialMap.BASE_COLOR
        ).value
        if known
        else ""
    )


def _error(message: job_pb2.JobError, state: JobState | None) -> ScumbleError | None:
    if state not in (JobState.FAILED, JobState.CANCELLED):
        return None
    if message.reason in job_pb2.ErrorReason.values() and message.reason:
        reason = job_pb2.ErrorReason.Name(message.reason).removeprefix("ERROR_REASON_")
        return error_for(reason, message.message, dict(message.metadata))
    if state is JobState.CANCELLED:
        return Cancelled("The job was cancelled.")
    return InternalError(message.message or "The job failed; the server's log has more.")


def progress_from_message(message: job_pb2.Progress) -> Progress:
    """How far it is."""
    remaining = (
        message.remaining.seconds + message.remaining.nanos / 1e9
        if message.HasField("remaining")
        else None
    )
    return Progress(message.step, message.steps, message.stage, remaining)


def event_from_message(message: job_pb2.JobEvent) -> Event:
    """What happened."""
    kind = message.WhichOneof("event")
    state = _state(message.state) if kind == "state" else None
    return Event(
        number=message.number,
        state=state,
        progress=progress_from_message(message.progress) if kind == "progress" else None,
        preview=_preview(message.preview) if kind == "preview" else None,
        error=_error(message.error, state),
        queue_position=message.queue_position,
    )


def _preview(message: image_pb2.ImageData) -> Pixels:
    return pixels_from_message(message.header, message.payload)


def status_from_message(message: job_pb2.Job) -> JobStatus:
    """Where it stands."""
    state = _state(message.state)
    return JobStatus(
        job_id=message.job_id,
        state=state,
        task=message.generation.WhichOneof("task") or "",
        prompt=message.generation.parameters.prompt,
        progress=progress_from_message(message.progress) if message.HasField("progress") else None,
        error=_error(message.error, state),
        create_time=time_from_message(message, "create_time"),
        start_time=time_from_message(message, "start_time"),
        end_time=time_from_message(message, "end_time"),
        attempts=message.attempts,
        seeds=tuple(result.seed for result in message.results),
        last_event_number=message.last_event_number,
        priority=enum_from_message(
            job_pb2.Priority, "PRIORITY", message.priority, Priority, Priority.NORMAL
        ),
        client=message.client,
    )
