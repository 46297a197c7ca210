"""Clients come and go in the middle of a watch."""

from __future__ import annotations

import grpc
import pytest

from scumble.v1 import generation_service_pb2 as messages
from scumble.v1 import job_pb2
from tests.core_server.rpc.asking import create, text_to_image, watch
from tests.core_server.rpc.gateway import Gateway, connect


def test_who_vanishes_again_and_again_misses_nothing(gateway: Gateway) -> None:
    job = create(gateway, text_to_image("previews"))  # 20 steps of 20 ms, each with a preview
    seen: list[job_pb2.JobEvent] = []
    while not seen or seen[-1].state != job_pb2.JOB_STATE_SUCCEEDED:
        with connect(gateway.address) as channel:
            again = type(gateway.generation)(channel)
            after = seen[-1].number if seen else 0
            request = messages.WatchJobRequest(job_id=job.job_id, after_event_number=after)
            for count, response in enumerate(again.WatchJob(request)):
                seen.append(response.event)
                if count == 2:
                    break  # the channel closes without a word
    numbers = [event.number for event in seen]
    assert numbers == sorted(set(numbers)), "in order, none twice"
    steps = [event.progress.step for event in seen if event.WhichOneof("event") == "progress"]
    assert steps == list(range(1, 21)), "none missed"


def test_a_deadline_is_honoured(gateway: Gateway) -> None:
    job = create(gateway, text_to_image("slow"))
    request = messages.WatchJobRequest(job_id=job.job_id)
    with pytest.raises(grpc.RpcError) as ended:
        list(gateway.generation.WatchJob(request, timeout=0.5))
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    gateway.generation.CancelJob(messages.CancelJobRequest(job_id=job.job_id))
    assert watch(gateway, job.job_id)[-1].state == job_pb2.JOB_STATE_CANCELLED, "the job went on"
