"""Jobs and what happens to them, as values. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from core_server.canvas.geometry import Bounds, Extent
from core_server.canvas.pixels import ColorSpace
from core_server.canvas.plan import CanvasPlan
from core_server.pipelines.request import Request


class JobState(StrEnum):
    """`scumble.v1.JobState` in lower case."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state stays in it."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Priority(StrEnum):
    """`scumble.v1.Priority` in lower case. Counts among the jobs of one owner."""

    INTERACTIVE = "interactive"
    NORMAL = "normal"
    BATCH = "batch"


class ImageEncoding(StrEnum):
    """`scumble.v1.ImageEncoding` in lower case."""

    RAW = "raw"
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"
    EXR = "exr"


class ImageHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a stored image but its pixels. dtype: uint8, uint16, float16 or float32."""

    extent: Extent
    channels: int
    dtype: str
    color_space: ColorSpace
    icc_profile: bytes = b""
    encoding: ImageEncoding = ImageEncoding.RAW


class StoredImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image in the blob store. image_id: SHA-256 over header and payload, lower-case hex."""

    image_id: str
    header: ImageHeader


class JobFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job ended without a result; the fields of `errors.ScumbleServerError`."""

    reason: str
    message: str
    metadata: Mapping[str, str] = {}


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a running job is. remaining_seconds: None until it can be estimated."""

    step: int
    steps: int
    stage: str
    remaining_seconds: float | None = None


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """One picture of a finished job. recipe: JSON text."""

    index: int
    image: StoredImage
    seed: int
    recipe: str
    bounds: Bounds | None = None
    composite_mask: StoredImage | None = None
    plan: CanvasPlan | None = None
    map_name: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted request. owner: identity of the token that created it. client: what the program calls itself."""

    job_id: str
    request_id: str
    owner: str
    state: JobState
    request: Request
    create_time: float
    start_time: float | None = None
    end_time: float | None = None
    attempts: int = 0
    progress: JobProgress | None = None
    results: tuple[JobResult, ...] = ()
    failure: JobFailure | None = None
    last_event_number: int = 0
    priority: Priority = Priority.NORMAL
    client: str = ""


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened; exactly one of state, progress and preview is set.

    number: increases within a job, with gaps, also across a restart of the gateway.
    preview: an encoded PNG or raw uint8 RGB picture of at most 256 px a side, described by its header.
    """

    number: int
    time: float
    state: JobState | None = None
    progress: JobProgress | None = None
    preview: bytes | None = None
    preview_header: ImageHeader | None = None
    failure: JobFailure | None = None
    queue_position: int = 0
