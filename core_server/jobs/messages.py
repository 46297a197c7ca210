"""What gateway and worker say to each other: msgpack values over two one-way pipes. Pixels travel beside them."""

from __future__ import annotations

import msgspec

from core_server.canvas.geometry import Bounds
from core_server.canvas.pixels import ColorSpace
from core_server.canvas.plan import CanvasPlan
from core_server.errors import InvalidRequest, ScumbleServerError, TaskFailed
from core_server.jobs.filed import FiledPixels
from core_server.jobs.job import JobFailure
from core_server.pipelines.live_frame import LiveFrame, LiveTold
from core_server.pipelines.request import Request
from core_server.pipelines.task import RuntimeInfo

DEVICE_FAULT_STATUS = 86
"""Exit status of a worker whose device has failed."""


class PlacedPixels(msgspec.Struct, frozen=True, kw_only=True):
    """Pixels inside a shared segment. shape: (height, width, channels); offset in bytes."""

    offset: int
    shape: tuple[int, int, int]
    dtype: str
    color_space: ColorSpace
    icc_profile: bytes = b""


class PlacedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A `TaskOutput` whose pixels lie in the segment. recipe: JSON."""

    pixels: PlacedPixels
    seed: int
    recipe: bytes
    bounds: Bounds | None
    composite_mask: PlacedPixels | None
    plan: CanvasPlan | None
    map_name: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What one job asks for."""

    job_id: str
    request: Request


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """Do these. segment: where the images lie, "" if there are none. files: those that are still
    in their files. pictures: how many may be painted at once."""

    asked: tuple[Asked, ...]
    segment: str
    images: dict[str, PlacedPixels]
    files: dict[str, FiledPixels] = {}
    pictures: int = 1


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """End this job at its next step."""

    job_id: str


class Grant(msgspec.Struct, frozen=True, kw_only=True, tag="grant"):
    """The segment asked for with `Need`, or why there is none. made: as in `Paint`."""

    segment: str
    refusal: str = ""
    made: int = 0


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Load a model."""

    model: str


class Unload(msgspec.Struct, frozen=True, kw_only=True, tag="unload"):
    """Give a model's memory back. Answered by `Loaded` as `Load` is."""

    model: str


class Paint(msgspec.Struct, frozen=True, kw_only=True, tag="paint"):
    """Paint a frame of a live session. segment: where the canvas lies; output: where the picture goes, as large.

    made: how many segments the gateway has made so far; while that stays, their names mean the same memory.
    """

    job_id: str
    frame: LiveFrame
    segment: str
    canvas: PlacedPixels
    output: str
    made: int


ToWorker = Run | Cancel | Grant | Load | Unload | Paint


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The runtime is there. message: "" or what is wrong with the default model."""

    info: RuntimeInfo
    message: str = ""


class StartFailed(msgspec.Struct, frozen=True, kw_only=True, tag="start_failed"):
    """There will be no runtime; the worker ends."""

    failure: JobFailure


class Began(msgspec.Struct, frozen=True, kw_only=True, tag="began"):
    """The worker has taken this job up: whatever happens to the worker from now on may be its doing."""

    job_id: str


class Step(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """A `StepProgress`. preview: rows of uint8 RGB, preview_shape its (height, width, 3)."""

    job_id: str
    step: int
    steps: int
    stage: str
    preview: bytes | None = None
    preview_shape: tuple[int, int, int] | None = None


class Need(msgspec.Struct, frozen=True, kw_only=True, tag="need"):
    """The job is done, the device with it, and its pixels need a segment of so many bytes."""

    job_id: str
    size: int


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The outputs lie in the granted segment."""

    job_id: str
    outputs: list[PlacedOutput]
    info: RuntimeInfo | None


class Painted(msgspec.Struct, frozen=True, kw_only=True, tag="painted"):
    """The frame's picture lies in its output segment. info: None where no model was loaded for it. ahead: whether the
    next frame may come before this one's picture."""

    job_id: str
    pixels: PlacedPixels
    told: LiveTold
    info: RuntimeInfo | None = None
    ahead: bool = False


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The job ended without outputs."""

    job_id: str
    failure: JobFailure
    info: RuntimeInfo | None = None


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag="loaded"):
    """Answer to `Load` and `Unload`, in order. failure: None if it worked."""

    info: RuntimeInfo | None
    failure: JobFailure | None = None


class Rested(msgspec.Struct, frozen=True, kw_only=True, tag="rested"):
    """After a while without work every model has left the memory. Answers nothing."""

    info: RuntimeInfo


FromWorker = Ready | StartFailed | Began | Step | Need | Done | Painted | Failed | Loaded | Rested

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    """One message as bytes."""
    return _encoder.encode(message)


def decode_to_worker(data: bytes) -> ToWorker:
    """What the gateway sent."""
    return _to_worker.decode(data)


def decode_from_worker(data: bytes) -> FromWorker:
    """What the worker sent."""
    return _from_worker.decode(data)


def failure_of(error: BaseException) -> JobFailure:
    """The failure that tells of an error. Errors outside our tree become INTERNAL with their type's name."""
    if isinstance(error, ScumbleServerError):
        return JobFailure(reason=error.reason, message=error.message, metadata=error.metadata)
    if isinstance(error, MemoryError):
        return JobFailure(
            reason="OUT_OF_MEMORY",
            message="The machine has too little free memory for this; make the picture smaller or close programs.",
        )
    return JobFailure(
        reason="INTERNAL",
        message=f"The server made a mistake ({type(error).__name__}: {error}). Its log has more.",
        metadata={"type": type(error).__name__},
    )


def error_of(failure: JobFailure) -> ScumbleServerError:
    """The error that a failure told of, so that it can be raised again in another process."""
    kind = _KINDS.get(failure.reason, TaskFailed)
    error = kind.__new__(kind)
    ScumbleServerError.__init__(error, failure.message, **failure.metadata)
    if isinstance(error, InvalidRequest):
        error.field = failure.metadata.get("field", "")
        error.allowed = failure.metadata.get("allowed", "")
    return error


def _tree(kind: type[ScumbleServerError]) -> list[type[ScumbleServerError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _tree(child))]


_KINDS = {kind.reason: kind for kind in _tree(ScumbleServerError) if "reason" in vars(kind)}
_KINDS["INTERNAL"] = TaskFailed
