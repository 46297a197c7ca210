"""Every error of the tree has its code and its details."""

from __future__ import annotations

import grpc
import pytest

from core_server import errors
from core_server.rpc.status import MAX_TEXT_BYTES, status_code, to_status
from scumble.v1 import job_pb2
from tests.core_server.rpc.gateway import refusal_from

CODE = grpc.StatusCode

CASES = [
    (errors.InvalidRequest("a.b", "It is 3.", allowed="1..2"), CODE.INVALID_ARGUMENT),
    (errors.Unauthenticated("No token."), CODE.UNAUTHENTICATED),
    (errors.JobNotFound("j"), CODE.NOT_FOUND),
    (errors.ImageNotFound("i"), CODE.NOT_FOUND),
    (errors.ModelNotFound("m", ("default", "tiny")), CODE.NOT_FOUND),
    (errors.SourceNotFound("No such repository."), CODE.NOT_FOUND),
    (errors.LimitExceeded("Full.", limit="max_queued_jobs"), CODE.RESOURCE_EXHAUSTED),
    (errors.FailedPrecondition("It runs."), CODE.FAILED_PRECONDITION),
    (errors.NotImplementedHere("Not yet."), CODE.UNIMPLEMENTED),
    (errors.Unavailable("Starting."), CODE.UNAVAILABLE),
    (errors.TaskCancelled(), CODE.CANCELLED),
    (errors.OutOfMemory("Too large."), CODE.RESOURCE_EXHAUSTED),
    (errors.ModelLoadFailed("No weights."), CODE.FAILED_PRECONDITION),
    (errors.WorkerCrashed("It died."), CODE.INTERNAL),
    (errors.DeviceFault("It asserted.", device="cuda:0"), CODE.INTERNAL),
    (errors.NotAllowed("Only admins.", scope="admin"), CODE.PERMISSION_DENIED),
    (errors.Stalled("It hung.", seconds="900"), CODE.DEADLINE_EXCEEDED),
    (errors.ContentBlocked("It is rated 0.9.", rating="0.9"), CODE.FAILED_PRECONDITION),
    (errors.TaskFailed("A mistake."), CODE.INTERNAL),
]


def leaves(kind: type[errors.ScumbleServerError]) -> set[type[errors.ScumbleServerError]]:
    children = kind.__subclasses__()
    return {kind} if not children else {leaf for child in children for leaf in leaves(child)}


@pytest.mark.parametrize(("error", "code"), CASES, ids=[type(it[0]).__name__ for it in CASES])
def test_an_error_travels_whole(error: errors.ScumbleServerError, code: grpc.StatusCode) -> None:
    refusal = refusal_from(to_status(error))
    assert refusal.code is code
    assert refusal.message == error.message
    assert refusal.reason == error.reason
    assert refusal.metadata == {key: value for key, value in error.metadata.items() if value}
    assert refusal.fields == (("a.b",) if isinstance(error, errors.InvalidRequest) else ())
    assert refusal.retry == isinstance(error, errors.Unavailable)
    assert f"ERROR_REASON_{refusal.reason}" in dict(job_pb2.ErrorReason.items())


def test_no_leaf_of_the_tree_was_forgotten() -> None:
    own = {it for it in leaves(errors.ScumbleServerError) if it.__module__ == errors.__name__}
    startup = leaves(errors.StartupError)  # never answers a call
    assert own - startup <= {type(error) for error, _ in CASES}


def test_a_new_kind_of_error_takes_the_code_of_its_nearest_ancestor() -> None:
    class Sub(errors.ModelNotFound):
        pass

    assert status_code(Sub("m")) is CODE.NOT_FOUND


@pytest.mark.parametrize("letter", ["x", "\u4e00", "\U0001f3a8"], ids=["ascii", "cjk", "emoji"])
def test_long_texts_fit_into_metadata(letter: str) -> None:
    status = to_status(errors.InvalidRequest("f" * 5000, letter * 5000, allowed=letter * 5000))
    assert len(status.message.encode()) <= MAX_TEXT_BYTES
    assert status.message.endswith("…")
    percent_encoded = 3 * len(status.message.encode())
    assert percent_encoded + status.ByteSize() < 8192
