"""Everything a call can fail with, in one tree.

ScumbleError                reason, metadata; the message is a sentence an artist can act on
├── NotRunning              no server answers; says how to start one
├── CannotStart             a server could not be started from here
├── Unauthenticated         no token, or a wrong one
├── NotAllowed              the token may not do that
├── InvalidRequest          field, allowed: something is missing or outside what is allowed; nothing was changed
├── JobNotFound             there is no such job (any more)
├── ImageNotFound           there is no such image (any more)
├── ModelNotFound           there is no such model
├── ModelLoadFailed         a model's files are missing, broken or of an unknown kind
├── OutOfMemory             the device has too little memory for it
├── Stalled                 the job made no progress for too long and was ended
├── WorkerCrashed           the worker process died, also on the second try
│   └── DeviceFault         because the graphics device reported an error
├── ContentBlocked          the server's content filter holds the picture back
├── Cancelled               the job was cancelled
├── LimitExceeded           a limit of the server; says which and how large
├── FailedPrecondition      the request does not fit the state of what it names
│   └── VersionMismatch     server and client are of versions that do not speak with each other
├── Unimplemented           the server cannot do that (yet)
├── Unavailable             the server is starting, stopping or gone for the moment; trying again is safe
└── InternalError           a mistake of Scumble's; the server's log has more

`reason` is the name of a `scumble.v1.ErrorReason` without its prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class ScumbleError(Exception):
    """Base of the tree. `metadata` holds details by name; all keys and values are strings."""

    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self, message: str, reason: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata: dict[str, str] = dict(metadata or {})

    def __reduce__(self) -> tuple[type[ScumbleError], tuple[str, str, dict[str, str]]]:
        return type(self), (self.message, self.reason, self.metadata)


class NotRunning(ScumbleError):
    """No server answers at the address."""

    default_reason = "UNAVAILABLE"


class CannotStart(ScumbleError):
    """A server could not be started from here."""


class Unauthenticated(ScumbleError):
    """No token, or a wrong one."""

    default_reason = "UNAUTHENTICATED"


class NotAllowed(ScumbleError):
    """The token is right and may not do that."""

    default_reason = "PERMISSION_DENIED"


class InvalidRequest(ScumbleError):
    """A field is missing or outside what is allowed."""

    default_reason = "INVALID_REQUEST"

    @property
    def field(self) -> str:
        """Path of the field, such as "inpaint.strength"; "" if it is about more than one."""
        return self.metadata.get("field", "")

    @property
    def allowed(self) -> str:
        """What the field may be, for people; "" if the message says it all."""
        return self.metadata.get("allowed", "")

    @classmethod
    def about(cls, field: str, message: str, allowed: str = "") -> InvalidRequest:
        """The error for one field."""
        return cls(message, metadata={"field": field, "allowed": allowed})


class JobNotFound(ScumbleError):
    """There is no such job (any more)."""

    default_reason = "JOB_NOT_FOUND"


class ImageNotFound(ScumbleError):
    """There is no such image (any more)."""

    default_reason = "IMAGE_NOT_FOUND"


class ModelNotFound(ScumbleError):
    """There is no such model."""

    default_reason = "MODEL_NOT_FOUND"


class ModelLoadFailed(ScumbleError):
    """A model's files are missing, broken or of an unknown kind."""

    default_reason = "MODEL_LOAD_FAILED"


class OutOfMemory(ScumbleError):
    """The device has too little memory for the request."""

    default_reason = "OUT_OF_MEMORY"


class Stalled(ScumbleError):
    """The job made no progress for too long and was ended."""

    default_reason = "STALLED"


class WorkerCrashed(ScumbleError):
    """The worker process died, also on the second try."""

    default_reason = "WORKER_CRASHED"


class DeviceFault(WorkerCrashed):
    """The graphics device reported an error of its own, also on the second try."""

    default_reason = "DEVICE_FAULT"


class ContentBlocked(ScumbleError):
    """The server's content filter holds the picture back. metadata: rating and threshold, 0..1."""

    default_reason = "CONTENT_BLOCKED"


class Cancelled(ScumbleError):
    """The job was cancelled."""

    default_reason = "CANCELLED"


class LimitExceeded(ScumbleError):
    """A limit of the server was reached."""

    default_reason = "LIMIT_EXCEEDED"


class FailedPrecondition(ScumbleError):
    """The request does not fit the state of what it names."""

    default_reason = "FAILED_PRECONDITION"


class VersionMismatch(FailedPrecondition):
    """Server and client are of versions that do not speak with each other."""


class Unimplemented(ScumbleError):
    """The server cannot do that (yet)."""

    default_reason = "UNIMPLEMENTED"


class Unavailable(ScumbleError):
    """The server is starting, stopping or gone for the moment. Trying again is safe."""

    default_reason = "UNAVAILABLE"


class InternalError(ScumbleError):
    """A mistake of Scumble's; the server's log has more."""


_BY_REASON: dict[str, type[ScumbleError]] = {
    cls.default_reason: cls
    for cls in (
        Unauthenticated,
        NotAllowed,
        InvalidRequest,
        JobNotFound,
        ImageNotFound,
        ModelNotFound,
        ModelLoadFailed,
        OutOfMemory,
        Stalled,
        WorkerCrashed,
        DeviceFault,
        ContentBlocked,
        Cancelled,
        LimitExceeded,
        FailedPrecondition,
        Unimplemented,
        Unavailable,
        InternalError,
    )
}


def error_for(reason: str, message: str, metadata: Mapping[str, str]) -> ScumbleError:
    """The error a server's reason stands for; InternalError for reasons a newer server may have."""
    return _BY_REASON.get(reason, InternalError)(message, reason, metadata)
