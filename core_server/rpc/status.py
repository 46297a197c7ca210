"""From `core_server.errors` to what travels: a status code and a google.rpc.Status with its details."""

from __future__ import annotations

from typing import Any, Never

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from core_server import errors

DOMAIN = "scumble"
RETRY_SECONDS = 1
MAX_TEXT_BYTES = 600
"""Bytes of a sentence or detail: all of them share the 8 KiB that a receiver takes as metadata."""

CODES: dict[type[errors.ScumbleServerError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.LimitExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotImplementedHere: grpc.StatusCode.UNIMPLEMENTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.TaskCancelled: grpc.StatusCode.CANCELLED,
    errors.OutOfMemory: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ModelLoadFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Stalled: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ContentBlocked: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WorkerCrashed: grpc.StatusCode.INTERNAL,
}
"""Code of an error: that of the nearest class of its ancestry; INTERNAL where there is none."""

INTERNAL_SENTENCE = (
    "The server made a mistake while answering this call; its log has the details. "
    "The call may be tried again."
)


def status_code(error: errors.ScumbleServerError) -> grpc.StatusCode:
    """The code `error` travels under."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def to_status(error: errors.ScumbleServerError) -> status_pb2.Status:
    """ErrorInfo always; BadRequest for InvalidRequest; RetryInfo for Unavailable."""
    message = _short(error.message)
    metadata = {key: _short(value) for key, value in error.metadata.items() if value}
    details: list[Any] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    ]
    if isinstance(error, errors.InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_short(error.field), description=message
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.Unavailable):
        delay = duration_pb2.Duration(seconds=RETRY_SECONDS)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=status_code(error).value[0], message=message, details=[_packed(it) for it in details]
    )


async def abort_with(
    context: grpc.aio.ServicerContext[Any, Any], error: errors.ScumbleServerError
) -> Never:
    """Ends the call with `error`."""
    await context.abort_with_status(rpc_status.to_status(to_status(error)))


def _packed(detail: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _short(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= MAX_TEXT_BYTES:
        return encoded.decode()
    return encoded[: MAX_TEXT_BYTES - 3].decode(errors="ignore") + "…"
