"""From a failed call to an error of the tree: reads google.rpc.Status without needing googleapis-common-protos.

The three messages are described here, in a descriptor pool of their own: hosts share one protobuf among all add-ons,
and registering `google.rpc` in the default pool would clash with whoever brings the real package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from scumble.client.errors import (
    FailedPrecondition,
    InternalError,
    InvalidRequest,
    LimitExceeded,
    NotRunning,
    ScumbleError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    error_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DETAILS_KEY = "grpc-status-details-bin"
_FIELD = descriptor_pb2.FieldDescriptorProto


def _messages() -> dict[str, Callable[[], Any]]:
    """Classes for Status, ErrorInfo and BadRequest as google/rpc/{status,error_details}.proto define them."""
    file = descriptor_pb2.FileDescriptorProto(
        name="scumble/client/rpc_status.proto", package="google.rpc", syntax="proto3"
    )
    file.dependency.append("google/protobuf/any.proto")

    def message(parent: Any, name: str, *fields: tuple[str, str, bool]) -> Any:
        added = parent.add(name=name)
        for number, (field, kind, repeated) in enumerate(fields, start=1):
            added.field.add(
                name=field,
                number=number,
                label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
                type={"int32": _FIELD.TYPE_INT32, "string": _FIELD.TYPE_STRING}.get(
                    kind, _FIELD.TYPE_MESSAGE
                ),
                type_name=kind if kind.startswith(".") else None,
            )
        return added

    message(
        file.message_type,
        "Status",
        ("code", "int32", False),
        ("message", "string", False),
        ("details", ".google.protobuf.Any", True),
    )
    info = message(
        file.message_type,
        "ErrorInfo",
        ("reason", "string", False),
        ("domain", "string", False),
        ("metadata", ".google.rpc.ErrorInfo.MetadataEntry", True),
    )
    entry = message(
        info.nested_type, "MetadataEntry", ("key", "string", False), ("value", "string", False)
    )
    entry.options.map_entry = True
    bad_request = message(
        file.message_type,
        "BadRequest",
        ("field_violations", ".google.rpc.BadRequest.FieldViolation", True),
    )
    message(
        bad_request.nested_type,
        "FieldViolation",
        ("field", "string", False),
        ("description", "string", False),
    )
    pool = descriptor_pool.DescriptorPool()
    any_file = descriptor_pb2.FileDescriptorProto()
    any_pb2.DESCRIPTOR.CopyToProto(any_file)
    pool.Add(any_file)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.rpc.{name}"))
        for name in ("Status", "ErrorInfo", "BadRequest")
    }


_MESSAGES = _messages()


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[str, dict[str, str]] | None:
    """Reason and metadata of a rich error; None where the server sent none."""
    raw = next((value for key, value in metadata if key == _DETAILS_KEY), None)
    if not isinstance(raw, bytes):
        return None
    reason = ""
    found: dict[str, str] = {}
    try:
        status = _MESSAGES["Status"]()
        status.ParseFromString(raw)
        for detail in status.details:
            name = detail.type_url.rpartition(".")[2]
            if name not in ("ErrorInfo", "BadRequest"):
                continue
            parsed = _MESSAGES[name]()
            parsed.ParseFromString(detail.value)
            if name == "ErrorInfo":
                reason = parsed.reason.removeprefix("ERROR_REASON_")
                found |= dict(parsed.metadata)
            elif parsed.field_violations:
                found.setdefault("field", parsed.field_violations[0].field)
    except DecodeError:
        return None
    return (reason, found) if reason else None


_SENTENCES: dict[grpc.StatusCode, tuple[type[ScumbleError], str]] = {
    grpc.StatusCode.UNAVAILABLE: (
        NotRunning,
        "No Scumble server answers at {address}. Start one with `scumble serve`, or set SCUMBLE_SERVER.",
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        Unavailable,
        "The server at {address} did not answer in time. Try again.",
    ),
    grpc.StatusCode.UNAUTHENTICATED: (
        Unauthenticated,
        "The server at {address} refused the token. Set SCUMBLE_TOKEN to the contents of its token file.",
    ),
    grpc.StatusCode.UNIMPLEMENTED: (
        Unimplemented,
        "What listens at {address} does not know this call: it is an older Scumble, or another program.",
    ),
    grpc.StatusCode.CANCELLED: (
        Unavailable,
        "The call to {address} was ended before the server answered.",
    ),
}
"""What a bare status code means, where grpc itself and not the server chose the words."""

_OWN_WORDS: dict[grpc.StatusCode, type[ScumbleError]] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitExceeded,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
}


def from_rpc_error(error: grpc.RpcError, address: str) -> ScumbleError:
    """The error of the tree that a failed call to `address` stands for."""
    call: Any = error
    code, text = call.code(), call.details() or ""
    rich = _details(call.trailing_metadata() or ())
    if rich is not None:
        return error_for(rich[0], text, rich[1])
    sentence = _SENTENCES.get(code)
    if sentence is not None:
        return sentence[0](sentence[1].format(address=address))
    if code in _OWN_WORDS:
        return _OWN_WORDS[code](text)
    return InternalError(f"The server at {address} failed: {text or code.name}. Its log has more.")
