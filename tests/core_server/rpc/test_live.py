"""Live painting over a real connection: the newest frame wins, whatever the client does."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest

from core_server.config import Limits
from scumble.v1 import generation_pb2, image_pb2, job_pb2, model_service_pb2
from scumble.v1 import generation_service_pb2 as jobs
from scumble.v1 import live_service_pb2 as messages
from tests.core_server.rpc.asking import create, finished, header_of, text_to_image
from tests.core_server.rpc.gateway import (
    SECONDS,
    Gate,
    Gateway,
    connect,
    refusal_of,
    running_gateway,
    until,
)

LIMITS = Limits(
    max_live_sessions=3,
    max_live_sessions_per_owner=2,
    max_live_pixels=256 * 256,
    max_live_hold_seconds=1,
)

FRAME_SECONDS = 0.1
"""The least time that a frame of the prompt "slow" takes."""
JOB_FIRST = "A job is being painted; the next picture comes after it."


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("live"), limits=LIMITS) as running:
        running.run(running.jobs.engine.wait_ready())
        yield running


def canvas(value: int, width: int = 24, height: int = 16) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def frame(number: int, array: np.ndarray | None = None, **fields: Any) -> messages.PaintRequest:
    if array is not None:
        header = header_of(array)
        fields["canvas"] = image_pb2.ImageData(header=header, payload=array.tobytes())
    return messages.PaintRequest(frame_number=number, **fields)


def settings(prompt: str = "moss", **fields: Any) -> generation_pb2.GenerationParameters:
    return generation_pb2.GenerationParameters(prompt=prompt, **fields)


class Stream:
    """A session as a client sees it."""

    def __init__(self, gateway: Gateway, *first: messages.PaintRequest) -> None:
        self._requests: queue.SimpleQueue[messages.PaintRequest | None] = queue.SimpleQueue()
        for request in first:
            self.send(request)
        self.call = gateway.live.Paint(iter(self._requests.get, None), timeout=SECONDS)

    def send(self, request: messages.PaintRequest) -> None:
        self._requests.put(request)

    def end(self) -> None:
        self._requests.put(None)

    def next(self) -> messages.PaintResponse:
        """The next picture or skip; what says that it waits is passed over."""
        return next(it for it in self.call if not it.waiting)

    def close(self) -> None:
        self.end()
        list(self.call)


def colour_of(response: messages.PaintResponse) -> int:
    """The value that every sample has."""
    [value] = set(response.image.payload)
    return value


def test_a_frame_comes_back_as_a_picture_with_the_settings(studio: Gateway) -> None:
    stream = Stream(studio, frame(5, canvas(10), parameters=settings(seed=3), strength=0.5))
    picture = stream.next()
    assert (picture.frame_number, colour_of(picture)) == (5, 245)
    assert picture.image.header == header_of(canvas(0))
    told = picture.settings
    assert (told.model, told.seed, told.num_inference_steps) == ("tiny", 3, 2)
    assert told.strength == pytest.approx(0.5)
    assert picture.latency.ToNanoseconds() > 0
    stream.send(frame(6, canvas(20)))
    again = stream.next()
    assert (again.frame_number, colour_of(again)) == (6, 235)
    assert not again.HasField("settings"), "told only when they change"
    assert again.frames_per_second > 0
    stream.close()


def test_a_model_that_a_frame_loads_is_listed_as_loaded(studio: Gateway) -> None:
    studio.models.UnloadModel(model_service_pb2.UnloadModelRequest(model_id="tiny"))
    stream = Stream(studio, frame(1, canvas(1), parameters=settings()))
    stream.next()
    [model] = studio.models.ListModels(model_service_pb2.ListModelsRequest()).models
    assert model.state == model_service_pb2.MODEL_STATE_LOADED
    stream.close()


def test_the_newest_frame_wins_and_the_others_are_counted(studio: Gateway) -> None:
    gate, before = Gate(studio), studio.jobs.live.figures["dropped"]
    stream = Stream(studio, frame(0, canvas(0), parameters=settings("gated")))
    gate.wait()
    for number in range(1, 41):
        stream.send(frame(number, canvas(number)))
    until(lambda: studio.jobs.live.figures["dropped"] == before + 39)
    gate.open()
    answers = [stream.next(), stream.next()]
    assert [it.frame_number for it in answers] == [0, 40], "nothing is queued"
    assert [it.frames_dropped for it in answers] == [39, 39]
    assert [colour_of(it) for it in answers] == [255, 215]
    stream.close()


def test_prompt_and_strength_change_in_mid_stream(studio: Gateway) -> None:
    stream = Stream(studio, frame(1, canvas(1), parameters=settings("moss"), strength=0.5))
    seed = stream.next().settings.seed
    stream.send(frame(2, parameters=settings("rust")))
    changed = stream.next()
    assert (changed.frame_number, colour_of(changed)) == (2, 254), "the canvas stays"
    assert (list(changed.settings.notes), changed.settings.seed) == (["rust"], seed)
    stream.send(frame(3, strength=0.25))
    assert stream.next().settings.strength == pytest.approx(0.25)
    stream.close()


def test_two_frames_under_way_have_memory_of_their_own_and_come_in_order(studio: Gateway) -> None:
    """Of several sizes, so that shared memory is made anew in between."""
    stream = Stream(studio, frame(0, canvas(0), parameters=settings("ahead")))
    sent, numbers = 0, [stream.next().frame_number]
    while numbers[-1] < 60:
        while sent < min(numbers[-1] + 3, 60):
            sent += 1
            side = (16, 256, 64)[sent // 7 % 3]
            stream.send(frame(sent, canvas(sent, side, side)))
        answer = stream.next()
        numbers.append(answer.frame_number)
        assert colour_of(answer) == 255 - answer.frame_number
    assert numbers == sorted(numbers)
    stream.close()


def test_what_did_not_change_is_not_painted_again(studio: Gateway) -> None:
    stream = Stream(studio, frame(1, canvas(7), parameters=settings()))
    stream.next()
    stream.send(frame(2, canvas(7)))
    same = stream.next()
    assert (same.frame_number, same.skipped, same.HasField("image")) == (2, True, False)
    stream.send(frame(3, canvas(8)))
    assert not stream.next().skipped
    stream.send(frame(4, canvas(9), skip_below=0.01))
    assert stream.next().skipped, "nearly the same"
    stream.send(frame(5, canvas(12)))
    assert colour_of(stream.next()) == 243, "small changes add up"
    stream.close()


def test_size_and_packing_of_the_pictures(studio: Gateway) -> None:
    ok, png = cv2.imencode(".png", canvas(9))
    assert ok
    header = header_of(canvas(9), encoding="IMAGE_ENCODING_PNG")
    packed = image_pb2.ImageData(header=header, payload=png.tobytes())
    stream = Stream(
        studio,
        messages.PaintRequest(
            frame_number=1,
            parameters=settings(),
            canvas=packed,
            extent=image_pb2.Extent(width=8, height=4),
            encoding=image_pb2.IMAGE_ENCODING_PNG,
        ),
    )
    image = stream.next().image
    array = cv2.imdecode(np.frombuffer(image.payload, np.uint8), cv2.IMREAD_COLOR)
    assert array.shape == (4, 8, 3)
    assert (array == 246).all()
    stream.close()


def test_a_client_that_does_not_read_holds_nothing_up(studio: Gateway) -> None:
    """What it sends is dropped, not kept; the session ends when nobody takes its pictures."""
    array = np.zeros((256, 256, 3), np.uint8)
    stream = Stream(studio, frame(0, array, parameters=settings()))
    before = studio.jobs.live.figures["dropped"]
    for number in range(1, 120):
        array[0, 0] = number
        array[1, :] = number
        stream.send(frame(number, array))
    until(lambda: studio.jobs.live.figures["dropped"] > before)
    job = create(studio, text_to_image())
    finished(studio, job.job_id)
    stream.call.cancel()
    until(lambda: studio.jobs.live.sessions == 0)


def test_a_job_gets_its_turn_while_somebody_paints(studio: Gateway) -> None:
    stream = Stream(studio, frame(0, canvas(0), parameters=settings("slow")))
    stream.next()
    job = create(studio, text_to_image("slow"))
    number = pictures = 1
    stream.send(frame(number, canvas(number)))
    while (answer := next(stream.call)).message != JOB_FIRST:
        if not answer.waiting:
            number, pictures = number + 1, pictures + 1
            stream.send(frame(number, canvas(number)))
    most = LIMITS.max_live_hold_seconds / FRAME_SECONDS + 3
    assert pictures <= most, "the bound; the slower the machine, the fewer"
    found = studio.generation.GetJob(jobs.GetJobRequest(job_id=job.job_id)).job
    assert found.state == job_pb2.JOB_STATE_RUNNING
    studio.generation.CancelJob(jobs.CancelJobRequest(job_id=job.job_id))
    assert stream.next().frame_number == number, "painting goes on"
    stream.send(frame(number + 1, canvas(77)))
    assert colour_of(stream.next()) == 178
    stream.close()


def test_sessions_share_the_device(studio: Gateway) -> None:
    streams = [Stream(studio, frame(0, canvas(k), parameters=settings("slow"))) for k in range(2)]
    for number in range(1, 4):
        for stream in streams:
            stream.next()
            stream.send(frame(number, canvas(number)))
    for stream in streams:
        stream.close()


def test_too_many_sessions_are_refused(studio: Gateway) -> None:
    streams = [Stream(studio, frame(0, canvas(k), parameters=settings())) for k in range(2)]
    for stream in streams:
        stream.next()
    refusal = refusal_of(lambda: studio.live.Paint(iter([frame(0, parameters=settings())])))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.metadata["limit"] == "max_live_sessions_per_owner"
    streams[0].call.cancel()
    streams[1].close()
    until(lambda: studio.jobs.live.sessions == 0)
    Stream(studio, frame(0, canvas(1), parameters=settings())).close()


def test_an_idle_session_is_ended(tmp_path: Path) -> None:
    with running_gateway(tmp_path, limits=Limits(max_live_idle_seconds=1)) as gateway:
        stream = Stream(gateway, frame(0, canvas(3), parameters=settings()))
        refusal = refusal_of(lambda: stream.call)
        assert refusal.metadata["limit"] == "max_live_idle_seconds"
        until(lambda: gateway.jobs.live.sessions == 0)


LARGE = image_pb2.Extent(width=300, height=300)
CONTROL = generation_pb2.ControlImage(kind=1, image=image_pb2.ImageSource(image_id="x"))
CUT_SHORT = image_pb2.ImageData(header=header_of(canvas(0)), payload=b"1")


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (frame(1, canvas(0)), "parameters", "first message"),
        (frame(1, parameters=settings(num_inference_steps=5)), "parameters.num_inference_steps", "from 1 to 4"),
        (frame(1, parameters=settings(count=2)), "parameters.count", "while painting live"),
        (frame(1, parameters=settings(scheduler="nonsense")), "parameters.scheduler", "no scheduler"),
        (frame(1, canvas(0), parameters=settings(), strength=0.0), "strength", "above 0"),
        (frame(1, canvas(0), parameters=settings(), skip_below=1.5), "skip_below", "from 0 to 1"),
        (frame(1, canvas(0, 300, 300), parameters=settings()), "canvas.header.extent", "max_live_pixels"),
        (frame(1, canvas(0), parameters=settings(), extent=LARGE), "extent", "max_live_pixels"),
        (frame(1, parameters=settings(control_images=[CONTROL])), "parameters.control_images[0].image", "no control"),
        (frame(1, parameters=settings(guidance_end=0.5)), "parameters.guidance_end", "no guidance_end"),
        (frame(1, parameters=settings(denoiser_precision=1)), "parameters.denoiser_precision", "too small to gain"),
        (messages.PaintRequest(parameters=settings(), canvas=CUT_SHORT), "image", "bytes"),
    ],
    ids=["parameters", "steps", "count", "scheduler", "strength", "skip", "canvas", "extent", "control", "guidance end",
         "precision", "payload"],
)  # fmt: skip
def test_bad_frames_end_the_session_with_a_sentence(
    studio: Gateway, request_: messages.PaintRequest, field: str, words: str
) -> None:
    refusal = refusal_of(lambda: studio.live.Paint(iter([request_])))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == (field,)
    assert words in refusal.message


def test_without_the_token_nothing_is_painted(studio: Gateway) -> None:
    with connect(studio.address, "wrong") as channel:
        stranger = type(studio.live)(channel)
        refusal = refusal_of(lambda: stranger.Paint(iter([frame(0, parameters=settings())])))
    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED


def test_what_fails_ends_the_session_and_the_next_one_paints(studio: Gateway) -> None:
    refusal = refusal_of(
        lambda: studio.live.Paint(iter([frame(0, canvas(1), parameters=settings("oom"))]))
    )
    assert refusal.reason == "OUT_OF_MEMORY"
    Stream(studio, frame(0, canvas(1), parameters=settings())).close()


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_killed_worker_is_replaced_and_painting_goes_on(studio: Gateway) -> None:
    gate, stream = Gate(studio), Stream(studio, frame(0, canvas(1), parameters=settings()))
    stream.next()
    stream.send(frame(1, canvas(2), parameters=settings("gated")))
    gate.wait()
    os.kill(studio.jobs.engine.worker_pid, signal.SIGKILL)
    gate.open()
    picture = stream.next()
    assert (picture.frame_number, colour_of(picture)) == (1, 253)
    stream.close()


@pytest.mark.parametrize(
    ("prompt", "reason"), [("crash", "WORKER_CRASHED"), ("fault", "DEVICE_FAULT")]
)
def test_a_frame_that_kills_every_worker_ends_the_session(
    studio: Gateway, prompt: str, reason: str
) -> None:
    refusal = refusal_of(
        lambda: studio.live.Paint(iter([frame(0, canvas(1), parameters=settings(prompt))]))
    )
    assert refusal.reason == reason
    assert "died 2 times" in refusal.message
    until(lambda: studio.jobs.live.sessions == 0)
    studio.run(studio.jobs.engine.wait_ready())
    Stream(studio, frame(0, canvas(1), parameters=settings())).close()


def test_leaving_gives_the_device_back_at_once(studio: Gateway) -> None:
    stream = Stream(studio, frame(0, canvas(1), parameters=settings("slow")))
    stream.next()
    stream.send(frame(1, canvas(2)))
    stream.call.cancel()
    until(lambda: studio.jobs.live.sessions == 0)
    finished(studio, create(studio, text_to_image()).job_id)
