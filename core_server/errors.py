"""Everything that can go wrong on the server, in one tree.

ScumbleServerError                reason, metadata; the message is a sentence an artist can act on
├── InvalidRequest                a field is missing or outside what is allowed; nothing was changed
├── Unauthenticated               no token, or a wrong one
├── NotAllowed                    the token may not do that
├── NotFound
│   ├── JobNotFound
│   ├── ImageNotFound
│   └── ModelNotFound
│       └── SourceNotFound        what was to be installed or removed is not there
├── LimitExceeded                 a limit of this server; says which and how large
├── FailedPrecondition            the request does not fit the state of what it names
├── NotImplementedHere            part of the contract, not of this version
├── Unavailable                   starting or stopping; try again
├── TaskFailed                    a job ended without a result
│   ├── TaskCancelled             because somebody asked for it
│   ├── OutOfMemory               the device has too little memory for it
│   ├── ModelLoadFailed           the model's files are missing, broken or of an unknown kind
│   ├── Stalled                   no sign of progress for too long
│   ├── ContentBlocked            the content filter holds the picture back
│   └── WorkerCrashed             the worker process died
│       └── DeviceFault           because its device reported an error that no process survives
└── StartupError                  the server cannot start
    ├── AddressInUse              another program, or another Scumble, listens there
    ├── InsecureAddress           a non-loopback address without TLS
    └── DataDirInUse              another Scumble owns the data folder

`reason` is the name of a `scumble.v1.ErrorReason` without its prefix. Status codes are chosen in `rpc.status` alone.
"""

from __future__ import annotations

from typing import ClassVar


def on_one_line(error: BaseException, most: int = 300) -> str:
    """What a library's error says, as part of a sentence or a line of the log: at most so many characters."""
    return " ".join(str(error).split())[:most]


class ScumbleServerError(Exception):
    """Base of the tree. `metadata` holds details by name; all keys and values are strings."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = metadata


class InvalidRequest(ScumbleServerError):
    """A field is missing or outside what is allowed. `field` is a path like "inpaint.strength"."""

    reason = "INVALID_REQUEST"

    def __init__(self, field: str, message: str, *, allowed: str = "") -> None:
        super().__init__(message, field=field, allowed=allowed)
        self.field = field
        self.allowed = allowed


class Unauthenticated(ScumbleServerError):
    """The call carries no token, or a wrong one."""

    reason = "UNAUTHENTICATED"


class NotAllowed(ScumbleServerError):
    """The token is one of ours and lacks the scope for this call."""

    reason = "PERMISSION_DENIED"


class NotFound(ScumbleServerError):
    """Something named in the request does not exist (any more)."""


class JobNotFound(NotFound):
    reason = "JOB_NOT_FOUND"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"There is no job {job_id!r}; it may have been deleted or expired. List jobs to see what is there."
        )


class ImageNotFound(NotFound):
    reason = "IMAGE_NOT_FOUND"

    def __init__(self, image_id: str) -> None:
        super().__init__(
            f"There is no image {image_id!r} on this server (any more). Upload it again."
        )


class ModelNotFound(NotFound):
    reason = "MODEL_NOT_FOUND"

    def __init__(self, model: str, known: tuple[str, ...] = ()) -> None:
        there = f" Installed: {', '.join(known)}." if known else ""
        super().__init__(
            f"There is no model {model!r} here.{there} "
            "Give an installed id, a diffusers folder or a .safetensors file.",
            model=model,
            known=", ".join(known),
        )


class SourceNotFound(ModelNotFound):
    """What was to be installed or removed is not there."""

    def __init__(self, message: str) -> None:
        ScumbleServerError.__init__(self, message)


class LimitExceeded(ScumbleServerError):
    reason = "LIMIT_EXCEEDED"


class FailedPrecondition(ScumbleServerError):
    reason = "FAILED_PRECONDITION"


class NotImplementedHere(ScumbleServerError):
    reason = "UNIMPLEMENTED"


class Unavailable(ScumbleServerError):
    reason = "UNAVAILABLE"


class TaskFailed(ScumbleServerError):
    """A job ended without a result."""


class TaskCancelled(TaskFailed):
    reason = "CANCELLED"

    def __init__(self) -> None:
        super().__init__("The job was cancelled.")


class OutOfMemory(TaskFailed):
    reason = "OUT_OF_MEMORY"


class ModelLoadFailed(TaskFailed):
    reason = "MODEL_LOAD_FAILED"


class Stalled(TaskFailed):
    """Ended by the watchdog; it is not tried again, since it would hang again."""

    reason = "STALLED"


class ContentBlocked(TaskFailed):
    """The content filter, which this server's configuration switched on, holds a picture back."""

    reason = "CONTENT_BLOCKED"


class WorkerCrashed(TaskFailed):
    reason = "WORKER_CRASHED"


class DeviceFault(WorkerCrashed):
    """The worker's device answers no more (an illegal access, a failed assertion); a new process may do better."""

    reason = "DEVICE_FAULT"


class StartupError(ScumbleServerError):
    """The server cannot start."""


class AddressInUse(StartupError):
    """Another program listens on the address."""


class InsecureAddress(StartupError):
    """The address can be reached from other machines and there is no TLS."""


class DataDirInUse(StartupError):
    """Another server owns the data folder."""
