"""The one thin client of Scumble: grpcio and protobuf, nothing else; numpy is used where the host has it.

    import scumble.client as scumble

    with scumble.connect() as client:
        job = client.submit(scumble.TextToImage("mossy bricks", 512, 512, seamless="xy"))
        for event in job.watch():
            ...                                  # state, progress, preview; survives a reconnect
        for patch in job.result():
            patch.pixels, patch.seed, patch.recipe

Synchronous and thread-safe: hosts run it in a background thread.
"""

from scumble.client.client import Client, connect
from scumble.client.discovery import default_data_dir
from scumble.client.errors import (
    Cancelled,
    FailedPrecondition,
    ImageNotFound,
    InternalError,
    InvalidRequest,
    JobNotFound,
    LimitExceeded,
    ModelLoadFailed,
    ModelNotFound,
    NotAllowed,
    NotRunning,
    OutOfMemory,
    ScumbleError,
    Stalled,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    VersionMismatch,
    WorkerCrashed,
)
from scumble.client.jobs import Event, Job, JobStatus, Patch, Progress
from scumble.client.paste import paste
from scumble.client.pixels import Pixels
from scumble.client.requests import (
    ControlImage,
    ImageToImage,
    Inpaint,
    MaterialMaps,
    Outpaint,
    Project,
    ReferenceImage,
    Request,
    TextToImage,
    Texture,
    Upscale,
)
from scumble.client.values import (
    Adapter,
    AdapterKind,
    Bounds,
    CanvasIntent,
    CanvasOptions,
    CanvasPlan,
    ColorSpace,
    ControlKind,
    Extent,
    FillMode,
    JobState,
    Limits,
    MaterialMap,
    Model,
    ModelSizing,
    ModelState,
    Priority,
    SampleType,
    Scheduler,
    SeamlessAxes,
    ServerInfo,
    StructureStart,
    WorkerState,
)

__all__ = [
    "Adapter",
    "AdapterKind",
    "Bounds",
    "Cancelled",
    "CanvasIntent",
    "CanvasOptions",
    "CanvasPlan",
    "Client",
    "ColorSpace",
    "ControlImage",
    "ControlKind",
    "Event",
    "Extent",
    "FailedPrecondition",
    "FillMode",
    "ImageNotFound",
    "ImageToImage",
    "Inpaint",
    "InternalError",
    "InvalidRequest",
    "Job",
    "JobNotFound",
    "JobState",
    "JobStatus",
    "LimitExceeded",
    "Limits",
    "MaterialMap",
    "MaterialMaps",
    "Model",
    "ModelLoadFailed",
    "ModelNotFound",
    "ModelSizing",
    "ModelState",
    "NotAllowed",
    "NotRunning",
    "OutOfMemory",
    "Outpaint",
    "Patch",
    "Pixels",
    "Priority",
    "Progress",
    "Project",
    "ReferenceImage",
    "Request",
    "SampleType",
    "Scheduler",
    "ScumbleError",
    "SeamlessAxes",
    "ServerInfo",
    "Stalled",
    "StructureStart",
    "TextToImage",
    "Texture",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Upscale",
    "VersionMismatch",
    "WorkerCrashed",
    "WorkerState",
    "connect",
    "default_data_dir",
    "paste",
]
