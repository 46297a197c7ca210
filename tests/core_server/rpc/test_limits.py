"""Every limit of the config: told to clients, and named with its number where it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from core_server.config import Limits
from scumble.v1 import generation_pb2, image_pb2, live_service_pb2, server_service_pb2
from scumble.v1 import generation_service_pb2 as messages
from tests.core_server.rpc.asking import create, header_of, text_to_image
from tests.core_server.rpc.gateway import Gateway, refusal_of, running_gateway

LIMITS = Limits(
    max_pixels=5003,
    max_side=211,
    max_steps=17,
    max_count=3,
    max_prompt_chars=101,
    max_message_bytes=70_001,
    max_upload_bytes=20_011,
    max_live_pixels=307,
    max_live_steps=2,
    max_queued_jobs_per_owner=4,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("limits"), limits=LIMITS) as running:
        running.run(running.jobs.engine.wait_ready())
        yield running


def uploading(width: int, height: int) -> Callable[[Gateway], Any]:
    array = np.zeros((height, width, 3), np.uint8)
    parts = [
        messages.UploadImageRequest(header=header_of(array)),
        messages.UploadImageRequest(chunk=array.tobytes()),
    ]
    return lambda it: it.generation.UploadImage(iter(parts))


def creating(prompt: str = "slate", **parameters: Any) -> Callable[[Gateway], Any]:
    return lambda it: create(it, text_to_image(prompt, **parameters))


def painting(side: int, **parameters: Any) -> Callable[[Gateway], Any]:
    array = np.zeros((side, side, 3), np.uint8)
    frame = live_service_pb2.PaintRequest(
        parameters=generation_pb2.GenerationParameters(prompt="slate", **parameters),
        canvas=image_pb2.ImageData(header=header_of(array), payload=array.tobytes()),
    )
    return lambda it: it.live.Paint(iter([frame]))


def filling_the_queue(server: Gateway) -> None:
    held = []
    try:
        while True:
            held.append(create(server, text_to_image("slow")).job_id)
    finally:
        for job_id in reversed(held):
            server.generation.CancelJob(messages.CancelJobRequest(job_id=job_id))


REFUSED: dict[str, Callable[[Gateway], Any]] = {
    "max_pixels": uploading(100, 100),
    "max_side": uploading(212, 1),
    "max_steps": creating(num_inference_steps=18),
    "max_count": creating(count=4),
    "max_prompt_chars": creating("x" * 102),
    "max_message_bytes": creating("x" * 70_001),
    "max_upload_bytes": lambda it: uploading_bytes(it, 20_012),
    "max_live_pixels": painting(18),
    "max_live_steps": painting(16, num_inference_steps=3),
    "max_queued_jobs_per_owner": filling_the_queue,
}
ELSEWHERE = {
    "max_queued_jobs": "tests/core_server/jobs/test_fairness.py",
    "max_calls_per_owner": "tests/core_server/rpc/test_hostile.py",
    "max_connections": "tests/core_server/rpc/test_hostile.py",
    "max_upload_pause_seconds": "tests/core_server/rpc/test_hostile.py",
    "max_store_bytes": "tests/core_server/jobs/test_service.py",
    "max_stall_seconds": "tests/core_server/jobs/test_watchdog.py",
    "max_worker_bytes": "tests/core_server/jobs/test_watchdog.py",
    "max_live_sessions": "tests/core_server/rpc/test_live.py",
    "max_live_sessions_per_owner": "tests/core_server/rpc/test_live.py",
    "max_live_idle_seconds": "tests/core_server/rpc/test_live.py",
}
"""Refusals that need a situation of their own."""
NOTHING_TO_REFUSE = {
    "max_result_age_seconds": "tests/core_server/jobs/test_retention.py",
    "max_log_bytes": "tests/core_server/test_serve.py",
    "max_idle_seconds": "tests/core_server/jobs/test_local_engine.py",
    "max_live_hold_seconds": "tests/core_server/rpc/test_live.py",
}
"""What is kept, and for how long: the oldest goes, nobody is turned away."""


def uploading_bytes(server: Gateway, size: int) -> None:
    """More than its header says, and more than is taken at all."""
    header = header_of(np.zeros((1, 1, 3), np.uint8), encoding="IMAGE_ENCODING_PNG")
    parts = [messages.UploadImageRequest(header=header)]
    parts += [messages.UploadImageRequest(chunk=bytes(size))]
    server.generation.UploadImage(iter(parts))


def test_no_limit_is_without_a_test(pytestconfig: pytest.Config) -> None:
    names = {field.name for field in dataclasses.fields(Limits)}
    assert names == REFUSED.keys() | ELSEWHERE.keys() | NOTHING_TO_REFUSE.keys()
    for name, path in (ELSEWHERE | NOTHING_TO_REFUSE).items():
        assert name in (pytestconfig.rootpath / path).read_text(encoding="utf-8"), name


def test_every_limit_is_told_with_its_value(server: Gateway) -> None:
    told = server.about.GetServerInfo(server_service_pb2.GetServerInfoRequest()).limits
    for field in dataclasses.fields(Limits):
        assert getattr(told, field.name) == getattr(LIMITS, field.name), field.name


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_its_limit(server: Gateway, name: str) -> None:
    refusal = refusal_of(lambda: REFUSED[name](server))
    assert refusal.code.name in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
    assert str(getattr(LIMITS, name)) in refusal.message, refusal.message
