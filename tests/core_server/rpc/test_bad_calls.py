"""Bad uploads and bad questions: the same care as for bad wishes."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import image_pb2
from tests.core_server.rpc.asking import header_of, upload
from tests.core_server.rpc.gateway import Gateway, Refusal, refusal_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED

RGB = np.zeros((4, 4, 3), np.uint8)


def parts(*values: object) -> Iterator[messages.UploadImageRequest]:
    for value in values:
        name = "chunk" if isinstance(value, bytes) else "header"
        yield messages.UploadImageRequest(**{name: value})


UPLOADS = [
    ("nothing", [], "header", "begin"),
    ("no_header", [bytes(48)], "header", "begin"),
    ("two_headers", [header_of(RGB), header_of(RGB)], "chunk", "first message"),
    ("too_short", [header_of(RGB), bytes(47)], "chunk", "47 of 48"),
    ("too_long", [header_of(RGB), bytes(48), b"x"], "chunk", "48"),
    (
        "chunk_huge",
        [header_of(np.zeros((1024, 1024, 3), np.uint8)), bytes((2 << 20) + 1)],
        "chunk",
        "2097152",
    ),
    ("raw_too_large", [header_of(np.zeros((2048, 2048, 4), np.float32))], "header", "33554432"),
    ("png_empty", [header_of(RGB, encoding="IMAGE_ENCODING_PNG")], "chunk", "no bytes"),
    (
        "png_broken",
        [header_of(RGB, encoding="IMAGE_ENCODING_PNG"), b"not a picture"],
        "chunk",
        "PNG",
    ),
    ("no_extent", [image_pb2.ImageHeader(channels=3)], "header.extent", "missing"),
    ("encoding_missing", [header_of(RGB, encoding=0)], "header.encoding", "RAW"),
    ("extent_huge", [header_of(RGB, extent={"width": 5000, "height": 1})], "header.extent", "4096"),
]


@pytest.mark.parametrize(
    ("sent", "field", "words"), [it[1:] for it in UPLOADS], ids=[it[0] for it in UPLOADS]
)
def test_upload_refuses(gateway: Gateway, sent: list[object], field: str, words: str) -> None:
    refusal = refusal_of(lambda: gateway.generation.UploadImage(parts(*sent)))
    assert (refusal.code, refusal.fields) == (INVALID, (field,)), refusal
    assert words in refusal.message


def test_unfinished_uploads_share_one_budget(gateway: Gateway) -> None:
    """32 MiB in all here: a second image that does not fit beside a held one is refused, and fits afterwards."""
    held: queue.SimpleQueue[messages.UploadImageRequest | None] = queue.SimpleQueue()
    held.put(messages.UploadImageRequest(header=header_of(np.zeros((1024, 1024, 4), np.uint8))))
    held.put(messages.UploadImageRequest(chunk=bytes(1 << 20)))
    slow = gateway.generation.UploadImage.future(iter(held.get, None))
    whole_budget = np.zeros((1024, 2048, 4), np.float32)
    try:
        # Until the first upload's bytes have arrived the second one still fits.
        refusals = (refusal_or_none(gateway, whole_budget) for _ in range(200))
        refusal = next(filter(None, refusals))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.metadata["limit"] == "max_upload_bytes"
        assert "at once" in refusal.message
    finally:
        slow.cancel()
        held.put(None)
    assert any(refusal_or_none(gateway, whole_budget) is None for _ in range(200))


def refusal_or_none(gateway: Gateway, array: np.ndarray) -> Refusal | None:
    try:
        return refusal_of(lambda: upload(gateway, array))
    except AssertionError:
        return None


OTHERS = [
    ("watch_unknown_job", "WatchJob", messages.WatchJobRequest(job_id="nope"), NOT_FOUND, None),
    (
        "watch_negative",
        "WatchJob",
        messages.WatchJobRequest(job_id="x", after_event_number=-1),
        INVALID,
        "after_event_number",
    ),
    ("get_unknown_job", "GetJob", messages.GetJobRequest(job_id="nope"), NOT_FOUND, None),
    ("get_no_job", "GetJob", messages.GetJobRequest(), INVALID, "job_id"),
    ("cancel_unknown_job", "CancelJob", messages.CancelJobRequest(job_id="nope"), NOT_FOUND, None),
    ("delete_unknown_job", "DeleteJob", messages.DeleteJobRequest(job_id="nope"), NOT_FOUND, None),
    (
        "list_page_negative",
        "ListJobs",
        messages.ListJobsRequest(page_size=-1),
        INVALID,
        "page_size",
    ),
    ("list_page_huge", "ListJobs", messages.ListJobsRequest(page_size=1001), INVALID, "page_size"),
    (
        "list_state_unknown",
        "ListJobs",
        messages.ListJobsRequest(states=[2, 9]),
        INVALID,
        "states[1]",
    ),
    (
        "list_token_wrong",
        "ListJobs",
        messages.ListJobsRequest(page_token="?"),
        INVALID,
        "page_token",
    ),
    (
        "download_unknown",
        "DownloadImage",
        messages.DownloadImageRequest(image_id="0" * 64),
        NOT_FOUND,
        None,
    ),
    (
        "download_path",
        "DownloadImage",
        messages.DownloadImageRequest(image_id="../token"),
        NOT_FOUND,
        None,
    ),
    ("download_nothing", "DownloadImage", messages.DownloadImageRequest(), INVALID, "image_id"),
    (
        "download_encoding_unknown",
        "DownloadImage",
        messages.DownloadImageRequest(image_id="0" * 64, encoding=99),
        INVALID,
        "encoding",
    ),
    ("plan_nothing", "PlanCanvas", messages.PlanCanvasRequest(), INVALID, "document"),
    (
        "plan_selection_outside",
        "PlanCanvas",
        messages.PlanCanvasRequest(
            document={"width": 100, "height": 100},
            selection={"x": 90, "y": 0, "width": 20, "height": 10},
        ),
        INVALID,
        "selection",
    ),
    (
        "plan_unknown_model",
        "PlanCanvas",
        messages.PlanCanvasRequest(
            document={"width": 9, "height": 9},
            selection={"width": 1, "height": 1},
            model="nonesuch",
        ),
        NOT_FOUND,
        None,
    ),
]


@pytest.mark.parametrize(
    ("method", "request_", "code", "field"), [it[1:] for it in OTHERS], ids=[it[0] for it in OTHERS]
)
def test_other_calls_refuse(
    gateway: Gateway, method: str, request_: object, code: grpc.StatusCode, field: str | None
) -> None:
    refusal = refusal_of(lambda: getattr(gateway.generation, method)(request_))
    assert refusal.code is code, refusal
    assert refusal.fields == ((field,) if field else ()), refusal


def test_image_that_a_format_cannot_hold(gateway: Gateway) -> None:
    image_id = upload(gateway, np.zeros((4, 4, 3), np.float32))
    request = messages.DownloadImageRequest(image_id=image_id, encoding="IMAGE_ENCODING_JPEG")
    refusal = refusal_of(lambda: gateway.generation.DownloadImage(request))
    assert (refusal.code, refusal.fields) == (INVALID, ("encoding",))
    assert "float32" in refusal.message
